"""`supervisor spend`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from supervisor.assembly import build_budgets
from supervisor.cli.invocation import Invocation
from supervisor.cli.output import print_json, print_table
from supervisor.cli.parser import Parser, whole_number
from supervisor.cli.store import read_store
from supervisor.cli.suggest import print_suggestion
from supervisor.clock import SystemClock, iso, to_us
from supervisor.config import Loaded
from supervisor.errors import UsageError
from supervisor.governance.spending import AccountStatus, read_accounts
from supervisor.governance.suggesting import Suggestion, saved_since, suggest
from supervisor.ledger.accounts import Unit
from supervisor.ledger.limits import ledger_now
from supervisor.ledger.periods import Period, period_start
from supervisor.money import to_usd, usd_text
from supervisor.storage.database import Transaction

_DAYS = 7
_DAYS_MAX = 36_500
_KEYS = ("worker", "model", "session", "day", "org", "team", "user", "conversation")
_OF_IDENTITY = ("org", "team", "user", "conversation")
_WEEKS_DAYS = 28


class SpendOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `spend` is told."""

    by: Literal["worker", "model", "session", "day", "org", "team", "user", "conversation"] | None
    suggest: bool
    days: int | None


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What was spent on one key, in micro-USD and tokens; `holds` is the number of calls."""

    key: str
    holds: int
    cost: int
    tokens: int
    held: int


def add_options(parser: Parser) -> None:
    """Tell the parser the command's options."""
    parser.add_argument("--by", choices=_KEYS, help="what was spent, by one of these")
    parser.add_argument(
        "--suggest",
        action="store_true",
        help="limits of sessions and identities from what was used, and what each used by week",
    )
    parser.add_argument(
        "--days",
        type=whole_number,
        metavar="N",
        help="with --by and --suggest: since the beginning of the day N-1 days ago;"
        f" {_DAYS} if left out, {_WEEKS_DAYS} with --suggest",
    )
    parser.epilog = "Without --by: every account whose period goes on, against its limit."


def run(invocation: Invocation) -> int:
    """Print what was spent.

    Raises:
        UsageError: --days without --by or --suggest, or both of them.
    """
    options = invocation.options(SpendOptions)
    loaded = invocation.load()
    if options.suggest:
        if options.by is not None:
            fix = "ask for one of them"
            raise UsageError(subject="supervisor spend --suggest", what="is not --by", fix=fix)
        since, found = read_store(
            loaded, _suggest, options.days or _WEEKS_DAYS, loaded, SystemClock().now()
        )
        print_suggestion(found, since, is_json=invocation.is_json)
        return 0
    if options.by is not None:
        return _print_by(loaded, options.by, options.days or _DAYS, is_json=invocation.is_json)
    if options.days is not None:
        fix = f"add --by {', --by '.join(_KEYS)}"
        raise UsageError(subject="supervisor spend --days", what="needs --by", fix=fix)
    accounts = read_store(loaded, read_accounts, SystemClock().now(), build_budgets(loaded))
    if invocation.is_json:
        print_json({"accounts": accounts})
    else:
        print_table(account_titles(), account_rows(accounts))
    return 0


def account_titles() -> tuple[str, ...]:
    """Return the titles of `account_rows`."""
    return ("ACCOUNT", "IN", "LIMIT>", "SETTLED>", "HELD>", "FREE>", "RESETS AT")


def account_rows(accounts: Sequence[AccountStatus]) -> list[tuple[str, ...]]:
    """Return the accounts as a table's rows; their ids end in the unit, which has a column."""
    return [
        (
            account.id.rpartition("/")[0],
            "USD" if account.unit is Unit.MICRO_USD else account.unit,
            *(
                _amount(amount, account.unit)
                for amount in (account.limit, account.settled, account.held, account.free)
            ),
            account.resets_at or "-",
        )
        for account in accounts
    ]


def _amount(amount: int, unit: Unit) -> str:
    return _usd(amount) if unit is Unit.MICRO_USD else str(amount)


def _usd(amount_micro_usd: int) -> str:
    return usd_text(amount_micro_usd).removesuffix(" USD")


def _print_by(loaded: Loaded, by: str, days: int, *, is_json: bool) -> int:
    since, spent, saved = read_store(loaded, _read_by, by, days, loaded, SystemClock().now())
    # Days are read from the daily cap's accounts, which count neither calls nor tokens.
    is_day = by == "day"
    if is_json:
        rows = [_as_json(one, is_day=is_day) for one in spent]
        answer = {"by": by, "since": iso(since), "spend": rows, "saved_usd": to_usd(saved)}
        print_json(answer)
        return 0
    print(f"since {iso(since)}")
    titles = (by.upper(), "SPENT USD>", "HELD USD>") + (() if is_day else ("CALLS>", "TOKENS>"))
    print_table(titles, [_as_row(one, is_day=is_day) for one in spent])
    if saved:
        print(f"routing saved {usd_text(saved)} in these sessions, against always the best model")
    return 0


def _as_json(one: Spent, *, is_day: bool) -> dict[str, object]:
    row: dict[str, object] = {
        "key": one.key,
        "cost_usd": to_usd(one.cost),
        "held_usd": to_usd(one.held),
    }
    return row if is_day else {**row, "calls": one.holds, "tokens": one.tokens}


def _as_row(one: Spent, *, is_day: bool) -> tuple[str, ...]:
    row = (one.key or "(none)", _usd(one.cost), _usd(one.held))
    return row if is_day else (*row, str(one.holds), str(one.tokens))


def _read_by(
    tx: Transaction, by: str, days: int, loaded: Loaded, now: datetime
) -> tuple[datetime, list[Spent], int]:
    since = _begin(tx, days, loaded, now)
    is_of_identity = by in _OF_IDENTITY
    statement = f"spending.by_{by}" if is_of_identity else f"ledger.spend_by_{by}"
    return since, tx.rows(statement, Spent, since=to_us(since)), saved_since(tx, since)


def _suggest(
    tx: Transaction, days: int, loaded: Loaded, now: datetime
) -> tuple[datetime, Suggestion]:
    since = _begin(tx, days, loaded, now)
    return since, suggest(tx, since, loaded.timezone)


def _begin(tx: Transaction, days: int, loaded: Loaded, now: datetime) -> datetime:
    back = timedelta(days=min(days, _DAYS_MAX) - 1)
    since = period_start(Period.DAY, ledger_now(tx, now) - back, timezone=loaded.timezone)
    assert since is not None, "the clock begins every day"
    return since
