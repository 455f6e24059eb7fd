"""Finding a worker's function by its name in the config."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.errors import ConfigError
from supervisor.worker.loading import load_function

Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Write]:
    """Write a module beside the config and return its name; it is forgotten at the end."""
    path, modules = list(sys.path), set(sys.modules)

    def write(source: str) -> str:
        name = f"agent_of_{tmp_path.name.replace('-', '_')}"
        (tmp_path / f"{name}.py").write_text(source)
        return name

    yield write
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def refused(run: str, folder: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_function("a", run, folder=folder)
    assert caught.value.subject == f"worker.a.run = {run!r}"
    return caught.value


def test_a_function_of_an_installed_module_is_found(tmp_path: Path) -> None:
    run = "supervisor.agents.repository_digest:run"
    assert load_function("a", run, folder=tmp_path).__name__ == "run"


def test_a_module_beside_the_config_is_found(write: Write, tmp_path: Path) -> None:
    name = write("async def run(ctx):\n    return None\n")
    assert callable(load_function("a", f"{name}:run", folder=tmp_path))


def test_the_folder_of_the_config_comes_last_and_once(write: Write, tmp_path: Path) -> None:
    name = write("async def run(ctx):\n    return None\n")
    for _ in range(3):
        load_function("a", f"{name}:run", folder=tmp_path)
    assert sys.path.count(str(tmp_path)) == 1
    assert sys.path[-1] == str(tmp_path)


def test_a_module_that_is_not_there_is_named_with_where_to_put_it(
    write: Write, tmp_path: Path
) -> None:
    error = refused("no_such_agent:run", tmp_path)
    assert "ModuleNotFoundError" in error.what
    assert "put no_such_agent.py beside the config" in error.fix


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import no_such_thing\n", "No module named 'no_such_thing'"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("def broken(:\n", "SyntaxError"),
        ("raise SystemExit(3)\n", "SystemExit"),
    ],
)
def test_a_module_that_raises_is_refused_with_what_it_raised(
    write: Write, tmp_path: Path, source: str, what: str
) -> None:
    error = refused(f"{write(source)}:run", tmp_path)
    assert what in error.what


def test_a_function_that_is_not_there_is_named_with_its_file(write: Write, tmp_path: Path) -> None:
    name = write("x = 1\n")
    error = refused(f"{name}:run", tmp_path)
    assert error.what == f"module {name} has no 'run'"
    assert str(tmp_path / f"{name}.py") in error.fix


@pytest.mark.parametrize(
    "source",
    [
        "def run(ctx):\n    return None\n",
        "run = 3\n",
        "class run:\n    pass\n",
        "async def run(ctx):\n    yield 1\n",
    ],
    ids=["plain function", "number", "class", "async generator"],
)
def test_what_is_no_coroutine_function_is_refused(
    write: Write, tmp_path: Path, source: str
) -> None:
    error = refused(f"{write(source)}:run", tmp_path)
    assert error.what == "is not a coroutine function"
    assert "async def run(ctx: Context)" in error.fix


def test_a_function_that_takes_no_context_is_refused(write: Write, tmp_path: Path) -> None:
    name = write("async def run():\n    return None\n")
    refused(f"{name}:run", tmp_path)
