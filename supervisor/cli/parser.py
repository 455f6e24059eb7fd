"""argparse with this project's words: a usage error names the cure."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Iterable, Sequence
from typing import NoReturn

from supervisor.errors import UsageError

_NUMBER_MAX = 1_000_000_000
_SPAN = re.compile(r"(?P<count>\d{1,9})(?P<unit>[smhd])")
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_SPAN_MAX_S = 366 * 86_400.0


class Parser(argparse.ArgumentParser):
    """A parser that raises instead of exiting, and takes no abbreviations."""

    def __init__(self, *, prog: str, about: str, epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            description=about,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def parse(self, words: Sequence[str]) -> dict[str, object]:
        """Return the options by name.

        Raises:
            UsageError: a word is not known, is missing, or is not of its kind.
        """
        namespace, unknown = self.parse_known_args(words)
        if unknown:
            options = [name for action in self._actions for name in action.option_strings]
            raise UsageError(
                subject=f"{self.prog} {unknown[0]}",
                what="is not known",
                fix=did_you_mean(unknown[0].partition("=")[0], options)
                or f"`{self.prog} --help` lists what is",
            )
        return dict(vars(namespace))

    def error(self, message: str) -> NoReturn:
        """Raise what argparse found wrong.

        Raises:
            UsageError: always.
        """
        raise UsageError(subject=self.prog, what=message, fix=f"see `{self.prog} --help`")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a question that names what is nearest to `word`, empty where nothing is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else ""


def whole_number(text: str) -> int:
    """Return a number of at least 1, for argparse.

    Raises:
        ArgumentTypeError: it is none.
    """
    is_number = text.isascii() and text.isdecimal()
    if not is_number or not 1 <= int(text[:20]) <= _NUMBER_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def seconds(text: str) -> float:
    """Return a span in seconds of at least 0, for argparse.

    Raises:
        ArgumentTypeError: it is none.
    """
    try:
        span_s = float(text)
    except ValueError:
        span_s = -1.0
    if not 0 <= span_s <= _NUMBER_MAX:  # also refuses nan
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return span_s


def days(text: str) -> float:
    """Return a number of days of at least 0, for argparse.

    Raises:
        ArgumentTypeError: it is none.
    """
    try:
        return seconds(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days") from error


def span_s(text: str) -> float:
    """Return a span such as `90s`, `30m`, `2h` or `1d` in seconds, for argparse.

    Raises:
        ArgumentTypeError: it is none, or longer than a year.
    """
    span = _SPAN.fullmatch(text)
    length_s = int(span["count"]) * _UNITS_S[span["unit"]] if span else 0.0
    if not 0 < length_s <= _SPAN_MAX_S:
        raise argparse.ArgumentTypeError(f"{text!r} is not a span such as 90s, 30m, 2h or 1d")
    return length_s
