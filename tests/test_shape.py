"""The code's own shape: sizes, nesting, names, and who reads what (architecture.md, style.md)."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "supervisor").rglob("*.py"))
EVERY_FILE = sorted(
    path for folder in ("supervisor", "tests", "bench") for path in (ROOT / folder).rglob("*.py")
)

MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
NESTING_MAX = 3
PARAMETERS_MAX = 6

_BLOCKS = (ast.For, ast.AsyncFor, ast.While, ast.If, ast.With, ast.AsyncWith, ast.Try, ast.Match)
_BANNED = {"manager", "helper", "helpers", "util", "utils", "common", "base", "types"}
#: systemd calls itself a service manager; it is its word, not ours.
_GRANTED = {"service_manager"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def depth(node: ast.AST) -> int:
    """Return how deep blocks nest in `node`; an elif is no deeper than its if."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and child in node.orelse
        is_block = isinstance(child, _BLOCKS) and not is_elif
        deepest = max(deepest, depth(child) + is_block)
    return deepest


def without_docstring_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    lines = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        lines -= (first.end_lineno or 0) - first.lineno + 1
    return lines


@pytest.mark.parametrize("path", EVERY_FILE, ids=name_of)
def test_a_module_is_short_enough_to_read(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MODULE_LINES_MAX


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_functions_are_short_flat_and_take_few_parameters(path: Path) -> None:
    for function in functions(ast.parse(path.read_text(encoding="utf-8"))):
        assert without_docstring_lines(function) <= FUNCTION_LINES_MAX, function.name
        assert depth(function) <= NESTING_MAX, f"{function.name} nests {depth(function)} deep"
        named = [*function.args.args, *function.args.kwonlyargs]
        taken = [argument for argument in named if argument.arg not in ("self", "cls")]
        # A dataclass takes any number of named fields; a constructor written out does not.
        assert len(taken) <= PARAMETERS_MAX, f"{function.name} takes {len(taken)}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_class_or_function_has_a_name_that_says_nothing(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    names = [path.stem, *classes, *(function.name for function in functions(tree))]
    words = [re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() for name in names]
    empty = [word for word in words if word not in _GRANTED and _BANNED & set(word.split("_"))]
    assert empty == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_its_job_in_one_line(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring, "a module's docstring is its job in one line"
    assert len(docstring.splitlines()[0]) <= 100


def test_only_the_config_reads_the_environment() -> None:
    readers = [
        name_of(path)
        for path in MODULES
        if re.search(r"os\.(environ|getenv)", path.read_text(encoding="utf-8"))
    ]
    assert all(reader.startswith("supervisor/config/") for reader in readers), readers


def test_sql_never_asks_for_the_time() -> None:
    asking = re.compile(r"current_timestamp|datetime\(|strftime|now\(\)|julianday", re.IGNORECASE)
    sql = ROOT / "supervisor" / "storage"
    assert [p.name for p in sql.rglob("*.sql") if asking.search(p.read_text("utf-8"))] == []


@pytest.mark.parametrize("path", EVERY_FILE, ids=name_of)
def test_no_suppression_stands_without_its_rule_and_its_reason(path: Path) -> None:
    with path.open("rb") as file:
        comments = [t for t in tokenize.tokenize(file.readline) if t.type == tokenize.COMMENT]
    marked = re.compile(r"#\s*(noqa|type:\s*ignore)")
    reasoned = re.compile(r"(# noqa: [A-Z0-9, ]+ - \S|# type: ignore\[[\w, -]+\] # \S)")
    bare = [t.start[0] for t in comments if marked.match(t.string) and not reasoned.match(t.string)]
    assert bare == []
