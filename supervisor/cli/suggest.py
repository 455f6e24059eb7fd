"""`supervisor spend --suggest`: limits from what was used."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from supervisor.cli.output import print_json, print_table
from supervisor.clock import iso
from supervisor.governance.suggesting import IdentityUsage, Spread, Suggestion
from supervisor.identity import Identity
from supervisor.money import to_usd, usd_text

_TITLES = ("", "IN", "SAMPLES>", "MEDIAN>", "P95>", "PEAK>", "SUGGESTED>", "ABOVE IT>")
_MONEY = "USD"


def print_suggestion(found: Suggestion, since: datetime, *, is_json: bool) -> None:
    """Print what was used, and the lines of a config that would have let nearly all of it pass."""
    if is_json:
        print_json({"since": iso(since), **msgspec.to_builtins(found)})
        return
    print(f"since {iso(since)}")
    if found.sessions is None:
        print("nothing was used yet: there is nothing to go by")
        return
    sessions = found.sessions
    rows = [
        _row("a session", _MONEY, sessions.cost),
        _row("a session", "tokens", sessions.tokens),
        _row("a session", "actions", sessions.actions),
    ]
    for one in found.identities:
        rows.append(_row(f"{one.identity}, a day", _MONEY, one.cost))
        rows.append(_row(f"{one.identity}, a day", "tokens", one.tokens))
    print_table(_TITLES, rows)
    if found.weeks:
        print()
        titles = ("IDENTITY", "WEEK", "TOKENS>", "USD>")
        print_table(
            titles,
            [(str(one.identity), one.week, str(one.tokens), _usd(one.cost)) for one in found.weeks],
        )
    print()
    for line in _config(found):
        print(line)


def _row(name: str, unit: str, spread: Spread) -> tuple[str, ...]:
    amounts = (spread.median, spread.p95, spread.peak, spread.limit)
    shown = [_usd(amount) if unit == _MONEY else str(amount) for amount in amounts]
    samples = f"{spread.samples} (few)" if spread.is_thin else str(spread.samples)
    return (name, unit, samples, *shown, str(spread.above))


def _usd(amount: int) -> str:
    return usd_text(amount).removesuffix(" USD")


def _config(found: Suggestion) -> Iterator[str]:
    """Yield the suggested limits as lines of a config."""
    assert found.sessions is not None, "without sessions there is nothing to suggest"
    yield "[session]"
    yield f"max_cost_usd = {_number(found.sessions.cost)}"
    yield f"max_actions = {found.sessions.actions.limit}"
    yield ""
    yield "[[budget]]"
    yield 'scope = "session"'
    yield 'period = "session"'
    yield f"max_tokens = {found.sessions.tokens.limit}"
    for one in found.identities:
        yield from _budget_of(one)


def _budget_of(one: IdentityUsage) -> Iterator[str]:
    yield ""
    yield "[[token_budget]]"
    for kind in Identity.__struct_fields__:
        name = getattr(one.identity, kind)
        if name is not None:
            yield f"{kind} = {msgspec.json.encode(name).decode()}"
    yield 'period = "day"'
    yield f"max_tokens = {one.tokens.limit}"
    yield f"max_cost_usd = {_number(one.cost)}"


def _number(spread: Spread) -> str:
    return f"{to_usd(spread.limit):f}".rstrip("0").rstrip(".") or "0"
