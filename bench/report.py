"""The tables of docs/performance.md, rendered from the results that are kept."""

from __future__ import annotations

from pathlib import Path

from bench.daemons import ROOT
from bench.figures import NAMES, Result, describe, kept

PAGE = ROOT / "docs" / "performance.md"
BEGIN = "<!-- figures: begin (python -m bench report) -->"
END = "<!-- figures: end -->"

_HEAD = "| | figure | target | aim | reaches |\n|---|---|---|---|---|"


def write() -> Path:
    """Replace what stands between the two markers, and return the page.

    Raises:
        ValueError: the page has no markers.
    """
    text = PAGE.read_text(encoding="utf-8")
    before, has_begin, rest = text.partition(BEGIN)
    _, has_end, after = rest.partition(END)
    if not (has_begin and has_end):
        raise ValueError(f"{PAGE} lacks the lines {BEGIN} and {END}")
    PAGE.write_text(f"{before}{BEGIN}\n\n{render()}\n\n{END}{after}", encoding="utf-8")
    return PAGE


def render() -> str:
    """Return every kept result as Markdown."""
    results = [result for name in NAMES if (result := kept(name)) is not None]
    return "\n\n".join(_section(result) for result in results) or "Nothing is measured yet."


def _section(result: Result) -> str:
    rows = [f"| {' | '.join(figure.cells())} |" for figure in result.figures]
    title = result.title[:1].upper() + result.title[1:]
    return "\n".join([f"### {title}", "", _HEAD, *rows, "", f"{describe(result.conditions)}."])
