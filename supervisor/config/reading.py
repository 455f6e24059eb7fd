"""Reading the file and the environment that it names."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import TypeAlias, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from supervisor.config.alert_sections import ChannelSection
from supervisor.config.checks import check_values
from supervisor.config.explain import explain
from supervisor.config.horizons import with_horizon
from supervisor.config.policy_sections import ActionSection, EvaluatorSection
from supervisor.config.sections import Config, ProviderSection, WorkerSection
from supervisor.errors import ConfigError
from supervisor.redaction import REDACTION

_PLACEHOLDER = "(not asked for)"
# Of a database's URL, up to its last @; see config/checks.py.
_PASSWORD = re.compile(r"(?:://[^/:@]*:|password=)([^&]*?)(?:@(?!.*@)|&|$)")

Environment: TypeAlias = Mapping[str, str]
S = TypeVar("S", bound=msgspec.Struct)


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A config that was read: its values, its file, and what it names in the environment."""

    config: Config
    path: Path
    secrets: Mapping[str, str] = {}

    @property
    def folder(self) -> Path:
        return self.path.parent

    @property
    def state_dir(self) -> Path:
        return self.folder / self.config.supervisor.state_dir

    @property
    def timezone(self) -> ZoneInfo:
        return ZoneInfo(self.config.supervisor.timezone)

    def secret(self, variable: str) -> str | None:
        """Return the value of an environment variable that the config names, None if unset."""
        return self.secrets.get(variable) or None

    @property
    def known_secrets(self) -> list[str]:
        """The variables whose values were really read, and not just assumed to be there."""
        return [name for name, value in self.secrets.items() if value != _PLACEHOLDER]


def config_path(option: str | None, environment: Environment = os.environ) -> Path:
    """Return the file to read: the option, else $SUPERVISOR_CONFIG, else ./config.toml.

    Raises:
        ConfigError: its path begins in the current folder, which was deleted.
    """
    path = Path(option or environment.get("SUPERVISOR_CONFIG") or "config.toml")
    try:
        return path.absolute()
    except FileNotFoundError as error:
        raise ConfigError(
            subject=f"config {path}",
            what="can't be looked for: the current folder does not exist any more",
            fix="change to one that does, or name the config by its whole path",
        ) from error


def load(path: Path, environment: Environment = os.environ) -> Loaded:
    """Read and check a config file.

    Raises:
        ConfigError: with the path of the bad key, its value, and the cure.
    """
    raw = with_horizon(_read_toml(path))
    # One table at a time first: msgspec does not say which key of a mapping it stands at.
    policy = raw.get("policy")
    mappings: tuple[tuple[str, object, type[msgspec.Struct]], ...] = (
        ("providers", raw.get("providers"), ProviderSection),
        ("worker", raw.get("worker"), WorkerSection),
        ("policy.action", _table(policy, "action"), ActionSection),
        ("policy.evaluator", _table(policy, "evaluator"), EvaluatorSection),
        ("alerts.channel", _table(raw.get("alerts"), "channel"), ChannelSection),
    )
    for section, tables, kind in mappings:
        for name, table in tables.items() if isinstance(tables, dict) else ():
            _convert(table, kind, path, under=f"{section}.{name}")
    config = _convert(raw, Config, path)
    check_values(config, path, environment)
    names = [
        config.http.token_env,
        *(provider.api_key_env for provider in config.providers.values()),
        *(channel.url_env for channel in config.alerts.channel.values()),
        *(name for worker in config.worker.values() for name in worker.secrets),
    ]
    secrets = {name: environment[name] for name in names if name and environment.get(name)}
    # Whoever reads a secret makes it known, so that nothing that this process writes holds it.
    REDACTION.learn(value for value in secrets.values() if value != _PLACEHOLDER)
    REDACTION.learn(_PASSWORD.findall(config.supervisor.database))
    return Loaded(config=config, path=path, secrets=secrets)


def names_key(path: Path, table: str, key: str) -> bool:
    """Return whether the file says something of a key, so that it is not the default by silence.

    Raises:
        ConfigError: the file can't be read.
    """
    found = _read_toml(path).get(table)
    return isinstance(found, dict) and key in found


def take_notify_socket(environment: MutableMapping[str, str] = os.environ) -> str | None:
    """Return systemd's notification socket, and take it away from the children of this process."""
    return environment.pop("NOTIFY_SOCKET", None) or None


def child_environment(
    names: Collection[str], environment: Environment = os.environ
) -> dict[str, str]:
    """Return what a subprocess may inherit: the named variables that are set (requirement Q2)."""
    return {name: environment[name] for name in names if name in environment}


def person(environment: Environment = os.environ) -> str:
    """Return who runs this process, for the record."""
    return environment.get("SUDO_USER") or environment.get("USER") or f"uid-{os.getuid()}"


def _table(raw: object, name: str) -> object:
    return raw.get(name) if isinstance(raw, dict) else None


def _convert(raw: object, into: type[S], path: Path, *, under: str = "") -> S:
    try:
        return msgspec.convert(raw, into)
    except msgspec.ValidationError as error:
        raise explain(error, raw, path, under=under) from error


def _read_toml(path: Path) -> dict[str, object]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(
            subject=f"config {path}",
            what="does not exist",
            fix="name one with --config FILE or $SUPERVISOR_CONFIG, or run in its folder",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise ConfigError(
            subject=f"config {path}",
            what=f"can't be read: {reason}",
            fix="make it a UTF-8 text file that this user may read",
        ) from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            subject=f"config {path}",
            what=f"is not TOML: {error}",
            fix="mend that line; a table such as [worker.NAME] may stand only once",
        ) from error
    except RecursionError as error:
        raise ConfigError(
            subject=f"config {path}",
            what="nests its lists or tables too deeply",
            fix="no key needs more than a few levels",
        ) from error


class NothingMissing(Mapping[str, str]):
    """The environment, with a placeholder for each variable that is not set.

    For commands that call no model: an operator's shell has not the secrets of the service.
    """

    def __getitem__(self, name: str) -> str:
        return os.environ.get(name) or _PLACEHOLDER

    def __iter__(self) -> Iterator[str]:
        return iter(os.environ)

    def __len__(self) -> int:
        return len(os.environ)
