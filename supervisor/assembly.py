"""From the config's sections to the daemon's values."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import msgspec

from supervisor import __version__
from supervisor.config import Config, Loaded, PriceTable, ProviderSection, WorkerSection
from supervisor.governance.breaker import BreakerRules
from supervisor.governance.drills import CANARY
from supervisor.governance.rotation import SessionPlan
from supervisor.governance.worth import ValueRule, micro_hours
from supervisor.hands_assembly import build_checks, build_http_rules
from supervisor.jobs.job import JobRules
from supervisor.ledger.accounts import Budget, Budgets, Unit
from supervisor.ledger.periods import Period
from supervisor.ledger.pricing import FixedPrice, FreePrice, Price
from supervisor.maintenance.retention_duty import RetentionPlan
from supervisor.model_assembly import (
    build_governor,
    build_routing,
    build_token_budgets,
    identity_of,
)
from supervisor.money import limit_micro_usd
from supervisor.policy_assembly import build_action_policy
from supervisor.providers.open import open_provider
from supervisor.supervision import Intensity
from supervisor.windows import parse_window
from supervisor.worker.context_budget import ContextLimits
from supervisor.worker.loading import load_function, load_wake_gate
from supervisor.worker.models import Models, Source
from supervisor.worker.plan import Policy, Schedule, WorkerPlan
from supervisor.worker.schedule import Cron, Every, OnQueue

#: Where nobody kills it, because whoever held the drill has died.
_CANARY_TIMEOUT_S = 60.0


def build_budgets(loaded: Loaded) -> Budgets:
    """Return every limit of the config: the cap, each session's two, and all further ones."""
    config = loaded.config
    budgets = [
        Budget(
            scope="system",
            period=Period.DAY,
            unit=Unit.MICRO_USD,
            limit_amount=limit_micro_usd(config.spend.daily_cap_usd),
        ),
        Budget(
            scope="session",
            period=Period.SESSION,
            unit=Unit.MICRO_USD,
            limit_amount=limit_micro_usd(config.session.max_cost_usd),
        ),
        Budget(
            scope="session",
            period=Period.SESSION,
            unit=Unit.ACTIONS,
            limit_amount=config.session.max_actions,
        ),
        *_further_budgets(config),
        *(budget for one in build_token_budgets(config) for budget in one.budgets()),
    ]
    return Budgets(budgets, timezone=loaded.timezone, warn_ratio=config.spend.warn_ratio)


def _further_budgets(config: Config) -> list[Budget]:
    budgets: list[Budget] = []
    for section in config.budget:
        usd = section.max_cost_usd
        limits = {
            Unit.MICRO_USD: None if usd is None else limit_micro_usd(usd),
            Unit.TOKENS: section.max_tokens,
            Unit.ACTIONS: section.max_actions,
        }
        budgets.extend(
            Budget(
                scope=section.scope,
                period=Period(section.period),
                unit=unit,
                limit_amount=limit,
            )
            for unit, limit in limits.items()
            if limit is not None
        )
    return budgets


def build_policy(loaded: Loaded) -> Policy:
    """Return what a reload may change.

    Raises:
        ConfigError: an evaluator or assessor of [policy] can't be had.
    """
    spend = loaded.config.spend
    return Policy(
        budgets=build_budgets(loaded),
        on_cap=spend.on_cap,
        min_output_tokens=spend.min_output_tokens,
        actions=build_action_policy(loaded),
        breakers=build_breaker_rules(loaded.config),
        governor=build_governor(loaded.config),
        jobs=build_job_rules(loaded.config),
        routing=build_routing(loaded.config),
        context=ContextLimits(
            call_tokens_max=loaded.config.context.call_tokens_max,
            session_tokens_max=loaded.config.context.session_tokens_max,
        ),
    )


def build_job_rules(config: Config) -> JobRules:
    """Return what [jobs] says."""
    return JobRules(**msgspec.structs.asdict(config.jobs))


def build_breaker_rules(config: Config) -> BreakerRules:
    """Return when breakers open, and for how long."""
    return BreakerRules(**msgspec.structs.asdict(config.breakers))


def build_models(loaded: Loaded) -> Models:
    """Return every provider of the config, opened.

    Raises:
        ConfigError: a key can't be sent, or a script can't be read.
    """
    sources = {
        name: _source(name, section, loaded.secret(section.api_key_env))
        for name, section in loaded.config.providers.items()
    }
    workers = loaded.config.worker.values()
    named = [name for worker in workers for name in (worker.model, *worker.fallback) if name]
    return Models(sources, named=named)


