"""The options of the repository digest, from its `[worker.NAME.options]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from supervisor.agents.options import convert_options
from supervisor.errors import ConfigError

_Path = Annotated[str, Meta(min_length=1, max_length=4_096)]
_Commits = Annotated[int, Meta(ge=1, le=10_000)]


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the worker may be told, with its defaults.

    `repositories` are absolute paths or relative to the config file. A first digest covers the
    newest `first_commits_max` commits, a later one details the newest `commits_max`. Each
    repository gets `git_timeout_s` seconds of git a tick (finding it has as much again), and each
    reading of its history ends after `git_output_bytes_max` bytes.
    """

    repositories: Annotated[tuple[_Path, ...], Meta(min_length=1, max_length=100)] = (".",)
    first_commits_max: _Commits = 50
    commits_max: _Commits = 500
    git_timeout_s: Annotated[float, Meta(gt=0, le=3_600)] = 60.0
    git_output_bytes_max: Annotated[int, Meta(ge=65_536, le=1_073_741_824)] = 16_777_216
    summary_tokens_max: Annotated[int, Meta(ge=1, le=100_000)] = 300


def parse_options(worker: str, options: Mapping[str, object]) -> Options:
    """Return the options of the worker named `worker`.

    Raises:
        ConfigError: an option is unknown, or its value can't be used.
    """
    parsed = convert_options(worker, options, Options)
    for path in parsed.repositories:
        if path.startswith("-"):
            raise ConfigError(
                subject=f"[worker.{worker}.options] repositories",
                what=f"{path!r} starts with a dash",
                fix=f"write ./{path} if there is such a directory",
            )
    return parsed
