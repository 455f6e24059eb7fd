"""What must be true of breakers after a daemon has been killed, told from the events alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.torture.looking import Look
from tests.torture.site import COOLDOWN_MAX_S, COOLDOWN_S, TorturedSite

_KINDS = (
    "breaker_opened", "breaker_half_opened", "breaker_closed", "cycle_started", "cycle_completed",
    "cycle_recovered", "hold_placed", "hold_settled", "hold_released", "hold_forfeited",
)  # fmt: skip
_SECOND_US = 1_000_000


@dataclass(slots=True)
class _Told:
    """A breaker as its events tell it."""

    state: str = "closed"
    cause: str = ""
    at: int = 0
    retry_at: int = 0
    openings: int = 0
    probe: str = ""

    def is_due(self, at: int) -> bool:
        return at >= self.retry_at or at < self.at


@dataclass(slots=True)
class BreakerStory:
    """The breakers of one store through all lives of its daemon; `moves` counts what they did."""

    moves: Counter[str] = field(default_factory=Counter)
    _position: int = 0
    _breakers: dict[str, _Told] = field(default_factory=dict)
    _ticks: set[str] = field(default_factory=set)
    _holds: set[str] = field(default_factory=set)

    def follow(self, look: Look) -> None:
        """Follow what is new, and assert that the rows say what the events do.

        Raises:
            AssertionError: something passed an open breaker, or two probed it, or a row differs.
        """
        kinds = ", ".join(f"'{kind}'" for kind in _KINDS)
        rows = look.rows(
            "SELECT position, at, kind, payload FROM events"  # noqa: S608 - kinds of its own
            f" WHERE position > :after AND kind IN ({kinds}) ORDER BY position",
            after=self._position,
        )
        for position, at, kind, payload in rows:
            self._position = int(str(position))
            self._tell(int(str(at)), str(kind), json.loads(str(payload)))
        self._compare(look)

    def _compare(self, look: Look) -> None:
        rows = look.rows("SELECT name, state, cause, retry_at, openings FROM breakers")
        stored = {
            str(name): (state, cause, retry, count) for name, state, cause, retry, count in rows
        }
        for name, told in self._breakers.items():
            says = stored.pop(name, None)
            should = (told.state, told.cause, told.retry_at, told.openings)
            assert says == should, f"breaker {name}: its row says {says}, its events {should}"
        open_ones = {name: row for name, row in stored.items() if row[0] != "closed"}
        assert open_ones == {}, f"open by no event: {open_ones}"

    def _tell(self, at: int, kind: str, payload: Mapping[str, object]) -> None:
        if kind.startswith("breaker_"):
            self._move(at, kind, payload)
        elif kind == "hold_placed":
            self._place(at, payload)
        elif kind.startswith("hold_"):
            self._holds.discard(str(payload["hold"]))
        elif kind == "cycle_started":
            self._start(payload)
        else:
            self._ticks.discard(_tick_of(payload))

    def _start(self, payload: Mapping[str, object]) -> None:
        tick = _tick_of(payload)
        for name in (f"worker:{payload['worker']}", "system"):
            told = self._breakers.get(name, _Told())
            is_its_probe = told.state == "half_open" and told.probe == tick
            assert told.state == "closed" or is_its_probe, f"{tick} began past {name}: {told}"
        self._ticks.add(tick)

    def _place(self, at: int, payload: Mapping[str, object]) -> None:
        hold = str(payload["hold"])
        tick = hold.rpartition(".")[0]
        provider = str(payload.get("model", "")).partition("/")[0]
        for name in (f"worker:{tick.partition('#')[0]}", f"provider:{provider}", "system"):
            told = self._breakers.get(name, _Told())
            is_late = told.state == "open" and not told.is_due(at)
            assert not is_late, f"{hold} was placed past {name}: {told}"
            is_others = told.state == "half_open" and self._is_probed(name, told)
            is_others = is_others and told.probe.partition(".")[0] != tick
            assert not is_others, f"{hold} was placed beside the probe of {name}: {told}"
        self._holds.add(hold)

    def _is_probed(self, name: str, told: _Told) -> bool:
        if name.startswith("provider:"):
            return told.probe in self._holds
        return told.probe.partition(".")[0] in self._ticks

    def _move(self, at: int, kind: str, payload: Mapping[str, object]) -> None:
        name = str(payload["name"])
        told = self._breakers.get(name, _Told())
        self.moves[kind] += 1
        match kind:
            case "breaker_opened":
                self._breakers[name] = self._opened(at, name, told, payload)
            case "breaker_half_opened":
                self._probe(at, name, told, str(payload.get("probe", "")))
            case _:
                assert told.state != "closed", f"{name} closed, and was not open"
                is_by_hand = bool(payload.get("is_by_hand"))
                openings = 0 if is_by_hand else told.openings
                self._breakers[name] = _Told(at=at, openings=openings)

    def _opened(self, at: int, name: str, told: _Told, payload: Mapping[str, object]) -> _Told:
        assert told.state != "open", f"{name} opened twice"
        # What is as it is by default is left out of an event.
        openings, retry_at = int(str(payload.get("openings", 1))), int(str(payload["retry_at"]))
        assert openings in (1, told.openings + 1), f"{name}: {payload} after {told}"
        assert told.state == "closed" or openings > told.openings, f"{name} forgot: {payload}"
        due_s = min(COOLDOWN_S * 2 ** (openings - 1), COOLDOWN_MAX_S)
        assert retry_at - at == round(due_s * _SECOND_US), f"{name}: {payload} at {at}"
        cause = str(payload.get("cause", "overrun"))
        return _Told(state="open", cause=cause, at=at, retry_at=retry_at, openings=openings)

    def _probe(self, at: int, name: str, told: _Told, probe: str) -> None:
        assert told.state != "closed", f"{name} is probed by {probe}, and is closed"
        if told.state == "open":
            assert told.is_due(at), f"{name} is probed by {probe} before its time: {told}"
        else:
            is_beside = self._is_probed(name, told) and told.probe != probe
            assert not is_beside, f"{name} is probed by {probe} and by {told.probe}"
        told.state, told.probe = "half_open", probe

    def check_told(self, site: TorturedSite) -> None:
        """Assert that a person who asks is told the same."""
        answer = site.supervisor("breakers", "--json")
        assert answer.returncode == 0, answer.stderr
        says = {one["name"]: one["state"] for one in json.loads(answer.stdout)["breakers"]}
        should = {name: told.state for name, told in self._breakers.items()}
        differing = {name: state for name, state in should.items() if says.get(name) != state}
        assert differing == {}, f"`supervisor breakers` says {says}, the events {differing}"


def _tick_of(payload: Mapping[str, object]) -> str:
    return f"{payload['worker']}#{payload['tick']}"