def _source(name: str, section: ProviderSection, api_key: str | None) -> Source:
    return Source(
        provider=open_provider(name, section, api_key=api_key),
        price_hint="anthropic" if section.kind == "anthropic" else section.base_url or None,
        price=_price(section),
        max_tokens=section.max_tokens,
        attempts_max=section.attempts_max,
        retry_delay_s=section.retry_delay_s,
        retry_delay_max_s=section.retry_delay_max_s,
        retry_after_max_s=section.retry_after_max_s,
    )


def _price(section: ProviderSection) -> Price | None:
    if section.kind == "builtin" or section.price == "free":
        return FreePrice()
    if isinstance(section.price, PriceTable):
        table = section.price
        return FixedPrice(
            input_usd_per_mtok=table.input_usd_per_mtok,
            output_usd_per_mtok=table.output_usd_per_mtok,
            cache_read_usd_per_mtok=table.cache_read_usd_per_mtok,
            cache_write_usd_per_mtok=table.cache_write_usd_per_mtok,
        )
    return None


def build_plan(loaded: Loaded, name: str) -> WorkerPlan:
    """Return one worker of the config.

    Raises:
        ConfigError: its function can't be imported.
    """
    config = loaded.config
    section = config.worker[name]
    return WorkerPlan(
        name=name,
        function=load_function(name, section.run, folder=loaded.folder),
        schedule=_schedule(section, loaded.timezone),
        has_work=None
        if section.has_work is None
        else load_wake_gate(name, section.has_work, folder=loaded.folder),
        session=SessionPlan(
            worker=name,
            span_s=parse_window(section.window or config.session.window),
            timezone=loaded.timezone,
            execution_mode=config.session.execution_mode,
        ),
        tick_timeout_s=section.tick_timeout_s,
        checkpoint_every=section.checkpoint_every or config.session.checkpoint_every,
        model=section.model or "",
        fallback=section.fallback,
        options=section.options,
        identity=identity_of(section.identity),
        value=_value(config, section),
        http=build_http_rules(name, section.http),
        checks=build_checks(loaded, name),
        secrets={variable: loaded.secret(variable) or "" for variable in section.secrets},
        memory_max_bytes=section.memory_max_bytes,
        queue=section.queue or "",
    )


def build_canary(loaded: Loaded) -> WorkerPlan:
    """Return the worker that the kill drill kills.

    Raises:
        ConfigError: its function can't be imported.
    """
    config = loaded.config
    return WorkerPlan(
        name=CANARY,
        function=load_function(CANARY, config.drills.canary, folder=loaded.folder),
        schedule=Every(_CANARY_TIMEOUT_S),
        session=SessionPlan(
            worker=CANARY,
            span_s=parse_window(config.session.window),
            timezone=loaded.timezone,
        ),
        tick_timeout_s=_CANARY_TIMEOUT_S,
        checkpoint_every=config.session.checkpoint_every,
        model="",
        options={},
    )


def _value(config: Config, section: WorkerSection) -> ValueRule:
    rate = section.rate_usd_per_hour
    if rate is None:
        rate = config.value.rate_usd_per_hour
    return ValueRule(
        micro_hours=micro_hours(section.hours_saved), rate=limit_micro_usd(rate or 0.0)
    )


def _schedule(section: WorkerSection, timezone: ZoneInfo) -> Schedule:
    if section.every_s is not None:
        return Every(section.every_s)
    if section.queue is not None:
        return OnQueue(section.queue)
    assert section.cron is not None, "a worker without a schedule is refused"
    zone = ZoneInfo(section.timezone) if section.timezone else timezone
    return Cron(
        section.cron,
        zone,
        missed=section.missed,
        lateness_max_s=section.lateness_max_s,
        overlap=section.overlap,
        jitter_s=section.jitter_s,
    )


def build_retention(loaded: Loaded) -> RetentionPlan:
    """Return how long closed windows stay, and where they go."""
    section = loaded.config.retention
    return RetentionPlan(
        keep_days=section.keep_days,
        checkpoints_kept=section.checkpoints_keep,
        folder=loaded.state_dir / section.folder,
        timezone=loaded.timezone,
        version=__version__,
    )


def build_intensity(config: Config) -> Intensity:
    """Return how often a child may crash."""
    section = config.supervisor
    return Intensity(
        restarts_max=section.restarts_max,
        window_s=section.restart_window_s,
        delay_s=section.restart_delay_s,
        delay_max_s=section.restart_delay_max_s,
    )
