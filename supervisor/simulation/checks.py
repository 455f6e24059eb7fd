"""What a broken invariant is, and how many were looked at."""

from __future__ import annotations

import traceback
from collections import Counter
from pathlib import Path

_PLACES_MAX = 6


class Violation(Exception):
    """An invariant that does not hold; `rule` names it, `detail` says what was seen."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule = rule
        self.detail = detail


class Checks:
    """Counts every check by its rule. Written by the rules alone."""

    def __init__(self) -> None:
        self.by_rule: Counter[str] = Counter()

    def require(self, is_so: bool, rule: str, *facts: object) -> None:
        """Check one thing; `facts` are what a violation tells.

        Raises:
            Violation: it is not so.
        """
        self.by_rule[rule] += 1
        if not is_so:
            raise Violation(rule, " ".join(str(fact) for fact in facts))

    @property
    def total(self) -> int:
        return self.by_rule.total()


def told(error: BaseException | None) -> str:
    """Return an error that nobody expected, with the places that it came through."""
    if error is None:
        return ""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(told(member) for member in error.exceptions)
    places = [
        f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)[-_PLACES_MAX:]
    ]
    return f"{error!r} at {' > '.join(places)}"
