"""What the file may hold: every key with its type, bounds and default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta

from supervisor.config.alert_sections import AlertsSection, ReportSection
from supervisor.config.bounds import Count, HourlyUsd, Hours, Positive, Seconds, Usd
from supervisor.config.bounds import Section as _Section
from supervisor.config.breaker_sections import BreakersSection
from supervisor.config.model_sections import (
    ContextSection,
    IdentitySection,
    ModelsSection,
    RoutingSection,
    TokenBudgetSection,
)
from supervisor.config.policy_sections import PolicySection


class SupervisorSection(_Section, frozen=True, kw_only=True):
    """[supervisor]: the daemon itself. Spans in seconds."""

    state_dir: str = "var"
    database: str = "sqlite"
    timezone: str = "UTC"
    grace_s: Seconds = 30.0
    kill_latency_s: Seconds = 1.0
    heartbeat_s: Annotated[float, Meta(gt=0, le=5)] = 5.0
    heartbeat_ping_url: str = ""
    stuck_after_s: Seconds = 900.0
    loop_block_warn_s: Seconds = 1.0
    loop_block_abort_s: Seconds = 20.0
    rss_max_mb: Positive = 768
    telemetry_held_max: Positive = 1000
    restarts_max: Count = 10
    restart_window_s: Seconds = 3600.0
    restart_delay_s: Seconds = 0.01
    restart_delay_max_s: Seconds = 300.0


class SessionSection(_Section, frozen=True, kw_only=True):
    """[session]: every worker's governance window; `horizon` presets the rest (horizons.py)."""

    horizon: Literal["hour", "day", "week", "month"] | None = None
    window: str = "hourly"
    max_cost_usd: Usd = 0.50
    max_actions: Count = 500
    checkpoint_every: Positive = 12
    execution_mode: Literal["live", "dry_run"] = "live"


class SpendSection(_Section, frozen=True, kw_only=True):
    """[spend]: the daemon-wide cap. `daily_cap_usd` has no default: nobody guesses it for you."""

    daily_cap_usd: Usd
    on_cap: Literal["wait", "ask", "stop"] = "wait"
    warn_ratio: Annotated[float, Meta(gt=0, le=1)] = 0.8
    min_output_tokens: Positive = 64


class BudgetSection(_Section, frozen=True, kw_only=True):
    """[[budget]]: any further account."""

    scope: str
    period: Literal["hour", "day", "week", "month", "session", "unlimited"]
    max_cost_usd: Usd | None = None
    max_tokens: Count | None = None
    max_actions: Count | None = None


class ValueSection(_Section, frozen=True, kw_only=True):
    """[value]: what people's time is worth; left out: nobody has said, and hours alone count."""

    rate_usd_per_hour: HourlyUsd | None = None


class HttpSection(_Section, frozen=True, kw_only=True):
    """[http]: where the daemon answers; `listen` is ADDRESS:PORT, port 0 picks a free one."""

    listen: str = "127.0.0.1:9464"
    token_env: str = "SUPERVISOR_TOKEN"  # noqa: S105 - the variable's name, not a token


class LogSection(_Section, frozen=True, kw_only=True):
    """[log]: `supervisor.jsonl` in the state directory, and the console."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    file_max_mb: Positive = 50
    files_keep: Count = 5


class PriceTable(_Section, frozen=True, kw_only=True):
    """Prices in USD for a million tokens; a cache price left out is the input price."""

    input_usd_per_mtok: Usd
    output_usd_per_mtok: Usd
    cache_read_usd_per_mtok: Usd | None = None
    cache_write_usd_per_mtok: Usd | None = None


class ProviderSection(_Section, frozen=True, kw_only=True):
    """[providers.NAME]: a source of model answers."""

    kind: Literal["builtin", "openai", "anthropic", "scripted"]
    base_url: str = ""
    api_key_env: str = ""
    price: Literal["free"] | PriceTable | None = None
    max_tokens: Positive = 1024
    connect_timeout_s: Seconds = 10.0
    read_timeout_s: Seconds = 120.0
    attempts_max: Positive = 3
    retry_delay_s: Seconds = 0.5
    retry_delay_max_s: Seconds = 30.0
    retry_after_max_s: Seconds = 60.0
    answer_max_bytes: Positive = 4_000_000
    script: Mapping[str, object] = {}


class JobsSection(_Section, frozen=True, kw_only=True):
    """[jobs]: every queue's leases, retries and bounds. Spans in seconds."""

    lease_s: Annotated[float, Meta(ge=0.1, le=86_400)] = 30.0
    attempts_max: Annotated[int, Meta(ge=1, le=1_000)] = 5
    retry_delay_s: Seconds = 1.0
    retry_delay_max_s: Seconds = 300.0
    batch_max: Annotated[int, Meta(ge=1, le=1_000)] = 32
    payload_max_bytes: Annotated[int, Meta(ge=1, le=1_000_000)] = 65_536


