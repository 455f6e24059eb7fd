"""Commands: the same id and content give the first result, other content an error (S4)."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from supervisor.errors import CommandConflict, IllegalMove, Refusal, SupervisorError
from supervisor.governance.kill_switch import KillCommand, Latch, engage, engaged, release
from supervisor.governance.reconciliation import ReconcileCommand, reconcile_hold
from supervisor.governance.rollback import RollbackCommand, checkpoints_of, roll_back
from supervisor.governance.session import Session, SessionStatus
from supervisor.governance.session_commands import ResumeCommand, Resumed, resume
from supervisor.ledger.holds import Hold, find_hold
from supervisor.outcome import Outcome
from supervisor.storage.database import Transaction
from tests.properties.effort import effort
from tests.properties.ledger_world import AccountRow
from tests.properties.session_world import World
from tests.properties.stores import Memory, Store

pytestmark = pytest.mark.timeout(3_600)

SCOPES = ("system", "worker:w", "worker:v")
TURNS = {"kill": engage, "release": release}
#: Few, so that the same one comes again and again.
ids = st.sampled_from([f"c{number}" for number in range(8)])
whys = st.sampled_from(["because", "of that"])

Content = dict[str, object]


class WorkerRow(msgspec.Struct, frozen=True):
    """What a command may change of a worker."""

    name: str
    state: str


class CommandsMachine(RuleBasedStateMachine):
    """Sends commands with ids that were used before, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.done: dict[str, tuple[str, Content, object]] = {}
        self.latches: set[str] = set()

    def opened(self) -> Store:
        return Memory()

    @initialize()
    def begin(self) -> None:
        self.world = World(self.opened(), ZoneInfo("UTC"), datetime(2026, 6, 1, tzinfo=UTC))
        self.world.start({"w": 86_400})
        self.forfeited: list[str] = []
        for _ in range(3):
            self.world.begin("w")
            for _ in range(2):
                hold = self.world.place("w")
                assert isinstance(hold, Hold)
                self.forfeited.append(hold.id)
            self.world.finish("w", Outcome.FAILED)
        listed = self.world.store.write(checkpoints_of, "w", 10)
        self.checkpoints = [checkpoint.id for checkpoint in listed]
        assert self.checkpoints

    @rule(command_id=ids, scope=st.sampled_from(SCOPES), why=whys, turn=st.sampled_from([*TURNS]))
    def kill_or_release(self, command_id: str, scope: str, why: str, turn: str) -> None:
        command = KillCommand(scope=scope, why=why)

        def send() -> object:
            origin = self.world.origin(command_id, "ann")
            return self.world.store.write(TURNS[turn], command, origin, self.world.zone)

        if self._send(command_id, turn, {"scope": scope, "why": why}, send):
            (self.latches.add if turn == "kill" else self.latches.discard)(scope)

    @rule(command_id=ids, pick=st.integers(0, 5), cost=st.integers(0, 9))
    def reconcile(self, command_id: str, pick: int, cost: int) -> None:
        hold_id = self.forfeited[pick]
        command = ReconcileCommand(hold_id=hold_id, cost=cost)

        def send() -> object:
            origin = self.world.origin(command_id, "ann")
            return self.world.store.write(reconcile_hold, command, origin, self.world.zone)

        is_done = self._send(command_id, "reconcile", {"hold_id": hold_id, "cost": cost}, send)
        if is_done:
            stored = self.world.store.write(find_hold, hold_id)
            assert stored is not None
            assert (stored.status, stored.cost_settled) == ("settled", cost)

    @rule(command_id=ids, pick=st.integers(0, 5))
    def rollback(self, command_id: str, pick: int) -> None:
        checkpoint = self.checkpoints[pick % len(self.checkpoints)]
        command = RollbackCommand(worker="w", checkpoint=checkpoint)

        def send() -> object:
            origin = self.world.origin(command_id, "ann")
            return self.world.store.write(roll_back, command, origin, self.world.zone)

        if self._send(command_id, "rollback", {"worker": "w", "checkpoint": checkpoint}, send):
            session = self.world.open_session("w")
            assert session is not None
            assert session.status is SessionStatus.PAUSED

    @rule(command_id=ids, why=whys)
    def resume(self, command_id: str, why: str) -> None:
        session = self.world.open_session("w")
        assert session is not None
        command = ResumeCommand(session_id=session.id, why=why)

        def send() -> Resumed:
            origin = self.world.origin(command_id, "ann")
            return self.world.store.write(resume, command, origin)

        self._send(command_id, "resume", {"session_id": session.id, "why": why}, send)

    def _send(
        self, command_id: str, operation: str, content: Content, send: Callable[[], object]
    ) -> bool:
        """Send a command and return whether it was carried out now, for the first time."""
        before = self._everything()
        first = self.done.get(command_id)
        if first is None:
            return self._send_first(command_id, operation, content, send)
        if first[:2] == (operation, content):
            assert send() == first[2], "the first result, again"
        else:
            with pytest.raises(CommandConflict) as told:
                send()
            assert _field(told.value) in _differing(first, operation, content)
        assert self._everything() == before, "a repeated command changed something"
        return False

    def _send_first(
        self, command_id: str, operation: str, content: Content, send: Callable[[], object]
    ) -> bool:
        before = self._everything()
        try:
            result = send()
        except SupervisorError as error:
            # What can't be done is no command: the id stays free.
            assert isinstance(error, IllegalMove | CommandConflict), error
            assert self._everything() == before
            return False
        self.done[command_id] = (operation, content, result)
        return True

    @rule(is_begun=st.booleans())
    def tick(self, is_begun: bool) -> None:
        self.world.clock.at += timedelta(seconds=1)
        if "w" in self.world.running:
            self.world.finish("w", Outcome.OK)
        elif is_begun:
            self.world.begin("w")
            if "w" in self.world.running:
                assert not isinstance(self.world.place("w"), Refusal)

    @rule()
    def crash_and_start(self) -> None:
        self.world.start({"w": 86_400})

    def _everything(self) -> object:
        """Return all that a command can change."""
        return self.world.store.write(_everything)

    @invariant()
    def latches_are_those_of_the_first_commands(self) -> None:
        stored = self.world.store.write(engaged)
        assert {latch.scope for latch in stored} == self.latches

    @invariant()
    def events_are_chained(self) -> None:
        for _ in self.world.read_events():
            pass

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.prove()
            self.world.store.close()


def _everything(tx: Transaction) -> object:
    return (
        list(tx.each("audit.accounts", AccountRow, after="")),
        tx.rows("sessions.page", Session, worker=None, rows_max=1_000),
        tx.rows("governance.engaged_latches", Latch),
        tx.rows("workers.all", WorkerRow),
    )


def _field(error: CommandConflict) -> str:
    found = re.search(r"was used before with (\w+) ", str(error))
    assert found is not None, error
    return found[1]


def _differing(first: tuple[str, Content, object], operation: str, content: Content) -> set[str]:
    if first[0] != operation:
        return {"operation"}
    return {name for name in content if first[1].get(name) != content[name]}


TestCommands = CommandsMachine.TestCase
TestCommands.settings = effort(examples=80, steps=40)
