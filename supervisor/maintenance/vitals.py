"""Who is alive and who makes progress, as the committed events tell it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from supervisor.clock import Clock, from_us, iso
from supervisor.events import kinds
from supervisor.events.log import Recorded
from supervisor.storage.database import Transaction

#: What a tick may take beyond its timeout before its worker counts as stuck.
_STUCK_SLACK_S = 10.0
_GOOD, _BAD = frozenset({"ok", "noop"}), frozenset({"failed", "timed_out"})


class WorkerVitals(msgspec.Struct, kw_only=True):
    """A worker's last signs of life: moments as aware UTC datetimes, for records.

    `running_since_s` is by the monotonic clock, from when the tick's start was committed: a wall
    clock that is set, or a machine that slept, makes no tick older than it is. `failing_since` is
    when the first of its ticks failed after which none has gone well, and `why` the last one did.
    """

    life: str = "running"
    last_progress_at: datetime | None = None
    last_tick: int = 0
    outcome: str = ""
    session_id: str = ""
    running_since_s: float | None = None
    failing_since: datetime | None = None
    why: str = ""


class _Row(msgspec.Struct, frozen=True):
    name: str
    life: str
    session_id: str | None
    last_tick: int
    last_outcome: str
    last_progress_at: int | None


def _rows(tx: Transaction) -> list[_Row]:
    return tx.rows("workers.all", _Row)


class Vitals:
    """Every worker's vitals. Written only by `follow`, from the store's commits."""

    def __init__(self, tick_timeouts_s: Mapping[str, float], clock: Clock) -> None:
        self._clock = clock
        self._timeouts_s = dict(tick_timeouts_s)
        self.workers = {name: WorkerVitals() for name in tick_timeouts_s}

    def expect(self, tick_timeouts_s: Mapping[str, float]) -> None:
        """Watch these workers from now on, and no others."""
        self._timeouts_s = dict(tick_timeouts_s)
        known = self.workers
        self.workers = {name: known.get(name) or WorkerVitals() for name in tick_timeouts_s}

    def load(self, tx: Transaction) -> None:
        """Take up what earlier lives have recorded."""
        for row in _rows(tx):
            if row.name in self.workers:
                at = row.last_progress_at
                failing = row.last_outcome in _BAD and at is not None
                self.workers[row.name] = WorkerVitals(
                    failing_since=from_us(at) if failing and at is not None else None,
                    life=row.life,
                    last_progress_at=None if at is None else from_us(at),
                    last_tick=row.last_tick,
                    outcome=row.last_outcome,
                    session_id=row.session_id or "",
                )

    def follow(self, facts: Sequence[object]) -> None:
        """Note what one commit has made true."""
        for fact in facts:
            if isinstance(fact, Recorded):
                self._note(fact)

    def _note(self, recorded: Recorded) -> None:
        event = recorded.event
        vitals = self.workers.get(getattr(event, "worker", ""))
        if vitals is None:
            return
        match event:
            case kinds.CycleStarted(tick=tick):
                vitals.life = "running"
                vitals.last_tick, vitals.session_id = tick, recorded.session_id
                vitals.running_since_s = self._clock.monotonic()
            case kinds.CycleCompleted(tick=tick, outcome=outcome, why=why):
                self._ended(vitals, recorded, tick, outcome)
                if outcome in _GOOD:
                    vitals.failing_since, vitals.why = None, ""
                elif outcome in _BAD:
                    vitals.failing_since = vitals.failing_since or recorded.origin.at
                    vitals.why = why
            case kinds.CycleSkipped(tick=tick):
                vitals.life = "running"
                self._ended(vitals, recorded, tick, "skipped")
            case kinds.CycleRecovered(tick=tick):
                self._ended(vitals, recorded, tick, "recovered")
            case kinds.WorkerCrashed():
                vitals.life = "restarting"
            case kinds.WorkerFailed():
                vitals.life = "failed"
            case _:
                return

    def _ended(self, vitals: WorkerVitals, recorded: Recorded, tick: int, outcome: str) -> None:
        vitals.last_tick, vitals.outcome = tick, outcome
        vitals.last_progress_at, vitals.running_since_s = recorded.origin.at, None

    def troubles(self) -> list[str]:
        """Return a sentence for each worker that is failed or stuck in a tick."""
        failed = [
            f"worker {name} has failed"
            for name, vitals in self.workers.items()
            if vitals.life == "failed"
        ]
        return failed + self.stuck()

    def stuck(self) -> list[str]:
        """Return a sentence for each worker whose tick has outlived its timeout."""
        now_s = self._clock.monotonic()
        return [
            f"worker {name} is stuck in tick {vitals.last_tick}"
            for name, vitals in self.workers.items()
            if vitals.life != "failed" and self._is_stuck(name, vitals.running_since_s, now_s)
        ]

    def _is_stuck(self, name: str, since_s: float | None, now_s: float) -> bool:
        return since_s is not None and now_s - since_s > self._timeouts_s[name] + _STUCK_SLACK_S

    def running(self) -> list[str]:
        """Return the workers whose ticks run; also for another thread to ask."""
        workers = list(self.workers.items())
        return [name for name, vitals in workers if vitals.running_since_s is not None]

    def as_heartbeat(self) -> dict[str, dict[str, object]]:
        """Return the workers as `heartbeat.json` has them."""
        return {
            name: {
                "last_progress_at": iso(at) if (at := vitals.last_progress_at) else None,
                "last_tick": vitals.last_tick,
                "outcome": vitals.outcome,
                "session_id": vitals.session_id,
            }
            for name, vitals in self.workers.items()
        }