class WorkerHttpSection(_Section, frozen=True, kw_only=True):
    """[worker.NAME.http]: what its `ctx.http` may reach, and within which bounds."""

    allow: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("GET", "HEAD", "OPTIONS")
    publish_methods: tuple[str, ...] = ()
    robots: bool = True
    user_agent: str = ""
    host_every_s: Annotated[float, Meta(ge=0, le=86_400)] = 1.0
    connect_timeout_s: Seconds = 10.0
    read_timeout_s: Seconds = 30.0
    total_timeout_s: Seconds = 60.0
    body_max_bytes: Positive = 10_000_000
    redirects_max: Annotated[int, Meta(ge=0, le=50)] = 5
    attempts_max: Annotated[int, Meta(ge=1, le=20)] = 3
    retry_after_max_s: Seconds = 60.0
    requests_max: Positive = 1_000


class WorkerOutputSection(_Section, frozen=True, kw_only=True):
    """[worker.NAME.output]: what is asked of what it hands over, before any of it is published."""

    checks: tuple[str, ...] = ()
    duplicates_among: Annotated[int, Meta(ge=0, le=100_000)] = 1_000
    count_expected: Positive | None = None
    count_ratio_max: Annotated[float, Meta(ge=1, le=1_000)] = 1.5
    age_max_s: Seconds | None = None
    size_max_bytes: Positive = 100_000
    schema: str = ""
    outputs_max: Positive = 1_000
    drafts_keep: Positive = 20


class WorkerSection(_Section, frozen=True, kw_only=True):
    """[worker.NAME]: a coroutine function, and when it ticks."""

    run: str
    every_s: Seconds | None = None
    cron: str | None = None
    queue: str | None = None
    timezone: str | None = None
    missed: Literal["skip", "once", "all"] = "skip"
    lateness_max_s: Seconds = 3_600.0
    overlap: Literal["skip", "queue", "cancel"] = "skip"
    jitter_s: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    has_work: str | None = None
    model: str | None = None
    fallback: tuple[str, ...] = ()
    tick_timeout_s: Seconds = 120.0
    window: str | None = None
    checkpoint_every: Positive | None = None
    hours_saved: Hours = 0.0
    rate_usd_per_hour: HourlyUsd | None = None
    identity: IdentitySection = IdentitySection()
    options: Mapping[str, object] = {}
    secrets: tuple[str, ...] = ()
    memory_max_bytes: Positive = 10_000_000
    http: WorkerHttpSection = WorkerHttpSection()
    output: WorkerOutputSection = WorkerOutputSection()


class DrillsSection(_Section, frozen=True, kw_only=True):
    """[drills]: which rehearsals the daemon holds by itself, and what it kills in them."""

    kill: str = ""
    approvals: str = ""
    restore: str = ""
    canary: str = "supervisor.agents.canary:run"


class RetentionSection(_Section, frozen=True, kw_only=True):
    """[retention]: how long what is over stays in the store; `keep_days` of 0 keeps everything."""

    keep_days: Annotated[int, Meta(ge=0, le=36_500)] = 35
    checkpoints_keep: Positive = 50
    folder: str = "exports"


class Config(_Section, frozen=True, kw_only=True):
    """The whole file, as written."""

    spend: SpendSection
    supervisor: SupervisorSection = SupervisorSection()
    session: SessionSection = SessionSection()
    budget: tuple[BudgetSection, ...] = ()
    http: HttpSection = HttpSection()
    log: LogSection = LogSection()
    drills: DrillsSection = DrillsSection()
    retention: RetentionSection = RetentionSection()
    providers: Mapping[str, ProviderSection] = {}
    worker: Mapping[str, WorkerSection] = {}
    policy: PolicySection = PolicySection()
    breakers: BreakersSection = BreakersSection()
    models: ModelsSection | None = None
    token_budget: tuple[TokenBudgetSection, ...] = ()
    routing: RoutingSection | None = None
    context: ContextSection = ContextSection()
    value: ValueSection = ValueSection()
    jobs: JobsSection = JobsSection()
    alerts: AlertsSection = AlertsSection()
    report: ReportSection = ReportSection()
