"""How a life is to end: where, when, and by whose hand."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from tests.e2e.billing_server import Step, Stop

By: TypeAlias = Literal["point", "provider", "outside", "start"]

#: Where the provider can stop a call, so that the daemon dies at exactly that moment of it.
STOPS: tuple[Stop, ...] = get_args(Stop)

_BYS: tuple[By, ...] = ("point", "provider", "outside", "start")
_WEIGHTS = (60, 14, 14, 12)
_PASSAGE_MAX = 8
#: What a life passes many times.
_OFTEN = (
    "placing.place",
    "placing.settle",
    "records.begin_tick",
    "records.finish_tick",
    "queue_records.begin_queue_tick",
    "queue_records.end_some",
    "queue_records.finish_queue_tick",
    "effects.take",
    "effects.keep",
    "effect",
    "call",
    "stream",
)
#: What only the first life of a store passes, and what only lives pass whose cap is nearly spent.
_FIRST = ("+session_opened", "begin_life/session_opened")
_BEGINNINGS = ("launch.open_store", "lifecycle.begin_life")
_LATE = ("call_refused", "cycle_skipped", "budget_")
#: What leaves a kill behind, and is dealt by those who release it again.
_LATCHING = ("answers.engage", "kill_switch.release")
_WITHIN_COMMIT_S = 0.006
_START_S = 0.5
_LIVED_S = 0.5
_STEPS = 80
_LATENCY_MAX_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """The end that one life is meant to have.

    `by` point: the daemon kills itself at the `passage` of the point `where`, `delay_s` later
    where the point is within a commit. `by` provider: it is killed while a call stands at
    `where`. `by` outside: `after_s` after its first tick began; `by` start: after its exec.
    """

    by: By
    where: str = ""
    passage: int = 1
    delay_s: float = 0.0
    after_s: float = 0.0

    def __str__(self) -> str:
        number = f" #{self.passage}" if self.passage > 1 else ""
        after = f" after {self.after_s:.3f} s" if self.after_s else ""
        return f"{self.by} {self.where}{number}{after}".replace("  ", " ")


class Dealt:
    """How often each point was dealt, and missed, over all campaigns of a run."""

    def __init__(self) -> None:
        self.times: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()


class Fates:
    """Deals fates from a seed: the points that were dealt least come first."""

    def __init__(self, chance: random.Random, dealt: Dealt) -> None:
        self._chance = chance
        self._dealt = dealt
        self._stops = chance.randrange(len(STOPS))

    def deal(self, points: set[str]) -> Fate:
        """Return the next fate; `points` are those that have been seen so far."""
        points = {p for p in points if not (_is(p, _LATCHING) or is_first(p) or is_late(p))}
        (by,) = self._chance.choices(_BYS, _WEIGHTS)
        match by:
            case "point" if points:
                return self.at_one_of(points)
            case "provider":
                self._stops += 1
                return Fate(by="provider", where=STOPS[self._stops % len(STOPS)])
            case "start":
                return Fate(by="start", after_s=self._chance.uniform(0.0, _START_S))
            case _:
                return self.at_any_moment()

    def at_one_of(self, points: set[str]) -> Fate:
        """Return a fate at the one that was dealt least, or at any moment if there is none."""
        if not points:
            return self.at_any_moment()
        times = self._dealt.times
        least = min(times[point] for point in points)
        where = self._chance.choice(sorted(p for p in points if times[p] == least))
        times[where] += 1
        return Fate(
            by="point",
            where=where,
            passage=self._passage(where),
            delay_s=self._chance.uniform(0.0, _WITHIN_COMMIT_S) if _is_within(where) else 0.0,
        )

    def _passage(self, where: str) -> int:
        is_often = _is(where, _OFTEN) and "+" not in where and not self._dealt.missed[where]
        if is_often and self._chance.random() < 0.6:
            return self._chance.randint(2, _PASSAGE_MAX)
        return 1

    def at_any_moment(self) -> Fate:
        """Return a fate from outside."""
        return Fate(by="outside", after_s=self._chance.uniform(0.0, _LIVED_S))

    def in_function(self, name: str, points: set[str]) -> Fate:
        """Return a fate at one of the points of a transaction, or at any moment."""
        if self._chance.random() < 0.3:
            return self.at_any_moment()
        return self.at_one_of({point for point in points if _is(point, (name,))})

    def miss(self, fate: Fate) -> None:
        """Note that a life did not get to its point."""
        self._dealt.missed[fate.where] += 1

    def steps(self, fate: Fate) -> list[Step]:
        """Return what the provider does with the next calls: mostly answers, sooner or later."""
        steps = [self._step() for _ in range(_STEPS)]
        if fate.by == "provider":
            stop: Step = {"stops_at": fate.where}  # type: ignore[typeddict-item] # it is of STOPS
            steps[self._chance.randrange(8)] = stop
        return steps

    def _step(self) -> Step:
        chance = self._chance
        step: Step = {
            "latency_s": chance.uniform(0.0, _LATENCY_MAX_S),
            "tokens": chance.randint(1, 50),
        }
        match chance.randrange(40):
            case 0:
                step["does"] = "no_usage"
            case 1:
                step["does"] = "server_error"
            case 2:
                step["does"] = "closed"
            case 3:
                step["does"] = "rate_limited"
            case 4:
                step["does"] = "garbage"
            case _:
                step["does"] = "answer"
        return step


def function_of(point: str) -> str:
    """Return the name of the transaction that a point belongs to."""
    return re.split(r"[+:/]", point, maxsplit=1)[0]


def _is(point: str, functions: Sequence[str]) -> bool:
    return function_of(point) in functions


def _is_within(point: str) -> bool:
    return point.endswith(":committing")


def is_first(point: str) -> bool:
    """Return whether only the first life of a store can die there."""
    return any(sign in point for sign in _FIRST)


def is_beginning(point: str) -> bool:
    """Return whether the first life of a store may die there before all is made."""
    return is_first(point) or _is(point, _BEGINNINGS)


def is_late(point: str) -> bool:
    """Return whether only a life whose cap is nearly spent can die there."""
    return any(sign in point for sign in _LATE)


def needs_clean_stop(point: str) -> bool:
    """Return whether only a life after a clean stop passes the point."""
    return "session_resumed" in point
