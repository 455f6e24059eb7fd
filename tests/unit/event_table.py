"""What docs/events.md has to say of each kind of event, as the code has it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import msgspec

from supervisor.events.event import Event
from supervisor.events.kinds import KINDS

ROOT = Path(__file__).parents[2]

#: Requirement S7's list; `goal` and `step` are those of plans, `guardrail_*` the three phases.
REQUIRED = frozenset(
    re.findall(
        r"\w+",
        """
cycle_started cycle_skipped cycle_completed cycle_recovered
session_opened session_closed session_paused session_resumed session_aborted session_rotated
proposal_made risk_assessed
approval_requested approval_granted approval_denied approval_timed_out
execution_started execution_completed execution_failed
kill_switch_engaged kill_switch_released
budget_exhausted token_budget_exhausted token_usage_recorded model_access_denied
hold_placed hold_settled hold_released hold_forfeited
checkpoint_created rollback_requested rollback_completed rollback_failed
goal_created goal_started goal_completed goal_failed
step_created step_started step_completed step_failed
evaluation_passed evaluation_blocked
guardrail_input guardrail_tool guardrail_output
handoff_requested handoff_accepted handoff_rejected
lease_expired session_risk_escalated
breaker_opened breaker_half_opened breaker_closed
job_enqueued job_claimed job_retried job_dead_lettered job_requeued
drill_passed drill_failed configuration_changed
""",
    )
)

COLUMNS = ("meaning", "payload", "state-bearing", "emitter")

_NAMED_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


def documented(document: str) -> dict[str, list[str]]:
    """Return the cells behind each kind of the document's tables."""
    present = document.partition("## Later\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", present, re.MULTILINE)
    return {kind: [cell.strip() for cell in cells.split(" | ")] for kind, cells in rows}


def due_cells(kind: type[Event]) -> list[str]:
    """Return a kind's cells as the code has them: meaning, payload, state-bearing, emitter."""
    fields = msgspec.structs.fields(kind)
    payload = ", ".join(f"`{field.name}`{'' if field.required else '?'}" for field in fields)
    meaning = (kind.__doc__ or "").splitlines()[0]
    emitter = ", ".join(f"`{module}`" for module in _emitters().get(kind.__name__, []))
    return [meaning, payload, "yes" if kind.state_bearing else "no", emitter]


@cache
def _emitters() -> dict[str, list[str]]:
    names = {kind.__name__ for kind in KINDS.values()}
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "supervisor").rglob("*.py")):
        module = str(path.relative_to(ROOT / "supervisor"))
        for name in names & _made_in(ast.parse(path.read_text(encoding="utf-8"))):
            found.setdefault(name, []).append(module)
    return found


def _made_in(tree: ast.Module) -> set[str]:
    """Return the names that are called in a module, or chosen: `kinds.A if x else kinds.B`.

    A pattern such as `case kinds.HoldPlaced():` is no call.
    """
    made: list[ast.expr] = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=func):
                made.append(func)
            case ast.IfExp(body=body, orelse=orelse):
                made += [body, orelse]
    return {
        one.attr if isinstance(one, ast.Attribute) else one.id
        for one in made
        if isinstance(one, ast.Attribute | ast.Name)
    }


def mistake(kind: type[Event], cells: list[str] | None) -> str:
    """Return what is wrong with a kind's cells in the document; nothing where they are true."""
    if cells is None:
        return "it has no row"
    *told, shown_by = cells
    for name, says, due in zip(COLUMNS, told, due_cells(kind), strict=False):
        if says != due:
            return f"its {name} is `{says}`, the code has `{due}`"
    if not told[-1]:
        return "nothing in supervisor/ makes it"
    return unshown(kind, shown_by) if len(told) == len(COLUMNS) else "its row lacks a cell"


def unshown(kind: type[Event], cell: str) -> str:
    """Return what is wrong with a "shown by" cell; nothing where its test names the kind."""
    named = _NAMED_TEST.fullmatch(cell)
    if named is None:
        return "it names no test, as `tests/.../test_x.py::test_y`"
    path, test = named.groups()
    if not (ROOT / path).is_file():
        return f"there is no {path}"
    source = (ROOT / path).read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == test:
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            body = "\n".join(source.splitlines()[first - 1 : node.end_lineno])
            is_named = f'"{kind.kind}"' in body or re.search(rf"\b{kind.__name__}\b", body)
            return "" if is_named else f'{test} does not name "{kind.kind}": let it assert it'
    return f"{path} has no {test}"


def missing_row(kind: type[Event], why: str) -> str:
    """Return what to write into docs/events.md for a kind, and why."""
    cells = " | ".join(due_cells(kind))
    return (
        f"docs/events.md, kind `{kind.kind}`: {why}.\nIts row in one of the tables is to be:\n"
        f"| `{kind.kind}` | {cells} | `tests/.../test_x.py::test_y` |\n"
        "where test_y is a test in which the event is produced and named; and the kind is to be"
        ' in no row of "Later". `python -m tests.unit.event_table` renews the cells of known rows.'
    )


def renewed(document: str) -> str:
    """Return the document with each row's cells as the code has them; shown-by cells stay."""

    def renew(row: re.Match[str]) -> str:
        kind, cells = KINDS.get(row[1]), row[2].split(" | ")
        if kind is None or len(cells) != len(COLUMNS) + 1:
            return row[0]
        return f"| `{row[1]}` | {' | '.join(due_cells(kind))} | {cells[-1].strip()} |"

    present, later, rest = document.partition("## Later\n")
    return re.sub(r"^\| `(\w+)` \| (.*) \|$", renew, present, flags=re.MULTILINE) + later + rest


if __name__ == "__main__":
    path = ROOT / "docs" / "events.md"
    path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")
