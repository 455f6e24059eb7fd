"""One life of a daemon, from its exec to its end."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.e2e.billing_server import BillingServer
from tests.e2e.daemon_process import RunningDaemon
from tests.torture.fates import Fate
from tests.torture.fault_points import FATAL_MARK
from tests.torture.site import TOKEN, TorturedSite

#: A daemon that has not begun a tick by then never will.
HUNG_S = 30.0
#: How long after its first tick a life is let go on that does not get to its point.
MISSED_S = 0.7

_READ_BYTES = 65_536
_WORKS = ("records.begin_tick:", "queue_records.begin_queue_tick:")
_TICK_ENDS = (
    "records.finish_tick",
    "records.begin_tick+cycle_skipped",
    "queue_records.finish_queue_tick",
)

Stimulus = Callable[[RunningDaemon], None]


class Effort(NamedTuple):
    """What a life took until it passed a point first: seconds on a CPU, and waiting for one."""

    cpu_s: float = 0.0
    waited_s: float = 0.0


@dataclass(slots=True, kw_only=True)
class Life:
    """What is known of a life that is over; moments as `time.time()` has them."""

    fate: Fate
    pid: int
    began_at: float
    ended_at: float = 0.0
    hit: str = ""
    #: None where it was killed.
    exit_code: int | None = None
    seen: dict[str, Effort] = field(default_factory=dict)

    @property
    def has_worked(self) -> bool:
        """Whether it began a tick, and so had recovered what was left to it."""
        return any(point.startswith(_WORKS) for point in self.seen)

    @property
    def effort(self) -> Effort:
        """What its first tick's end took, from the exec on."""
        return min(
            (
                effort
                for point, effort in self.seen.items()
                if point.startswith(_TICK_ENDS) and point.endswith(":done")
            ),
            default=Effort(),
        )


class Living:
    """Starts a daemon, watches it, and sees to its end."""

    def __init__(self, site: TorturedSite, billing: BillingServer, fate: Fate) -> None:
        self._site = site
        self._billing = billing
        self._reports, told = os.pipe()
        self._rest = b""
        _drain(billing.stops)
        words = ["--report-to", str(told)]
        if fate.by == "point":
            words += ["--fatal", fate.where, "--passage", str(fate.passage)]
            words += ["--delay-s", f"{fate.delay_s:.6f}"]
        began_at = time.time()
        environment = {"SUPERVISOR_TOKEN": TOKEN}
        self.daemon = site.start(*words, environment=environment, descriptors=[told])
        os.close(told)
        self.life = Life(fate=fate, pid=self.daemon.pid, began_at=began_at)

    def see_through(self, stimulus: Stimulus | None = None) -> Life:
        """Let it live until its fate; `stimulus` is given to it once it works.

        Raises:
            AssertionError: it hung, or it ended by itself.
        """
        fate = self.life.fate
        deadline = self.life.began_at + (fate.after_s if fate.by == "start" else HUNG_S)
        while self._watch(deadline):
            if fate.by != "start" and self.life.has_worked:
                spell_s = fate.after_s if fate.by == "outside" else MISSED_S
                deadline = min(deadline, time.time() + spell_s)
            if stimulus is not None and self.life.has_worked:
                stimulus(self.daemon)
                stimulus = None
        return self.end()

    def work(self, until: Callable[[], bool], *, within_s: float = HUNG_S) -> None:
        """Let it live until the condition holds; it must not end before."""
        deadline = time.time() + within_s
        while not until():
            assert time.time() < deadline, f"not within {within_s:g} s; it said: {self.said()}"
            assert self._watch(time.time() + 0.02, may_time_out=True), f"ended: {self.said()}"

    def said(self) -> str:
        """Return the end of what it has written to its console."""
        return self.daemon.said()[-2_000:]

    def _watch(self, deadline: float, *, may_time_out: bool = False) -> bool:
        """Wait for news of it, and return whether it lives on."""
        left_s = max(deadline - time.time(), 0.0)
        watched = [self._reports, self._billing.stops]
        news, _, _ = select.select(watched, [], [], left_s)
        if not news:
            fate = self.life.fate
            has_begun = fate.by == "start" or self.life.has_worked or may_time_out
            assert has_begun, f"no tick within {HUNG_S:g} s; it said: {self.said()}"
            return may_time_out
        if self._billing.stops in news and self._is_stop_fatal():
            return False
        return self._reports not in news or self._read_reports()

    def _is_stop_fatal(self) -> bool:
        where = os.read(self._billing.stops, _READ_BYTES).decode().split()
        fate = self.life.fate
        if fate.by == "provider" and fate.where in where:
            self.life.hit = f"provider {fate.where}"
            return True
        return False

    def _read_reports(self) -> bool:
        news = os.read(self._reports, _READ_BYTES)
        *lines, self._rest = (self._rest + news).split(b"\n")
        for line in map(bytes.decode, lines):
            if line.startswith(FATAL_MARK):
                self.life.hit = line.removeprefix(FATAL_MARK)
            else:
                name, cpu_s, waited_s = line.split(" ")
                self.life.seen[name] = Effort(float(cpu_s), float(waited_s))
        return bool(news)

    def end(self, *, by: signal.Signals = signal.SIGKILL) -> Life:
        """End it, and return what is known of it.

        Raises:
            AssertionError: it had ended by itself, or did not end.
        """
        if not self.life.hit or by is not signal.SIGKILL:
            code = self.daemon.stop() if by is signal.SIGTERM else self._kill()
            self.life.exit_code = code
        self.daemon.kill_9()
        self.life.ended_at = time.time()
        while self._read_reports():
            pass
        os.close(self._reports)
        return self.life

    def _kill(self) -> int | None:
        self.daemon.kill_9()
        # What it reported last decides: it may have killed itself a moment before.
        while self._read_reports():
            pass
        code = self.daemon.wait()
        if code == -signal.SIGKILL:
            return None
        return code


def _drain(descriptor: int) -> None:
    while select.select([descriptor], [], [], 0)[0]:
        os.read(descriptor, _READ_BYTES)
