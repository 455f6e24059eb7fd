"""The project's words are true: what the documents name is there, and what is there is named."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast, get_args

import msgspec
import pytest

from supervisor.agents import git
from supervisor.cli import main, stop
from supervisor.cli.commands import COMMANDS
from supervisor.cli.parser import Parser
from supervisor.config import sections
from supervisor.errors import SupervisorError
from supervisor.events.kinds import KINDS
from supervisor.governance.health import Health
from supervisor.http.access import Access
from supervisor.http.answers import Answers
from supervisor.http.app import build_app
from supervisor.metrics import Metrics
from tests.unit import event_table
from tests.unit.config_tables import SECTIONS

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
EXAMPLES = ROOT / "examples"
#: What the README leads to.
PAGES = ("docs/models.md", "docs/workers.md", "docs/operating.md", "docs/configuration.md")
WORKER_LINES_MAX = 15
README_LINES_MAX = 500

UNITS = {"_s": "s", "_mb": "MB", "_usd": "USD", "_bytes": "bytes", "_tokens": "tokens"}

#: Every row of the project's requirements.
REQUIREMENTS = [
    *(f"D{n}" for n in range(1, 14)),
    *(f"S{n}" for n in range(1, 12)),
    *("L1", "L1a", "L1b", "L1c", "L2", "L3", "L4", "L4a"),
    *(f"L{n}" for n in range(5, 14)),
    *(f"K{n}" for n in range(1, 7)),
    *(
        f"{part[0]}{n}"
        for part in ["A8", "J6", "R5", "O10", "P5", "U6", "X3", "Q3"]
        for n in range(1, int(part[1:]) + 1)
    ),
]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def manual() -> str:
    """Return what a user reads, from the first steps to every key of the config."""
    return "\n".join(text(name) for name in ("README.md", *PAGES))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def rows_after(document: str, start: str) -> list[list[str]]:
    """Return the cells of the first table that follows a line beginning with `start`."""
    lines = iter(document.splitlines())
    assert any(line.startswith(start) for line in lines), f"no line begins with {start}"
    table: list[str] = []
    for line in lines:
        if line.startswith("|"):
            table.append(line)
        elif table:
            break
    assert len(table) > 2, f"no table follows {start}"
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in table[2:]]


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document, re.MULTILINE | re.DOTALL)


def run_supervisor(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    keys = dict.fromkeys(("ANTHROPIC_API_KEY", "OTHER_API_KEY", "GITHUB_TOKEN"), "not-a-key")
    return subprocess.run(
        [sys.executable, "-m", "supervisor", *words],
        cwd=folder,
        env={**os.environ, **keys, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# --- examples and snippets


def test_the_readme_stays_short_and_leads_to_the_rest() -> None:
    readme = text("README.md")
    assert len(readme.splitlines()) <= README_LINES_MAX
    for page in PAGES:
        assert f"]({page})" in readme


def test_the_worker_in_the_readme_is_the_example_and_has_15_lines() -> None:
    example = (EXAMPLES / "plan.py").read_text(encoding="utf-8")
    assert blocks(text("README.md"), "python") == [example]
    assert len(example.splitlines()) <= WORKER_LINES_MAX


def test_the_example_worker_reports_once_and_then_has_nothing_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "examples"
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("var", "__pycache__"))
    first = run_supervisor("--config", "plan.toml", "once", "plan", folder=folder)
    assert (first.returncode, first.stderr.splitlines()[-1]) == (0, "plan: ok")
    (report,) = (folder / "var" / "reports").glob("plan-*.md")
    assert "Send the invoice" in report.read_text(encoding="utf-8")
    again = run_supervisor("--config", "plan.toml", "once", "plan", folder=folder)
    assert (again.returncode, again.stderr.splitlines()[-1]) == (0, "plan: noop")


@pytest.mark.parametrize("number", range(len(blocks(manual(), "toml"))))
def test_every_config_in_the_manual_is_accepted(number: int, tmp_path: Path) -> None:
    config = blocks(manual(), "toml")[number]
    if "[spend]" not in config:
        config += "\n[spend]\ndaily_cap_usd = 1.00\n"
    if "builtin/" in config and "[providers.builtin]" not in config:
        config += '\n[providers.builtin]\nkind = "builtin"\n'
    (tmp_path / "config.toml").write_text(config, encoding="utf-8")
    shutil.copy(EXAMPLES / "plan.py", tmp_path)
    checked = run_supervisor("check", folder=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_shipped_config_is_accepted(tmp_path: Path) -> None:
    shutil.copy(ROOT / "config.toml", tmp_path)
    checked = run_supervisor("check", folder=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


# --- the command line


def calls_in(document: str) -> Iterator[str]:
    """Yield each call of the command, as written in code."""
    fenced = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
    for block in fenced.findall(document):
        yield from re.findall(r"^(?:\$ \S*)?supervisor ([a-z][^;\n]*)", block, re.MULTILINE)
    for span in re.findall(r"`supervisor\s([^`]*)`", fenced.sub("", document)):
        yield " ".join(span.split())


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_command_in_the_documents_can_be_called(path: Path) -> None:
    values = {"USD": "0.5", "N": "1", "TEXT": "a reason"}
    for call in calls_in(path.read_text(encoding="utf-8")):
        words = [values.get(word, word) for word in shlex.split(call)]
        if words[:1] in (["[--config"], ["--config"]):
            continue
        assert words[0] in COMMANDS, f"supervisor {call}"
        if len(words) == 1:
            continue
        parser = Parser(prog=f"supervisor {call}", about="")
        COMMANDS[words[0]].load().add_options(parser)
        parser.parse([word for word in words[1:] if word != "--json"])


def test_every_command_is_in_the_readme() -> None:
    rows = rows_after(text("README.md"), "## Commands")
    named = [row[0].split()[1].strip("`") for row in rows]
    assert named == list(COMMANDS)


def test_exit_codes_are_those_of_the_readme() -> None:
    rows = rows_after(text("README.md"), "## Exit codes")
    told = {int(code) for row in rows for code in row[0].split(",")}
    real = {value for name, value in vars(main).items() if re.match(r"_?EXIT_", name)}
    assert told == real | set(Health)


# --- the config


def default_text(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "**required**"
    default = field.default
    if default is msgspec.NODEFAULT:
        default = cast("type[object]", field.default_factory)()
    match default:
        case None:
            return "none"
        case str():
            return f'`"{default}"`'
        case bool() | (str(), *_):
            return f"`{msgspec.json.encode(default).decode()}`"
        case int() | float():
            return f"`{default}`"
        case _:
            return "empty"


def choices(kind: object) -> Iterator[str]:
    """Yield the texts that a literal type allows, wherever it stands in `kind`."""
    for part in get_args(kind):
        if isinstance(part, str):
            yield part
        else:
            yield from choices(part)


@pytest.mark.parametrize("name", SECTIONS)
def test_the_config_table_has_every_key_with_its_default_and_unit(name: str) -> None:
    rows = rows_after(manual(), f"**{name}**")
    fields = {field.encode_name: field for field in msgspec.structs.fields(SECTIONS[name])}
    assert [row[0].strip("`") for row in rows] == list(fields)
    for key, default, unit, what in rows:
        field = fields[key.strip("`")]
        assert default == default_text(field), key
        assert what, key
        for suffix, needed in UNITS.items():
            assert not field.name.endswith(suffix) or needed in unit, key
        for choice in choices(field.type):
            assert f'`"{choice}"`' in unit, key


def test_every_section_of_the_config_is_in_the_manual() -> None:
    tables = {re.sub(r"[`\[\]]|\.NAME", "", name) for name in SECTIONS}
    told = {name.partition(".")[0] for name in tables} - {"price", "condition"}
    assert told == {field.encode_name for field in msgspec.structs.fields(sections.Config)}


# --- what the daemon shows


def test_routes_are_those_of_the_manual() -> None:
    access = Access(token=None, token_env="", address="127.0.0.1")
    routes = build_app(cast("Answers", None), access).routes
    real = {
        f"{method} {getattr(route, 'path')}"  # noqa: B009 - only some kinds of routes have it
        for route in routes
        for method in getattr(route, "methods", ())
        if method != "HEAD"
    }
    assert {row[0].strip("`") for row in rows_after(manual(), "## HTTP")} == real


def test_metrics_are_those_of_the_manual() -> None:
    rows = rows_after(manual(), "## Metrics")
    told = {row[0].strip("`"): row[1].replace("`", "") for row in rows}
    exposed = Metrics(version="0").render().decode()
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", exposed, re.MULTILINE))
    own = {name for name in kinds if name.startswith(("supervisor_", "gen_ai_"))}
    assert set(told) == {name for name in own if not name.endswith("_created")}
    assert told["supervisor_ticks_total"] == "worker, outcome"


def error_codes(parent: type[SupervisorError]) -> set[str]:
    below = [code for child in parent.__subclasses__() for code in error_codes(child)]
    return {parent.code, *below}


def test_the_runbook_has_every_error_code() -> None:
    assert issubclass(git.RepositoryNotDigested, SupervisorError)
    assert issubclass(stop.StillRunning, SupervisorError)
    told = set(re.findall(r"^\| `([a-z_]+)` \|", text("RUNBOOK.md"), re.MULTILINE))
    ours = {code for code in error_codes(SupervisorError) if code != "test"}
    assert ours <= told


def test_the_runbook_has_every_kind_of_event() -> None:
    part = text("RUNBOOK.md").partition("## Events, by kind")[2].partition("\n## ")[0]
    cells = [line.split(" | ")[0] for line in part.splitlines() if line.startswith("| `")]
    assert sorted(name for cell in cells for name in re.findall(r"`(\w+)`", cell)) == sorted(KINDS)


def test_the_table_of_events_has_every_kind_as_it_is_and_a_test_that_produces_it() -> None:
    document = text("docs/events.md")
    told = event_table.documented(document)
    wrong = [
        event_table.missing_row(kind, why)
        for name, kind in KINDS.items()
        if (why := event_table.mistake(kind, told.get(name)))
    ]
    assert not wrong, "\n\n".join(wrong)
    assert told.keys() <= KINDS.keys(), "docs/events.md has kinds that are gone"
    later = set(re.findall(r"`(\w+)`", document.partition("## Later\n")[2]))
    assert later == event_table.REQUIRED - KINDS.keys(), (
        'docs/events.md, "Later", is to have the kinds of requirement S7 that are not there yet'
    )


def log_lines() -> Iterator[str]:
    """Yield what the daemon itself logs as a warning or an error."""
    for path in (ROOT / "supervisor").rglob("*.py"):
        if "agents" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            is_line = node.func.attr in ("warning", "error") and node.args
            if is_line and isinstance(node.args[0], ast.Constant):
                yield str(node.args[0].value)


def test_the_runbook_has_every_warning_and_error_of_the_log() -> None:
    runbook = text("RUNBOOK.md")
    assert [line for line in log_lines() if f"`{line}`" not in runbook] == []


# --- documents


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_link_leads_somewhere(path: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, link


def test_decisions_are_numbered_and_have_their_parts() -> None:
    numbers = [path.name[:4] for path in DECISIONS]
    assert len(set(numbers)) == len(numbers)
    for number, path in zip(numbers, DECISIONS, strict=True):
        decision = path.read_text(encoding="utf-8")
        assert decision.startswith(f"# {int(number):04d} ")
        for part in ("**Context.**", "**Decision.**", "**Consequence.**"):
            assert part in decision, path.name


def test_the_architecture_has_every_part_of_the_package() -> None:
    house = text("ARCHITECTURE.md")
    parts = [path for path in (ROOT / "supervisor").iterdir() if not path.name.startswith("__")]
    names = [f"{path.name}/" if path.is_dir() else path.name for path in parts]
    assert [name for name in names if name not in house] == []


# --- requirements


def requirement_rows() -> list[list[str]]:
    pattern = r"^\| ([A-Z]\d+[a-z]?) \| (.*) \| (.*) \|$"
    return [list(row) for row in re.findall(pattern, text("docs/requirements.md"), re.MULTILINE)]


def test_every_requirement_has_its_row() -> None:
    assert [row[0] for row in requirement_rows()] == REQUIREMENTS


def test_every_requirement_is_done_or_says_what_is_missing() -> None:
    for name, status, tests in requirement_rows():
        assert re.match(r"done$|partly: .|later: (issue \d+|a further issue)$", status), name
        assert bool(tests) == (not status.startswith("later")), name


def test_every_test_that_a_requirement_names_is_there() -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", text("docs/requirements.md"))
    assert named
    for path, test in named:
        there = re.search(rf"^((async )?def {test}\(|{test} = )", text(path), re.MULTILINE)
        assert there, f"{path}::{test}"
