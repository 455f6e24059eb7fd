"""What types alone can't say of a config's values."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from supervisor.config.alert_checks import check_alerts
from supervisor.config.budget_checks import (
    check_asked,
    check_budgets,
    check_fallback,
    check_governed_models,
    check_identity,
    check_routing,
    check_token_budgets,
    models_of,
)
from supervisor.config.hands_checks import check_http, check_output, check_secrets
from supervisor.config.policy_checks import check_policy
from supervisor.config.sections import (
    Config,
    ProviderSection,
    SupervisorSection,
    WorkerSection,
)
from supervisor.errors import ConfigError
from supervisor.windows import parse_window, span_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_RUN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_POSTGRES = re.compile(r"postgres(ql)?://")
# Up to the last @: a password may hold one, or a slash, that nobody has encoded.
_PASSWORD = re.compile(r"(?<=://).*(?=@)|(?<=password=)[^&]*")
_ANY_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
_PORT_MAX = 65_535
_CANARY = "canary"  # the worker that drills kill: governance/drills.py
_SYSTEM = "system"  # the name of the daemon's own session: governance/rotation.py


def check_values(config: Config, path: Path, environment: Mapping[str, str]) -> None:
    """Check every value against the others and against the world.

    Raises:
        ConfigError: with the key's path, its value, and the cure.
    """
    check = _Checker(path)
    check.timezone("supervisor.timezone", config.supervisor.timezone)
    check.database(config.supervisor.database)
    check.state_dir(config.supervisor.state_dir)
    check.window("session.window", config.session.window)
    check.ping(config.supervisor.heartbeat_ping_url)
    check.blocks(config.supervisor)
    check.listen(config, environment)
    check_budgets(config, check.fail)
    check_token_budgets(config, check.fail)
    check_routing(config, check.fail)
    if config.models is not None:
        check_governed_models(config.models, config, check.fail)
    check.drills(config)
    check_policy(config.policy, config.worker, check.fail)
    check.report(config.report.at)
    check_alerts(config.alerts, environment, check.fail, check.url)
    for name, provider in config.providers.items():
        check.provider(f"providers.{name}", name, provider)
    for name, worker in config.worker.items():
        check.worker(f"worker.{name}", name, worker, config)
        check.key(f"worker.{name}.model", worker, config, environment)
        check_secrets(f"worker.{name}.secrets", worker.secrets, environment, check.fail)


class _Checker:
    """Holds the file's path, so that each rule below is one question."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def fail(self, key: str, value: object, what: str, fix: str) -> ConfigError:
        """Return the error of a key, its value, what is wrong, and the cure."""
        return self._fail(key, value, what, fix)

    def _fail(self, key: str, value: object, what: str, fix: str) -> ConfigError:
        return ConfigError(subject=f"{self._path}: {key} = {value!r}", what=what, fix=fix)

    def timezone(self, key: str, name: str) -> None:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            fix = 'use a name such as "UTC" or "Europe/Berlin"'
            raise self._fail(key, name, "is not a timezone", fix) from error

    def state_dir(self, folder: str) -> None:
        if Path(folder) == Path():
            fix = 'name a folder of its own, such as "var": its mode becomes 0700'
            raise self._fail("supervisor.state_dir", folder, "is the config's own folder", fix)

    def database(self, url: str) -> None:
        if url == "sqlite" or (url.startswith("sqlite:///") and url != "sqlite:///"):
            return
        what = "is no store that this version has"
        fix = 'write "sqlite", "sqlite:///path/to/file.db" or "postgresql://user@host/database"'
        if _POSTGRES.match(url):
            problem = _postgres_problem(url)
            if problem is None:
                return
            what, fix = problem, 'write "postgresql://user@host:port/database"'
        raise self._fail("supervisor.database", without_password(url), what, fix)

    def window(self, key: str, text: str) -> None:
        self._try(key, text, parse_window, 'write "hourly", "daily" or a span such as "4h"')

    def _try(self, key: str, value: str, rule: Callable[[str], object], fix: str) -> None:
        try:
            rule(value)
        except ValueError as error:
            raise self._fail(key, value, str(error), fix) from error

    def report(self, at: str) -> None:
        if at:
            self._try("report.at", at, _cron, "see crontab(5) for its five fields")

    def ping(self, url: str) -> None:
        if url:
            self.url("supervisor.heartbeat_ping_url", url)

    def blocks(self, section: SupervisorSection) -> None:
        warn_s, abort_s = section.loop_block_warn_s, section.loop_block_abort_s
        if abort_s <= warn_s:
            fix = f"raise it above loop_block_warn_s = {warn_s:g}"
            raise self._fail(
                "supervisor.loop_block_abort_s", abort_s, "comes before the warning", fix
            )

    def url(self, key: str, url: str) -> None:
        fix = "write http:// or https://, a host, and a port if need be, such as http://host:8080/"
        self._try(key, url, _http_url, fix)

    def listen(self, config: Config, environment: Mapping[str, str]) -> None:
        listen = config.http.listen
        address, _, port = listen.rpartition(":")
        if not address or not port.isdecimal() or int(port) > _PORT_MAX:
            fix = 'write ADDRESS:PORT, such as "127.0.0.1:9464"'
            raise self._fail("http.listen", listen, "is not an address and a port", fix)
        if not is_loopback(address) and not environment.get(config.http.token_env):
            fix = f"set ${config.http.token_env} to a long random text, or listen on 127.0.0.1"
            what = "answers beyond this machine, which needs a token"
            raise self._fail("http.listen", listen, what, fix)

    def drills(self, config: Config) -> None:
        drills = config.drills
        fix = 'write a span such as "7d", or a cron expression such as "0 9 * * 1"'
        schedules = {
            "drills.kill": drills.kill,
            "drills.approvals": drills.approvals,
            "drills.restore": drills.restore,
        }
        for key, schedule in schedules.items():
            if schedule and span_of(schedule) is None:
                self._try(key, schedule, _cron, fix)
        if drills.restore and config.supervisor.database.startswith("postgres"):
            fix = "leave it out and rehearse with pg_dump and pg_restore: see the RUNBOOK"
            raise self._fail("drills.restore", drills.restore, "copies a SQLite file", fix)
        if not _RUN.fullmatch(drills.canary):
            fix = 'write "module:function", such as "my_agent:run"'
            raise self._fail("drills.canary", drills.canary, "names no function", fix)

    def provider(self, key: str, name: str, provider: ProviderSection) -> None:
        self._named(key, name)
        if provider.kind == "openai" and not provider.base_url:
            fix = 'add base_url, such as "http://127.0.0.1:11434/v1"'
            raise self._fail(f"{key}.base_url", "", "is missing", fix)
        if provider.kind == "anthropic" and not provider.base_url and not provider.api_key_env:
            fix = 'add api_key_env = "ANTHROPIC_API_KEY"'
            raise self._fail(f"{key}.api_key_env", "", "is missing", fix)
        if provider.base_url:
            self.url(f"{key}.base_url", provider.base_url)
        if provider.script and provider.kind != "scripted":
            fix = 'a script belongs to kind = "scripted"'
            raise self._fail(f"{key}.script", "...", f"is not for kind {provider.kind!r}", fix)

    def worker(self, key: str, name: str, worker: WorkerSection, config: Config) -> None:
        self._named(key, name)
        if not _RUN.fullmatch(worker.run):
            fix = 'write "module:function", such as "my_agent:run"'
            raise self._fail(f"{key}.run", worker.run, "names no function", fix)
        schedules = {"every_s": worker.every_s, "cron": worker.cron, "queue": worker.queue}
        found = {name: value for name, value in schedules.items() if value is not None}
        if len(found) != 1:
            ways = 'every_s = 900.0 or cron = "0 6 * * *" or queue = "name"'
            fix = f"write either {ways}, or a [session] horizon"
            raise self._fail(key, found, "has no single schedule", fix)
        if worker.queue is not None and not _NAME.fullmatch(worker.queue):
            fix = "use letters, digits and . _ -, at most 64"
            raise self._fail(f"{key}.queue", worker.queue, "is not a usable name", fix)
        if worker.cron is not None:
            self._try(f"{key}.cron", worker.cron, _cron, "see crontab(5) for its five fields")
        if worker.has_work is not None and not _RUN.fullmatch(worker.has_work):
            fix = 'write "module:function", such as "my_agent:has_work"'
            raise self._fail(f"{key}.has_work", worker.has_work, "names no function", fix)
        if worker.cron is None:
            self._only_of_cron(key, worker)
        if worker.timezone is not None:
            self.timezone(f"{key}.timezone", worker.timezone)
        if worker.window is not None:
            self.window(f"{key}.window", worker.window)
        if worker.model is not None:
            check_asked(f"{key}.model", worker.model, config, self.fail)
        check_fallback(f"{key}.fallback", worker, config, self.fail)
        check_identity(f"{key}.identity", worker.identity, self.fail)
        check_http(f"{key}.http", worker.http, self.fail)
        check_output(f"{key}.output", worker.output, self.fail)

    def _only_of_cron(self, key: str, worker: WorkerSection) -> None:
        plain = WorkerSection(run=worker.run)
        for name in ("missed", "lateness_max_s", "overlap", "jitter_s"):
            value = getattr(worker, name)
            if value != getattr(plain, name):
                fix = "it belongs to cron: every_s counts from the end of a tick and misses none"
                raise self._fail(f"{key}.{name}", value, "has no occurrences to be about", fix)

    def _named(self, key: str, name: str) -> None:
        if name == _CANARY and key.startswith("worker."):
            fix = "give it another name; [drills] canary says what the kill drill runs"
            raise self._fail(key, name, "is the name of the worker that drills kill", fix)
        if not _NAME.fullmatch(name) or name == _SYSTEM:
            fix = f"use letters, digits and . _ -, at most 64, and not {_SYSTEM!r}"
            raise self._fail(key, name, "is not a usable name", fix)

    def key(
        self, key: str, worker: WorkerSection, config: Config, environment: Mapping[str, str]
    ) -> None:
        for model in (*models_of(worker.model or "", config), *worker.fallback):
            name = model.partition("/")[0]
            variable = config.providers[name].api_key_env
            if variable and not environment.get(variable):
                what = f"needs the API key of provider {name}, and ${variable} is not set"
                raise self._fail(key, model, what, f"set ${variable} in the environment")


def without_password(url: str) -> str:
    """Return a database's URL as it may be shown."""
    return _PASSWORD.sub("...", url)


def _postgres_problem(url: str) -> str | None:
    # Only what would be misread; libpq reads the rest, and the server has the last word.
    if "#" in url:
        return "has a #, which ends a URL: in a password it is %23"
    if not url.isprintable() or " " in url:
        return "has a character that no URL has: write it as %XX"
    try:
        parts = urlsplit(url)
        if "," not in parts.netloc and parts.port == 0:
            return "names port 0"
    except ValueError:
        return "has no usable host or port"
    return None if parts.path.strip("/") else "names no database"


def is_loopback(address: str) -> bool:
    """Return whether only this machine can reach `address`."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False


def _http_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        has_port = parts.port != 0
    except ValueError as error:
        raise ValueError("has no usable host or port") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or not has_port:
        raise ValueError("is not a URL to reach")
    if not url.isprintable() or " " in url:
        raise ValueError("has a character that no URL has")


def _cron(expression: str) -> None:
    from cronsim import CronSim, CronSimError

    try:
        CronSim(expression, _ANY_MOMENT)
    except CronSimError as error:
        raise ValueError(f"is not a cron expression: {error}") from error
