"""Budgets of identities as users of the library say them, checked and charged in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from supervisor.clock import from_us, iso
from supervisor.errors import InputRefused, amount_text
from supervisor.events import model_kinds
from supervisor.events.log import Journal, Origin
from supervisor.governance.kill_switch import applying, engaged
from supervisor.governance.model_governor import ModelGovernor
from supervisor.governance.rotation import find_session, system_journal
from supervisor.governance.session import SessionStatus
from supervisor.identity import NOBODY, Identity, name_problem
from supervisor.ledger import ledger
from supervisor.ledger.accounts import AccountKey, Amounts, Budget, Budgets, Call, Unit
from supervisor.ledger.exhaustion import note_exhaustion
from supervisor.ledger.holds import Hold, HoldRequest, HoldStatus, Metering, find_account, find_hold
from supervisor.ledger.limits import ledger_now, used_of
from supervisor.ledger.periods import Period
from supervisor.ledger.scopes import identity_scope
from supervisor.money import USD_MAX, limit_micro_usd
from supervisor.storage.database import Transaction

#: Begins the id of a hold that stands for usage reported from outside.
USAGE_PREFIX = "usage:"
#: The most that a limit or a report may name: sums of them fit any store's integer.
TOKENS_MAX = 10**15


class TokenBudgetConfig(msgspec.Struct, frozen=True):
    """What may be used on behalf of whoever `identity` covers, in each `period`.

    A name that the identity leaves out is a wildcard: the budget is one for all of them together.
    Every config that covers a call must pass; exactly the limit is within it. A limit of None does
    not bind; `allowed_models`, by name or pattern, None for all.

    Raises:
        InputRefused: a limit is negative or none is given, or a word is unknown.
    """

    identity: Identity = NOBODY
    period: str = Period.DAY
    max_tokens: int | None = None
    max_cost_usd: float | None = None
    allowed_models: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.period not in list(Period):
            self._refuse(f"period {self.period!r} is none", f"give one of {', '.join(Period)}")
        tokens, usd = self.max_tokens, self.max_cost_usd
        if tokens is None and usd is None and self.allowed_models is None:
            self._refuse("limits nothing", "give max_tokens, max_cost_usd or allowed_models")
        if tokens is not None and not 0 <= tokens <= TOKENS_MAX:
            self._refuse(f"max_tokens {tokens} is no amount", f"give 0 to {TOKENS_MAX}")
        if usd is not None and not 0 <= usd <= USD_MAX:
            self._refuse(f"max_cost_usd {usd} is no amount", f"give 0 to {USD_MAX:g}")
        for name in msgspec.structs.astuple(self.identity):
            if name is not None and (problem := name_problem(name)):
                self._refuse(f"{name!r} {problem}", "give names without spaces, commas and *")

    def _refuse(self, what: str, fix: str) -> None:
        raise InputRefused(subject=f"token budget of {self.identity}", what=what, fix=fix)

    def budgets(self) -> list[Budget]:
        """Return the limits as the ledger keeps them."""
        usd = self.max_cost_usd
        limits = {
            Unit.MICRO_USD: None if usd is None else limit_micro_usd(usd),
            Unit.TOKENS: self.max_tokens,
        }
        scope, period = identity_scope(self.identity), Period(self.period)
        return [
            Budget(scope=scope, period=period, unit=unit, limit_amount=limit)
            for unit, limit in limits.items()
            if limit is not None
        ]


class Party(msgspec.Struct, frozen=True, kw_only=True):
    """Whose usage it is; `worker` and `session_id` are empty outside of the daemon."""

    identity: Identity = NOBODY
    model: str = ""
    conversation: str = ""
    worker: str = ""
    session_id: str = ""
    action_tier: str = "default"

    @property
    def call(self) -> Call:
        return Call(
            worker=self.worker,
            session_id=self.session_id,
            model=self.model,
            identity=self.identity,
            conversation=self.conversation,
        )


class BudgetState(msgspec.Struct, frozen=True, kw_only=True):
    """An account that a call would be held on; amounts in `unit`, money in micro-USD."""

    account: str
    scope: str
    period: str
    unit: Unit
    limit: int
    settled: int
    held: int
    resets_at: str | None

    @property
    def used(self) -> int:
        return self.settled + self.held

    @property
    def free(self) -> int:
        return max(self.limit - self.used, 0)

    def reason(self, needed: int) -> str:
        """Return why `needed` does not fit, empty where it does."""
        if self.used + needed <= self.limit:
            return ""
        until = f" until {self.resets_at}" if self.resets_at else ""
        used, limit = amount_text(self.used, self.unit), amount_text(self.limit, self.unit)
        more = f", {amount_text(needed, self.unit)} needed" if needed else ""
        return f"account {self.account} has used {used} of {limit}{more}{until}"


class BudgetCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Whether usage may go on: `reasons` are all that speak against it, `states` every account."""

    allowed: bool
    reasons: tuple[str, ...]
    states: tuple[BudgetState, ...] = ()


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """A call that was made outside the gateway: what it has used, and its command id."""

    id: str
    party: Party
    input_tokens: int
    output_tokens: int
    cost: int

    @property
    def amounts(self) -> Amounts:
        tokens = self.input_tokens + self.output_tokens
        return Amounts(cost=self.cost, tokens=tokens, actions=1)


class UsageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A row that was written for reported usage, and the accounts that are above their limit."""

    hold: str
    exceeded: tuple[str, ...] = ()


def check_budget(
    tx: Transaction,
    party: Party,
    amounts: Amounts,
    budgets: Budgets,
    governor: ModelGovernor | None,
    now: datetime,
) -> BudgetCheck:
    """Return whether `amounts` fit on every account of a call, by a look that holds nothing."""
    reasons: list[str] = []
    killed = applying(engaged(tx), worker=party.worker, session_id=party.session_id or None)
    if killed is not None:
        reasons.append(str(killed))
    if governor is not None and party.model:
        refusal = governor.check_access(party.identity, party.model, party.action_tier).refusal
        if refusal is not None:
            reasons.append(str(refusal))
    moment = ledger_now(tx, now)
    states = [_state(tx, key, budgets, moment) for key in budgets.accounts(party.call, moment)]
    reasons += [why for state in states if (why := state.reason(amounts.of(state.unit)))]
    return BudgetCheck(allowed=not reasons, reasons=tuple(reasons), states=tuple(states))


def _state(tx: Transaction, key: AccountKey, budgets: Budgets, moment: datetime) -> BudgetState:
    settled, held = used_of(tx, key, budgets, moment)
    return BudgetState(
        account=key.id,
        scope=key.scope,
        period=key.period,
        unit=key.unit,
        limit=key.limit_amount,
        settled=settled,
        held=held,
        resets_at=None if key.resets_at is None else iso(from_us(key.resets_at)),
    )


def record_usage(
    tx: Transaction, usage: Usage, budgets: Budgets, timezone: ZoneInfo, origin: Origin
) -> UsageRecord:
    """Charge a call that was made already on every account of its own, whatever their limits.

    It is on record also under a kill: it has happened. The same command id again changes nothing.

    Raises:
        CommandConflict: the command id was used for other usage.
    """
    hold_id = USAGE_PREFIX + usage.id
    before = find_hold(tx, hold_id)
    with _journal_for(tx, usage.party, timezone, origin) as journal:
        session_id = journal.session_id if before is None else before.session_id
        # A hold of nothing always fits; its end charges what was used, above the limit too.
        hold = ledger.reserve(tx, journal, _request(hold_id, usage, session_id), budgets)
        assert isinstance(hold, Hold), f"a hold of nothing was refused: {hold}"
        metering = Metering(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)
        placed = msgspec.structs.replace(hold, status=HoldStatus.OPEN)
        ledger.settle(tx, journal, placed, usage.amounts, metering)
        if before is None:
            journal.add(_recorded(hold, usage))
        exceeded = _exceeded(tx, journal, hold)
    return UsageRecord(hold=hold_id, exceeded=tuple(exceeded))


def _journal_for(tx: Transaction, party: Party, timezone: ZoneInfo, origin: Origin) -> Journal:
    """Return the journal of the party's session, the system's where there is none or it is over."""
    session = find_session(tx, party.session_id) if party.session_id else None
    if session is None or session.status in (SessionStatus.COMPLETED, SessionStatus.ABORTED):
        return system_journal(tx, timezone, origin)
    return Journal(tx, session.id, origin)


def _request(hold_id: str, usage: Usage, session_id: str) -> HoldRequest:
    party = usage.party
    return HoldRequest(
        id=hold_id,
        boot_id="",
        worker=party.worker,
        session_id=session_id,
        tick=0,
        model=party.model,
        # The same again is the same: a hold is compared by this too.
        what=f"reported: {usage.input_tokens} tokens in, {usage.output_tokens} out",
        amounts=Amounts(),
        identity=party.identity,
        conversation=party.conversation,
        is_of_session=session_id == party.session_id,
    )


def _recorded(hold: Hold, usage: Usage) -> model_kinds.TokenUsageRecorded:
    return model_kinds.TokenUsageRecorded(
        hold=hold.id,
        worker=hold.worker,
        model=hold.model,
        identity=str(usage.party.identity),
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cost=usage.cost,
    )


def _exceeded(tx: Transaction, journal: Journal, hold: Hold) -> Sequence[str]:
    """Return why the accounts of a hold that are above their limit are, each on record once."""
    found: list[str] = []
    for account_id in hold.accounts:
        account = find_account(tx, account_id)
        assert account is not None, f"hold {hold.id} has lost account {account_id}"
        if account.used <= account.limit_amount:
            continue
        note_exhaustion(tx, journal, account)
        found.append(_text_of(account_id, account.used, account.limit_amount, account.unit))
    return found


def _text_of(account_id: str, used: int, limit: int, unit: Unit) -> str:
    of = f"{amount_text(used, unit)} of {amount_text(limit, unit)}"
    return f"account {account_id} has used {of}"
