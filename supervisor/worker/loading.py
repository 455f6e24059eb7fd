"""Finding a worker's function by its name in the config."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

from supervisor.errors import ConfigError
from supervisor.worker.plan import WakeGate, WorkerFunction


def load_named(subject: str, name: str, *, folder: Path) -> object:
    """Return what `module:name` is, from the Python path or from the config's folder.

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
    found: object = getattr(module, function_name, None)
    if found is None:
        raise ConfigError(
            subject=subject,
            what=f"module {module_name} has no {function_name!r}",
            fix=f"name a function of {module.__file__ or module_name}",
        )
    return found


def load_function(worker: str, run: str, *, folder: Path) -> WorkerFunction:
    """Import a worker's `module:function`, from the Python path or from the config's folder.

    Raises:
        ConfigError: it can't be imported, is not there, or is no coroutine function of a context.
    """
    form = "(ctx: Context) -> Outcome | None"
    return cast("WorkerFunction", _load(f"worker.{worker}.run", run, form, folder))


def load_wake_gate(worker: str, has_work: str, *, folder: Path) -> WakeGate:
    """Import the `module:function` that says whether a worker has anything to do.

    Raises:
        ConfigError: as for `load_function`.
    """
    form = "(glance: Glance) -> bool"
    return cast("WakeGate", _load(f"worker.{worker}.has_work", has_work, form, folder))


def _load(key: str, name: str, form: str, folder: Path) -> Callable[..., object]:
    subject = f"{key} = {name!r}"
    function = load_named(subject, name, folder=folder)
    function_name = name.partition(":")[2]
    if not inspect.iscoroutinefunction(function):
        raise ConfigError(
            subject=subject,
            what="is not a coroutine function",
            fix=f"write `async def {function_name}{form}`",
        )
    if not _takes_one(function):
        raise ConfigError(
            subject=subject,
            what="can't be called with one argument alone",
            fix=f"write `async def {function_name}{form}`",
        )
    return cast("Callable[..., object]", function)


def _takes_one(function: Callable[..., object]) -> bool:
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    return True
