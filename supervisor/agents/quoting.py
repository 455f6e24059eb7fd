"""Makes text from outside harmless in Markdown and in prompts."""

from __future__ import annotations

import re
import unicodedata

from supervisor.redaction import REDACTION

#: Control and format characters (among them the ones that reverse the direction of reading),
#: surrogates, line and paragraph separators.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_BACKTICKS = re.compile(r"`+")
#: No secret that is looked for is longer.
_SECRET_MAX = 8_192
_MARKDOWN = re.compile(r"([\\<>\[\]!|&])")


def one_line(text: str, *, chars_max: int) -> str:
    """Return `text` on one line, without characters that can't be seen, cut to a length."""
    # A huge text is cut first, with room for what the next steps take away; and a secret is hidden
    # before a cut leaves half of it.
    visible = (_visible(char) for char in REDACTION.text(text[: 4 * chars_max + _SECRET_MAX]))
    words = " ".join("".join(visible).split())
    return words if len(words) <= chars_max else f"{words[: chars_max - 1]}…"


def literal(text: str, *, chars_max: int = 160) -> str:
    """Return `text` as a Markdown code span: nothing in it is markup, HTML or a mention."""
    line = one_line(text, chars_max=chars_max) or "(none)"
    longest = max((len(run) for run in _BACKTICKS.findall(line)), default=0)
    fence = "`" * (longest + 1)
    space = " " if longest else ""
    return f"{fence}{space}{line}{space}{fence}"


def quoted(text: str, *, lines_max: int, chars_max: int) -> str:
    """Return `text` as a Markdown quotation that can't hold HTML, links or images, nor end early.

    Lists and emphasis keep working: it is for a model's answer. A quotation's own marks, which a
    model may repeat from its prompt, are taken off.
    """
    # While it is as it was said: a secret over several lines, or with a mark in it, is not after.
    text = REDACTION.text(text.strip())
    lines = [one_line(line.lstrip("> "), chars_max=chars_max) for line in text.splitlines()]
    kept = [_MARKDOWN.sub(r"\\\1", line) for line in lines[:lines_max]]
    return "\n".join(f"> {line}".rstrip() for line in kept)


def _visible(char: str) -> str:
    return " " if unicodedata.category(char) in _UNSEEN else char
