"""Sessions, their numbers and windows, and the kills, as their events must tell them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from supervisor.clock import Clock, from_us, to_us
from supervisor.events import kinds
from supervisor.events.log import Recorded
from supervisor.governance.session import MOVES, SessionStatus
from supervisor.simulation.checks import Checks

_NEAR = timedelta(hours=2)


@dataclass(slots=True)
class SessionState:
    """A session as far as its events tell."""

    id: str
    worker: str
    window_start: int
    window_end: int
    status: SessionStatus = SessionStatus.ACTIVE
    last_seq: int = 0


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """How long a worker's windows are, and by whose clock."""

    span_s: int
    timezone: ZoneInfo


@dataclass(slots=True)
class SessionRules:
    """Every session and latch. `latest_us` is the latest moment that any event was made at."""

    clock: Clock
    checks: Checks
    windows: Mapping[str, WindowPlan]
    latest_us: int = 0
    latches: dict[str, float] = field(default_factory=dict)
    _all: dict[str, SessionState] = field(default_factory=dict)
    _open: dict[str, SessionState] = field(default_factory=dict)
    _last: dict[str, str] = field(default_factory=dict)

    def follow(self, recorded: Recorded) -> None:
        """Apply one event.

        Raises:
            Violation: it should not be there, or not say this.
        """
        match event := recorded.event:
            case kinds.SessionOpened():
                self._begin(recorded, event)
            case kinds.SessionClosed():
                self._close(recorded, event)
            case kinds.SessionRotated():
                is_next = self._last.get(event.worker) == event.previous
                self.checks.require(is_next, "a session follows the last one", recorded)
            case kinds.SessionPaused():
                self._move(recorded.session_id, SessionStatus.PAUSED)
            case kinds.SessionResumed():
                self._move(recorded.session_id, SessionStatus.ACTIVE)
            case kinds.KillSwitchEngaged():
                self.checks.require(event.scope not in self.latches, "a kill latches once", event)
                self.latches[event.scope] = self.clock.monotonic()
            case kinds.KillSwitchReleased():
                self.checks.require(event.scope in self.latches, "a release ends a kill", event)
                del self.latches[event.scope]
            case _:
                pass
        self._count(recorded)

    def _count(self, recorded: Recorded) -> None:
        session = self._all.get(recorded.session_id)
        rule = "numbers without a gap"
        self.checks.require(session is not None, rule, recorded)
        assert session is not None, recorded
        self.checks.require(recorded.seq == session.last_seq + 1, rule, session, recorded)
        session.last_seq = recorded.seq
        self.latest_us = max(self.latest_us, to_us(recorded.origin.at))

    def _begin(self, recorded: Recorded, event: kinds.SessionOpened) -> None:
        check = self.checks.require
        session_id, worker, at = recorded.session_id, event.worker, to_us(recorded.origin.at)
        check(session_id not in self._all, "a window has one session", session_id)
        check(worker not in self._open, "one open session a worker", session_id, self._open)
        check(event.window_start <= at < event.window_end, "a session opens in its window", event)
        plan = self.windows[worker]
        is_aligned = _is_aligned(from_us(event.window_start), from_us(event.window_end), plan)
        check(is_aligned, "windows are aligned", session_id, plan)
        session = SessionState(session_id, worker, event.window_start, event.window_end)
        self._all[session_id] = self._open[worker] = session

    def _close(self, recorded: Recorded, event: kinds.SessionClosed) -> None:
        session = self._open.pop(event.worker, None)
        is_its_own = session is not None and session.id == recorded.session_id
        self.checks.require(is_its_own, "only what is open is closed", recorded)
        assert session is not None, recorded
        is_over = to_us(recorded.origin.at) >= session.window_end
        self.checks.require(is_over, "a session closes after its window", recorded, session)
        session.status = SessionStatus.COMPLETED
        self._last[event.worker] = session.id

    def _move(self, session_id: str, to: SessionStatus) -> None:
        session = self._all[session_id]
        self.checks.require(to in MOVES[session.status], "only legal moves", session, to)
        session.status = to

    def check_start(self, recorded: Recorded, worker: str) -> None:
        """Check that a tick may start in this session at this moment.

        Raises:
            Violation: it may not.
        """
        check = self.checks.require
        session = self._open.get(worker)
        at = to_us(recorded.origin.at)
        is_its_own = session is not None and session.id == recorded.session_id
        check(is_its_own, "a tick starts in the worker's open session", recorded, session)
        assert session is not None, recorded
        check(session.status is SessionStatus.ACTIVE, "nothing starts in a pause", session)
        check(at < session.window_end, "rotation at the boundary", recorded, session)
        was_set_back = at < self.latest_us
        check(at >= session.window_start or was_set_back, "a tick is in its window", session)
        scope = self.latched(worker, session.id)
        check(scope is None, "nothing starts under a kill", recorded, scope)

    def latched(self, worker: str, session_id: str | None) -> str | None:
        """Return a kill that reaches the worker, None where there is none."""
        scopes = (f"session:{session_id}", f"worker:{worker}", "system")
        return next((scope for scope in scopes if scope in self.latches), None)

    def open_of(self, worker: str) -> SessionState | None:
        return self._open.get(worker)

    def find(self, session_id: str) -> SessionState | None:
        return self._all.get(session_id)


def _is_aligned(start: datetime, end: datetime, plan: WindowPlan) -> bool:
    """Return whether a window lies on the local clock's grid, worked out in another way."""
    local = start.astimezone(plan.timezone)
    since_midnight_s = (local.hour * 60 + local.minute) * 60 + local.second
    is_on_grid = since_midnight_s % plan.span_s == 0 and local.microsecond == 0
    span = timedelta(seconds=plan.span_s)
    if is_on_grid and end - start == span:
        return True
    reach = span + _NEAR
    offsets = {m.astimezone(plan.timezone).utcoffset() for m in (start - reach, start, end + reach)}
    just_before = (start - timedelta.resolution).astimezone(plan.timezone)
    is_at_change = just_before.utcoffset() != local.utcoffset()
    is_possible = timedelta() < end - start <= span + _NEAR
    return len(offsets) > 1 and (is_on_grid or is_at_change) and is_possible
