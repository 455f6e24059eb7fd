"""All the rules together, checked at every commit and at every paid call."""

from __future__ import annotations

from collections.abc import Sequence

from supervisor.assembly import build_breaker_rules, build_intensity
from supervisor.clock import Clock
from supervisor.config import Loaded
from supervisor.events.log import Recorded
from supervisor.governance.audit import audit
from supervisor.governance.figures import Figures
from supervisor.governance.rotation import SYSTEM
from supervisor.money import limit_micro_usd
from supervisor.simulation.burn_rules import BurnRules
from supervisor.simulation.checks import Checks
from supervisor.simulation.money_rules import MoneyRules
from supervisor.simulation.session_rules import SessionRules, WindowPlan
from supervisor.simulation.store import Disk, Refused
from supervisor.simulation.work_rules import WorkRules
from supervisor.windows import DAY_S, parse_window


class Invariants:
    """What must hold at every moment. Written by what is committed and by what is paid."""

    def __init__(self, loaded: Loaded, clock: Clock) -> None:
        config = loaded.config
        windows = {
            name: WindowPlan(parse_window(worker.window or config.session.window), loaded.timezone)
            for name, worker in config.worker.items()
        }
        windows[SYSTEM] = WindowPlan(DAY_S, loaded.timezone)
        self.checks = Checks()
        self.figures = Figures()
        self.audits = 0
        self.sessions = SessionRules(clock, self.checks, windows)
        self.money = MoneyRules(config, clock, self.checks)
        self.work = WorkRules(
            clock,
            self.checks,
            self.sessions,
            {name: worker.every_s for name, worker in config.worker.items()},
            build_intensity(config),
            config.supervisor.kill_latency_s,
        )
        self.burns = BurnRules(
            clock,
            self.checks,
            build_breaker_rules(config),
            limit_micro_usd(config.spend.daily_cap_usd),
        )
        self._clock = clock

    def follow(self, published: Sequence[object], disk: Disk) -> None:
        """Check what one commit has made true.

        Raises:
            Violation: it can't be.
        """
        for fact in published:
            if isinstance(fact, Recorded):
                self.figures.add(fact.event)
                self.sessions.follow(fact)
                self.work.follow(fact)
                self.money.follow(fact)
                self.burns.follow(fact)
            elif isinstance(fact, Refused):
                self.work.follow_refusal(fact)
                self.money.follow_refusal(fact)
        self.money.compare(disk)

    def disturb(self) -> None:
        """Note that waits and ends are not what they would be without a fault."""
        self.burns.troubled_s = self._clock.monotonic()
        self.work.disturb()
        self.work.locked_s = self._clock.monotonic()
        self.excuse_ends()

    def excuse_ends(self) -> None:
        """Note that what was in flight may end as unknown, though it was answered."""
        self.money.troubled_s = self._clock.monotonic()

    def audit(self, disk: Disk) -> None:
        """Let the product prove its record.

        Raises:
            Violation: it finds something.
        """
        report = disk.read(audit)
        self.audits += 1
        found = [finding.text for finding in report.findings[:3]]
        self.checks.require(report.is_clean, "the audit is clean", *found)

    def check_end(self, disk: Disk) -> None:
        """Check that nothing is left open after the last daemon has stopped.

        Raises:
            Violation: something is.
        """
        self.audit(disk)
        self.work.check_end()
        left = self.money.open_holds
        self.checks.require(not left, "every hold ends", left)
