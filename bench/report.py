"""The tables of docs/performance.md, rendered from the results that are kept."""

from __future__ import annotations

from pathlib import Path

from bench.daemons import ROOT
from bench.figures import Figure, Result, describe, name_of, short
from bench.parts import PARTS
from bench.records import RESULTS, Past, before, kept
from bench.stores import KINDS

PAGE = ROOT / "docs" / "performance.md"
BEGIN = "<!-- figures: begin (python -m bench report) -->"
END = "<!-- figures: end -->"

_HEAD = "| | figure | target | aim | reaches | before |\n|---|---|---|---|---|---|"
_SHORT_HEAD = "| | figure | target |\n|---|---|---|"


def write(results: Path) -> Path:
    """Render what is kept in `results`, and return the page.

    For the committed results that is docs/performance.md, between its two markers; for others a
    page beside them.

    Raises:
        ValueError: the page has no markers.
    """
    if results.resolve() != RESULTS:
        results.mkdir(parents=True, exist_ok=True)
        page = results / "performance.md"
        page.write_text(f"{render(results)}\n", encoding="utf-8")
        return page
    text = PAGE.read_text(encoding="utf-8")
    ahead, has_begin, rest = text.partition(BEGIN)
    _, has_end, behind = rest.partition(END)
    if not (has_begin and has_end):
        raise ValueError(f"{PAGE} lacks the lines {BEGIN} and {END}")
    PAGE.write_text(f"{ahead}{BEGIN}\n\n{render(results)}\n\n{END}{behind}", encoding="utf-8")
    return PAGE


def render(results: Path) -> str:
    """Return every kept result as Markdown, and what falls short of its target."""
    names = [name_of(part, kind) for part in PARTS for kind in KINDS]
    found = [result for name in names if (result := kept(name, results)) is not None]
    if not found:
        return "Nothing is measured yet."
    sections = [_section(result, before(result, results)) for result in found]
    return "\n\n".join([*sections, _shortfalls(found)])


def _section(result: Result, past: Past | None) -> str:
    rows = [
        f"| {' | '.join((*figure.cells(), _before(figure, past)))} |" for figure in result.figures
    ]
    lines = [f"### {_title(result)}", "", _HEAD, *rows, "", f"{describe(result.conditions)}."]
    if past is not None:
        lines += ["", f"Before: {describe(past.conditions)}."]
    return "\n".join(lines)


def _title(result: Result) -> str:
    return result.title[:1].upper() + result.title[1:]


def _before(figure: Figure, past: Past | None) -> str:
    value = past.values.get(figure.what) if past is not None else None
    return "" if value is None else f"{short(value)} {figure.unit}".strip()


def _shortfalls(results: list[Result]) -> str:
    """Return every figure that misses its target; the page names the causes below."""
    rows = []
    for result in results:
        for figure in result.figures:
            what, value, target, _, reaches = figure.cells()
            if reaches == "short":
                rows.append(f"| {_title(result)}: {what} | {value} | {target} |")
    told = "\n".join([_SHORT_HEAD, *rows]) if rows else "Nothing."
    return f"### Short of the target\n\n{told}"
