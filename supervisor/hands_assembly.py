"""From the config's sections to the tools and the checks of a worker."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import msgspec

from supervisor import __version__
from supervisor.config import Loaded
from supervisor.config.sections import WorkerHttpSection
from supervisor.errors import ConfigError
from supervisor.governance.validators import Checks, OwnCheck
from supervisor.hands.rules import HttpRules
from supervisor.host_rules import parse_host_rule, parse_network
from supervisor.worker.loading import load_named


def build_http_rules(worker: str, section: WorkerHttpSection) -> HttpRules:
    """Return what the worker's requests may do."""
    bounds = msgspec.structs.asdict(section)
    return HttpRules(
        **bounds
        | {
            "worker": worker,
            "user_agent": section.user_agent or f"acp-supervisor/{__version__}",
            "allow": tuple(parse_host_rule(text) for text in section.allow),
            "private": tuple(parse_network(text) for text in section.private),
        }
    )


def build_checks(loaded: Loaded, worker: str) -> Checks:
    """Return what is asked of each unit of the worker's output.

    Raises:
        ConfigError: a check can't be imported, or the schema can't be used.
    """
    section = loaded.config.worker[worker].output
    key = f"worker.{worker}.output"
    own = {name: _own(f"{key}.checks", name, loaded.folder) for name in section.checks}
    bounds = msgspec.structs.asdict(section)
    del bounds["checks"]
    return Checks(
        **bounds
        | {
            "names": section.checks,
            "schema": _schema(f"{key}.schema", section.schema, loaded.folder),
            "own": {name: check for name, check in own.items() if check is not None},
        }
    )


def _own(key: str, name: str, folder: Path) -> OwnCheck | None:
    if ":" not in name:
        return None
    subject = f"{key} = {name!r}"
    check = load_named(subject, name, folder=folder)
    if not callable(check):
        fix = "write `def check(outputs: Sequence[Output]) -> str | None`"
        raise ConfigError(subject=subject, what="is no function", fix=fix)
    return cast("OwnCheck", check)


def _schema(key: str, name: str, folder: Path) -> dict[str, object] | None:
    if not name:
        return None
    subject = f"{key} = {name!r}"
    try:
        schema = msgspec.json.decode((folder / name).read_bytes(), type=dict[str, object])
    except OSError as error:
        fix = "name a file beside the config"
        what = f"can't be read: {error.strerror}"
        raise ConfigError(subject=subject, what=what, fix=fix) from error
    except msgspec.DecodeError as error:
        what = f"holds no JSON object: {error}"
        raise ConfigError(subject=subject, what=what, fix="write a JSON schema") from error
    # Imported here: most workers have no schema.
    from supervisor.governance.json_schema import compiled

    try:
        compiled(schema)
    except ValueError as error:
        fix = "write a JSON schema of draft 4, 6 or 7"
        raise ConfigError(subject=subject, what=str(error), fix=fix) from error
    return schema
