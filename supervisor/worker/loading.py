"""Finding a worker's function by its name in the config."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

from supervisor.errors import ConfigError
from supervisor.worker.plan import WorkerFunction

_HOW = "write `async def {function}(ctx: Context) -> Outcome | None`"


def load_named(subject: str, name: str, *, folder: Path) -> object:
    """Import `module:function`, from the Python path or from the config's folder.

    Raises:
        ConfigError: it can't be imported, or is not there.
    """
    module_name, _, function_name = name.partition(":")
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise ConfigError(
            subject=subject,
            what=f"can't be imported: {type(error).__name__}: {error}",
            fix=f"put {module_name}.py beside the config or install it; mend what it raises",
        ) from error
    function: object = getattr(module, function_name, None)
    if function is None:
        raise ConfigError(
            subject=subject,
            what=f"module {module_name} has no {function_name!r}",
            fix=f"name a function of {module.__file__ or module_name}",
        )
    return function


def load_function(worker: str, run: str, *, folder: Path) -> WorkerFunction:
    """Import `module:function`, from the Python path or from the config's folder.

    Raises:
        ConfigError: it can't be imported, is not there, or is no coroutine function of a context.
    """
    subject = f"worker.{worker}.run = {run!r}"
    function = load_named(subject, run, folder=folder)
    how = _HOW.format(function=run.partition(":")[2])
    if not inspect.iscoroutinefunction(function):
        raise ConfigError(
            subject=subject,
            what="is not a coroutine function",
            fix=how,
        )
    if not _takes_one(function):
        raise ConfigError(
            subject=subject,
            what="can't be called with the context alone",
            fix=how,
        )
    return cast("WorkerFunction", function)


def _takes_one(function: Callable[..., object]) -> bool:
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    return True
