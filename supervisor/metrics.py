"""Every Prometheus series: counters follow committed events, gauges are read at scrape time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from supervisor.events import hands_kinds, kinds, upkeep_kinds
from supervisor.events.log import Recorded
from supervisor.governance.breaker import BreakerState
from supervisor.money import to_usd
from supervisor.redaction import REDACTION

_TICK_BUCKETS_S = (0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 1800)
_CALL_BUCKETS_S = (0.05, 0.25, 1, 2.5, 5, 10, 30, 60, 120)
_TOKEN_BUCKETS = (16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576)
_PROGRESS = {
    "items_done": "Items of the worker's running tick that are done.",
    "items": "Items of it in all, where that is known.",
    "remaining_seconds": "How long it takes yet at its pace, where that can be said.",
}
#: A closed set, so that the label stays one.
LIVES = ("running", "restarting", "failed", "stopped")


class Metrics:
    """The daemon's series. Written by the store's commits (`follow`) and by each scrape.

    What a commit counts is kept as `cache(series.labels)`: finding a child takes the library longer
    than counting on it. A gauge is kept itself, as a cleared one has lost its children.
    """

    def __init__(self, *, version: str) -> None:
        registry = CollectorRegistry()
        self.registry = registry
        self._write_failures_shown = 0
        self._telemetry_dropped_shown = 0
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Callable[..., Counter]:
            return cache(Counter(f"supervisor_{name}", text, labels, registry=registry).labels)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"supervisor_{name}", text, labels, registry=registry)

        gauge("build_info", "The running version.", "version").labels(version).set(1)
        self._ticks = counter("ticks", "Ticks that ended, by outcome.", "worker", "outcome")
        self._tick_duration = cache(
            Histogram(
                "supervisor_tick_duration_seconds",
                "How long ticks took.",
                ["worker"],
                buckets=_TICK_BUCKETS_S,
                registry=registry,
            ).labels
        )
        self._restarts = counter("worker_restarts", "Workers' crashes.", "worker")
        self._rotations = counter("session_rotations", "Sessions that followed another.", "worker")
        self._spend = counter("spend_usd", "USD spent, forfeits included.", "worker", "model")
        self._refusals = counter(
            "refusals", "Ticks and calls that a gate refused.", "worker", "code"
        )
        self._holds = counter("holds", "Holds, by how they ended.", "end")
        self._events = counter("events", "Committed events.", "kind")
        self._recoveries = counter("recoveries", "What recovery found.", "finding")
        self.last_progress = gauge(
            "last_progress_timestamp_seconds", "When the worker's last tick ended.", "worker"
        )
        self.heartbeat = gauge("heartbeat_timestamp_seconds", "When the daemon last beat.")
        self.worker_state = gauge("worker_state", "1 for the state it is in.", "worker", "state")
        self.session_started = gauge(
            "session_started_timestamp_seconds", "When the open session was opened.", "worker"
        )
        self.held = gauge("spend_held_usd", "USD held for calls in flight, on the daily cap.")
        self.cap = gauge("spend_cap_usd", "The daily cap.")
        self.today = gauge("spend_today_usd", "USD settled today, on the daily cap.")
        self.kill_engaged = gauge("kill_engaged", "Latched kills, by kind of scope.", "scope")
        self.breaker_state = gauge("breaker_state", "1 for the state it is in.", "name", "state")
        self.approvals_pending = gauge("approvals_pending", "Tickets that wait for a person.")
        self.approval_oldest_age = gauge(
            "approval_oldest_age_seconds", "How long the oldest of them has waited, 0 for none."
        )
        self.alerts_undelivered = gauge(
            "alerts_undelivered", "Messages that their channels have not taken yet."
        )
        self.loop_lag = gauge("loop_lag_seconds", "The event loop's worst delay of a minute.")
        self.wal = gauge("wal_bytes", "Bytes of the store's write-ahead log.")
        self._add_refused_writes(registry)
        self._add_calls(registry)
        self._add_drills(registry)
        self._add_jobs(registry)

    def _add_refused_writes(self, registry: CollectorRegistry) -> None:
        self.write_failures = Counter(
            "supervisor_state_write_failures",
            "Writes that the store did not take.",
            registry=registry,
        )
        self.telemetry_dropped = Counter(
            "supervisor_telemetry_dropped",
            "Events that change no state and that the store did not take.",
            registry=registry,
        )

    def _add_calls(self, registry: CollectorRegistry) -> None:
        """Add the series that OpenTelemetry's GenAI conventions name."""
        self._call_tokens = cache(
            Histogram(
                "gen_ai_client_token_usage",
                "Tokens of a model call, by type.",
                ["gen_ai_request_model", "gen_ai_token_type"],
                buckets=_TOKEN_BUCKETS,
                registry=registry,
            ).labels
        )
        self._call_duration = cache(
            Histogram(
                "gen_ai_client_operation_duration_seconds",
                "How long model calls took.",
                ["gen_ai_request_model"],
                buckets=_CALL_BUCKETS_S,
                registry=registry,
            ).labels
        )

    def _add_drills(self, registry: CollectorRegistry) -> None:
        self._retired = Counter(
            "supervisor_retired_events",
            "Events that were exported, and pruned since.",
            registry=registry,
        )
        self.drill_last_pass = Gauge(
            "supervisor_drill_last_pass_timestamp_seconds",
            "When the drill last passed; 0: never.",
            ["drill"],
            registry=registry,
        )

    def _add_jobs(self, registry: CollectorRegistry) -> None:
        self._jobs = Gauge(
            "supervisor_jobs", "Jobs, by where they are.", ["queue", "state"], registry=registry
        )
        self._dead_letters = Gauge(
            "supervisor_dead_letters", "Jobs that failed for good.", ["queue"], registry=registry
        )

        self._progress = {
            what: Gauge(f"supervisor_progress_{what}", text, ["worker"], registry=registry)
            for what, text in _PROGRESS.items()
        }

    def show_progress(self, worker: str, done: int, total: int | None, eta_s: float | None) -> None:
        """Set how far the worker's tick has come; what nobody can say has no series."""
        for what, value in (("items_done", done), ("items", total), ("remaining_seconds", eta_s)):
            if value is not None:
                self._progress[what].labels(worker).set(value)

    def forget_progress(self) -> None:
        """Drop what `show_progress` has set: what is not at work is shown no more."""
        for gauge in self._progress.values():
            gauge.clear()

    def show_jobs(self, counts: Iterable[tuple[str, str, int]]) -> None:
        """Set how many jobs of each queue are in each state."""
        self._jobs.clear()
        self._dead_letters.clear()
        for queue, state, number in counts:
            self._jobs.labels(queue, state).set(number)
            self._dead_letters.labels(queue).inc(number if state == "dead" else 0)

    def follow(self, facts: Sequence[object]) -> None:
        """Count what one commit has made true."""
        by_kind: dict[str, int] = {}
        for fact in facts:
            if isinstance(fact, Recorded):
                kind = fact.event.kind
                by_kind[kind] = by_kind.get(kind, 0) + 1
                self._count(fact.session_id.partition("@")[0], fact.event)
        for kind, number in by_kind.items():
            self._events(kind).inc(number)

    def _count(self, worker: str, event: kinds.Event) -> None:
        match event:
            case kinds.CycleCompleted():
                self._ticks(event.worker, event.outcome).inc()
                self._tick_duration(event.worker).observe(event.duration_s)
            case kinds.CallRefused() | hands_kinds.GuardrailTool():
                self._refusals(event.worker, event.code).inc()
            case kinds.CycleSkipped():
                self._ticks(event.worker, "skipped").inc()
                self._refusals(event.worker, event.code).inc()
            case kinds.CycleRecovered():
                self._ticks(event.worker, "recovered").inc()
            case kinds.WorkerCrashed():
                self._restarts(event.worker).inc()
            case kinds.SessionRotated():
                self._rotations(event.worker).inc()
            case kinds.HoldSettled() | kinds.HoldForfeited() | kinds.HoldReleased():
                self._count_end(worker, event)
            case upkeep_kinds.WindowsRetired(events=events):
                self._retired.inc(events)
            case _:
                return

    def _count_end(
        self, worker: str, event: kinds.HoldSettled | kinds.HoldForfeited | kinds.HoldReleased
    ) -> None:
        self._holds(event.kind.removeprefix("hold_")).inc()
        if isinstance(event, kinds.HoldReleased):
            return
        self._spend(worker, event.model).inc(to_usd(event.cost))
        if isinstance(event, kinds.HoldSettled) and event.model:
            self._call_tokens(event.model, "input").observe(event.input_tokens)
            self._call_tokens(event.model, "output").observe(event.output_tokens)
            self._call_duration(event.model).observe(event.duration_s)

    def show_breaker(self, name: str, state: str) -> None:
        """Set the breaker's state."""
        for known in BreakerState:
            self.breaker_state.labels(name, known).set(known == state)

    def show_worker(self, name: str, life: str, progress_at: datetime | None) -> None:
        """Set the worker's state and last progress."""
        for known in LIVES:
            self.worker_state.labels(name, known).set(known == life)
        if progress_at is not None:
            self.last_progress.labels(name).set(progress_at.timestamp())

    def forget_workers(self) -> None:
        """Drop what `show_worker` has set, so that a worker that left is shown no more."""
        self.worker_state.clear()
        self.last_progress.clear()

    def show_recovery(self, **findings: int) -> None:
        """Count what a recovery scan has closed, by finding."""
        for finding, number in findings.items():
            self._recoveries(finding).inc(number)

    def show_write_failures(self, total: int) -> None:
        """Bring the counter up to the store's own count."""
        self.write_failures.inc(total - self._write_failures_shown)
        self._write_failures_shown = total

    def show_telemetry_dropped(self, total: int) -> None:
        """Bring the counter up to the queue's own count."""
        self.telemetry_dropped.inc(total - self._telemetry_dropped_shown)
        self._telemetry_dropped_shown = total

    def render(self) -> bytes:
        """Return every series in Prometheus' text form."""
        return REDACTION.text(generate_latest(self.registry).decode()).encode()
