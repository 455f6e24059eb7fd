"""The options of a built-in worker, from its `[worker.NAME.options]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from supervisor.errors import ConfigError

S = TypeVar("S", bound=msgspec.Struct)


def convert_options(worker: str, options: Mapping[str, object], kind: type[S]) -> S:
    """Return the options of the worker named `worker`.

    Raises:
        ConfigError: an option is unknown or missing, or its value can't be used.
    """
    try:
        return msgspec.convert(dict(options), kind)
    except msgspec.ValidationError as error:
        known = ", ".join(kind.__struct_fields__)
        values = {key: value for key, value in options.items() if f"{key}" in str(error)}
        raise ConfigError(
            subject=f"[worker.{worker}.options]",
            what=f"{error} (given: {values or dict(options)!r})",
            fix=f"correct it; the options are {known}",
        ) from error
