"""The person at the command line: kills, releases, reconciles, resumes, rolls back."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from supervisor.clock import Clock
from supervisor.errors import IllegalMove
from supervisor.events.log import Origin
from supervisor.governance import kill_switch
from supervisor.governance.kill_switch import KillCommand
from supervisor.governance.reconciliation import ReconcileCommand, reconcile_hold
from supervisor.governance.rollback import RollbackCommand, checkpoints_of, roll_back
from supervisor.governance.rotation import SYSTEM
from supervisor.governance.session import DAEMON_STOPPED, Session, SessionStatus
from supervisor.governance.session_commands import ResumeCommand, resume
from supervisor.simulation.money_rules import MoneyRules
from supervisor.simulation.store import Disk
from supervisor.storage.database import Transaction

_RECONCILED_MAX = 20
_WHY = "the seed says so"


class Operator:
    """Works on the store from a process of its own, whether the daemon lives or not."""

    def __init__(self, disk: Disk, clock: Clock, timezone: ZoneInfo) -> None:
        self._disk = disk
        self._clock = clock
        self._timezone = timezone
        self._commands = 0

    def _origin(self) -> Origin:
        self._commands += 1
        at: datetime = self._clock.now()
        return Origin(at=at, actor="operator", command_id=f"command-{self._commands}")

    def kill(self, scope: str) -> bool:
        """Latch a kill, and return whether that changed anything."""
        command = KillCommand(scope=scope, why=_WHY)
        return self._disk.run(kill_switch.engage, command, self._origin(), self._timezone).changed

    def release(self, scope: str) -> None:
        """Unlatch a kill."""
        command = KillCommand(scope=scope, why=_WHY)
        self._disk.run(kill_switch.release, command, self._origin(), self._timezone)

    def reconcile(self, money: MoneyRules) -> int:
        """Put the oldest forfeited holds at what the invoice says, and return how many."""
        done = 0
        for hold in list(money.forfeited.values())[:_RECONCILED_MAX]:
            command = ReconcileCommand(hold_id=hold.id, cost=hold.billed.cost)
            self._disk.run(reconcile_hold, command, self._origin(), self._timezone)
            done += 1
        return done

    def resume(self) -> int:
        """Resume every session that waits for a person, and return how many."""
        waiting = self._disk.read(_waiting)
        for session in waiting:
            command = ResumeCommand(session_id=session.id, why=_WHY)
            self._disk.run(resume, command, self._origin())
        return len(waiting)

    def roll_back(self, worker: str) -> bool:
        """Put a worker's state back to its newest checkpoint, if no tick is running."""
        found = self._disk.read(checkpoints_of, worker, 1)
        if not found:
            return False
        command = RollbackCommand(worker=worker, checkpoint=found[0].id)
        try:
            self._disk.run(roll_back, command, self._origin(), self._timezone)
        except IllegalMove:
            return False
        return True


def _waiting(tx: Transaction) -> list[Session]:
    return [
        session
        for session in tx.rows("sessions.open_ones", Session)
        if session.worker != SYSTEM
        and session.status is SessionStatus.PAUSED
        and session.why != DAEMON_STOPPED
    ]
