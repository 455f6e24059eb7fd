"""Looking after the process itself: its event loop and its memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from supervisor.clock import Clock
from supervisor.config import SupervisorSection
from supervisor.events import kinds
from supervisor.events.telemetry import Telemetry
from supervisor.maintenance.loop_guard import Limits, LoopGuard
from supervisor.maintenance.loop_lag import LoopLag
from supervisor.maintenance.memory import MemoryWatch, resident_bytes
from supervisor.maintenance.ping import fail_now

_WHERE_MAX = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What the watch asks of the daemon, and what it may do to it.

    `running` are the workers whose ticks run. `exit_at_once` ends the process from any thread.
    """

    running: Callable[[], Sequence[str]]
    request_restart: Callable[[str], None]
    exit_at_once: Callable[[], None]


class ProcessWatch:
    """Measures the loop, ends a process whose loop is blocked, restarts one that grew too large."""

    def __init__(
        self,
        section: SupervisorSection,
        *,
        clock: Clock,
        log: FilteringBoundLogger,
        telemetry: Telemetry,
        stop_file: Path,
        reach: Reach,
    ) -> None:
        self._section = section
        self._log = log
        self._telemetry = telemetry
        self._reach = reach
        self.loop_lag = LoopLag(
            clock=clock, warn_s=section.loop_block_warn_s, on_block=self._on_block
        )
        self._guard = LoopGuard(
            lag=self.loop_lag,
            clock=clock,
            log=log,
            limits=Limits(
                warn_s=section.loop_block_warn_s,
                abort_s=section.loop_block_abort_s,
                stop_s=section.kill_latency_s,
            ),
            running=reach.running,
            is_stop_asked=stop_file.exists,
            last_words=partial(fail_now, section.heartbeat_ping_url),
            exit=reach.exit_at_once,
        )
        self.memory = MemoryWatch(
            limit_mb=section.rss_max_mb,
            every_s=section.heartbeat_s,
            resident_bytes=resident_bytes,
            on_excess=self._on_excess,
        )

    def start(self) -> None:
        """Watch the loop that runs, from now until `stop`: also while the daemon drains."""
        self.loop_lag.watch(asyncio.get_running_loop())
        self._guard.start()

    def stop(self) -> None:
        """Watch the loop no more."""
        self._guard.stop()

    def _on_block(self, began_s: float, lag_s: float) -> None:
        seen, lag_s = self._guard.witness(began_s), round(lag_s, 3)
        where = seen.where[-_WHERE_MAX:]
        self._log.warning("loop_was_blocked", lag_s=lag_s, worker=seen.worker, where=where)
        self._telemetry.add(kinds.LoopBlocked(lag_s=lag_s, worker=seen.worker, where=where))

    def _on_excess(self, resident_mb: int) -> None:
        limit_mb = self._section.rss_max_mb
        self._log.error("memory_above_limit", resident_mb=resident_mb, limit_mb=limit_mb)
        self._telemetry.add(kinds.MemoryExceeded(resident_mb=resident_mb, limit_mb=limit_mb))
        self._reach.request_restart(f"it held {resident_mb} MB, rss_max_mb = {limit_mb}")
