"""Printing: tables for people, JSON for programs, errors for both."""

from __future__ import annotations

import contextlib
import os
import sys
import textwrap
from collections.abc import Sequence
from typing import TextIO

import msgspec

from supervisor.errors import SupervisorError
from supervisor.redaction import REDACTION

WIDTH = 100
_GAP = "  "
_COLUMN_MIN = 8


def print_json(answer: object) -> None:
    """Print one JSON value on one line."""
    print(REDACTION.text(msgspec.json.encode(answer).decode()))


def print_error(error: SupervisorError, *, is_json: bool) -> None:
    """Print an error on stderr: what happened, and what to do."""
    if is_json:
        message = f"{error.subject}: {error.what}"
        told = {"error": {"code": error.code, "message": message, "fix": error.fix}}
        _write_aside(REDACTION.text(msgspec.json.encode(told).decode()))
    else:
        print_aside(f"error[{error.code}]: {error}")


def print_warning(text: str) -> None:
    """Print on stderr what a person should know though the command goes on."""
    print_aside(f"warning: {text}")


def print_aside(text: str) -> None:
    """Print on stderr what a person is told beside the answer."""
    _write_aside(plain(text))


def _write_aside(line: str) -> None:
    # Where nobody can be told, the command goes on, and its exit code still says what it says.
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr)


def mute(stream: TextIO) -> None:
    """Send nowhere what `stream` has yet to say: the interpreter tries once more at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns within 100 characters; a cell too wide goes on in further lines.

    Titles that end in `>` stand over numbers, which are aligned to the right.
    """
    heads = [title.rstrip(">") for title in titles]
    shown = [heads, *([plain(cell) for cell in row] for row in rows)]
    widths = _widths(shown)
    for row in shown:
        cells = [_wrap(cell, width) or [""] for cell, width in zip(row, widths, strict=True)]
        for line in range(max(len(cell) for cell in cells)):
            texts = [cell[line] if line < len(cell) else "" for cell in cells]
            print(_line(texts, widths, titles))


def _line(texts: Sequence[str], widths: Sequence[int], titles: Sequence[str]) -> str:
    aligned = [
        text.rjust(width) if title.endswith(">") else text.ljust(width)
        for text, width, title in zip(texts, widths, titles, strict=True)
    ]
    return _GAP.join(aligned).rstrip()


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    widths = [max(1, *(len(cell) for cell in column)) for column in zip(*rows, strict=True)]
    while sum(widths) + len(_GAP) * (len(widths) - 1) > WIDTH:
        widest = max(range(len(widths)), key=lambda place: widths[place])
        if widths[widest] <= _COLUMN_MIN:
            break
        widths[widest] -= 1
    return widths


def print_wrapped(text: str) -> None:
    """Print a text within 100 characters, what follows its first line indented."""
    print("\n".join(_wrap(plain(text), WIDTH, indent="    ")))


def _wrap(text: str, width: int, *, indent: str = "") -> list[str]:
    # Names have hyphens: they are kept in one piece where there is room.
    return textwrap.wrap(text, width, subsequent_indent=indent, break_on_hyphens=False)


def plain(text: str) -> str:
    """Return a text without secrets, its control characters spelled out: it may come from a model.

    Otherwise what an agent has written could write over what a person reads in a terminal.
    """
    text = REDACTION.text(text)
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else repr(char)[1:-1].replace("\\n", " ") for char in text
    )


def span_text(seconds: float) -> str:
    """Return a span for a person: `3 s`, `2 min`, `5 h`, `4 d`."""
    for size_s, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size_s:
            return f"{seconds / size_s:.0f} {unit}"
    return f"{max(seconds, 0.0):.0f} s"
