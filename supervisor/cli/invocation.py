"""One call of the command line, parsed."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from supervisor.cli.output import print_warning
from supervisor.cli.parser import Parser
from supervisor.config import Config, Loaded, NothingMissing, config_path, load
from supervisor.config.sections import SpendSection, SupervisorSection
from supervisor.errors import ConfigError

S = TypeVar("S", bound=msgspec.Struct)


class Invocation(msgspec.Struct, frozen=True, kw_only=True):
    """A command with its options as argparse gave them; `config` is the option `--config`."""

    command: str
    config: str | None
    is_json: bool
    words: Mapping[str, object]

    @property
    def path(self) -> Path:
        """The config file that the call names."""
        return config_path(self.config)

    def options(self, into: type[S]) -> S:
        """Return the command's options, typed."""
        return msgspec.convert(dict(self.words), into)

    def load(self) -> Loaded:
        """Read the config for a command that calls no model.

        It asks for no secret: an operator's shell has not the environment of the service.

        Raises:
            ConfigError: the config can't be used.
        """
        return load(self.path, NothingMissing())

    def load_at_least_the_store(self) -> Loaded:
        """Read the config for a command that must work at 3 a.m.: to stop, to kill, to release.

        Where the config can't be used, what [supervisor] says of the store and of the state
        directory is enough, and a warning says what is wrong.

        Raises:
            ConfigError: not even that can be read.
        """
        try:
            return self.load()
        except ConfigError as error:
            loaded = _read_supervisor_section(self.path)
            if loaded is None:
                raise
            print_warning(f"{error.subject}: {error.what}; only [supervisor] was read")
            return loaded

    def load_with_secrets(self) -> Loaded:
        """Read the config for a command that calls models.

        Raises:
            ConfigError: the config can't be used, or a secret that it names is not set.
        """
        return load(self.path)


class Command(Protocol):
    """What a module of a command has."""

    def add_options(self, parser: Parser) -> None:
        """Tell the parser the command's options."""
        ...

    def run(self, invocation: Invocation) -> int:
        """Carry the command out and return the exit code."""
        ...


def _read_supervisor_section(path: Path) -> Loaded | None:
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        section = msgspec.convert(raw.get("supervisor", {}), SupervisorSection)
        ZoneInfo(section.timezone)
    except (OSError, ValueError, KeyError):
        # ValueError: not UTF-8, not TOML, of a wrong kind. KeyError: no such timezone.
        return None
    config = Config(spend=SpendSection(daily_cap_usd=0), supervisor=section)
    return Loaded(config=config, path=path)
