"""The ledger's events against the invoice of everybody who was called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from supervisor.clock import Clock
from supervisor.config import BudgetSection, Config
from supervisor.events import kinds
from supervisor.events.log import Recorded
from supervisor.identity import Identity
from supervisor.ledger.accounts import AccountKey, Amounts, Call, Unit
from supervisor.ledger.scopes import scope_for
from supervisor.money import limit_micro_usd
from supervisor.simulation.checks import Checks
from supervisor.simulation.store import Disk, Refused

_NOTHING = Amounts()


@dataclass(slots=True)
class Account:
    """An account as its events tell it; `billed` and `slack` as the invoice does.

    `slack` is what was billed above holds, or hidden from the daemon: no ledger can cap that.
    """

    id: str
    unit: Unit
    limit: int
    settled: int = 0
    held: int = 0
    overrun: int = 0
    billed: int = 0
    slack: int = 0

    @property
    def free(self) -> int:
        return max(self.limit - self.settled - self.held, 0)


@dataclass(slots=True)
class Hold:
    """A hold, its call, and what the call's provider has done."""

    id: str
    tag: str
    accounts: tuple[str, ...]
    held: Amounts
    placed_s: float
    is_open: bool = True
    billed: Amounts = _NOTHING
    slack: Amounts = _NOTHING
    told: Amounts | None = None
    settled: Amounts = _NOTHING
    is_used: bool = False


@dataclass(frozen=True, slots=True)
class _Template:
    """A limit of the config: which calls it is on, and how its accounts are called."""

    scope: str
    period: str
    unit: str
    limit: int

    def is_on(self, call: Call) -> bool:
        return scope_for(self.scope, call) is not None

    def names(self, account_id: str, call: Call) -> bool:
        scope = scope_for(self.scope, call)
        if not self.period:
            return account_id == f"{scope}/{self.unit}"
        start = f"{scope}/{self.period}/"
        return account_id.startswith(start) and account_id.endswith(f"/{self.unit}")


def _templates(config: Config) -> list[_Template]:
    found = [
        _Template("system", "day", "micro_usd", limit_micro_usd(config.spend.daily_cap_usd)),
        _Template("session", "", "micro_usd", limit_micro_usd(config.session.max_cost_usd)),
        _Template("session", "", "actions", config.session.max_actions),
    ]
    for section in config.budget:
        usd = section.max_cost_usd
        limits = {
            "micro_usd": None if usd is None else limit_micro_usd(usd),
            "tokens": section.max_tokens,
            "actions": section.max_actions,
        }
        found.extend(
            _Template(section.scope, _period_of(section), unit, limit)
            for unit, limit in limits.items()
            if limit is not None
        )
    return found


def _period_of(section: BudgetSection) -> str:
    # A session's own accounts are called by it alone.
    is_its_own = (section.scope, section.period) == ("session", "session")
    return "" if is_its_own else section.period


@dataclass(slots=True)
class MoneyRules:
    """Every account and hold, followed event by event. `troubled_s` is of the last crash or lock.

    Calls are joined to their holds by a tag, which is the hold's purpose and stands in the prompt:
    the provider that bills knows nothing else of the ledger.
    """

    config: Config
    clock: Clock
    checks: Checks
    accounts: dict[str, Account] = field(default_factory=dict)
    forfeited: dict[str, Hold] = field(default_factory=dict)
    troubled_s: float = -1.0
    _open: dict[str, Hold] = field(default_factory=dict)
    _of_tag: dict[str, Hold] = field(default_factory=dict)
    _of_tick: dict[str, set[str]] = field(default_factory=dict)
    _touched: set[str] = field(default_factory=set)
    _day: str = ""
    _templates: list[_Template] = field(init=False)

    def __post_init__(self) -> None:
        self._templates = _templates(self.config)

    # --- the ledger's side

    def follow(self, recorded: Recorded) -> None:
        """Apply one event.

        Raises:
            Violation: it should not be there, or not say this.
        """
        match event := recorded.event:
            case kinds.AccountOpened():
                self._open_account(event)
            case kinds.HoldPlaced():
                self._place(recorded, event)
            case kinds.HoldSettled():
                self._settle(event)
            case kinds.HoldForfeited():
                self._forfeit(event)
            case kinds.HoldReleased():
                self._release(event)
            case kinds.HoldReconciled():
                self._reconcile(event)
            case kinds.AccountOverrun():
                self._overrun(event)
            case kinds.CycleCompleted() | kinds.CycleRecovered():
                tick = f"{event.worker}#{event.tick}"
                left = self._of_tick.pop(tick, None)
                self.checks.require(not left, "no hold outlives its tick", tick, left)
            case _:
                return

    def _open_account(self, event: kinds.AccountOpened) -> None:
        check = self.checks.require
        check(event.account not in self.accounts, "an account opens once", event.account)
        check(event.settled == 0, "an account opens empty", event.account, event.settled)
        unit = Unit(event.account.rpartition("/")[2])
        self.accounts[event.account] = Account(event.account, unit, event.limit_amount)

    def _place(self, recorded: Recorded, event: kinds.HoldPlaced) -> None:
        check = self.checks.require
        held = Amounts(cost=event.cost, tokens=event.tokens, actions=event.actions)
        now_s = self.clock.monotonic()
        hold = Hold(event.hold, event.what, event.accounts, held, now_s)
        self._check_accounts(recorded, event)
        check(hold.id not in self._open, "a hold is placed once", hold.id)
        for account in self._move(hold.accounts, held=held):
            used, allowed = account.settled + account.held, account.limit
            is_free = held.of(account.unit) == 0
            check(is_free or used <= allowed, "settled + held <= limit", account, hold.id)
            self._check_day(account.id)
        self._open[hold.id] = hold
        self._of_tag[hold.tag] = hold
        self._of_tick.setdefault(recorded.origin.correlation_id, set()).add(hold.id)

    def _check_accounts(self, recorded: Recorded, event: kinds.HoldPlaced) -> None:
        worker = recorded.origin.correlation_id.rpartition("#")[0]
        call = Call(
            worker=worker,
            session_id=recorded.session_id,
            model=event.model,
            identity=Identity(
                org=event.org or None, team=event.team or None, user=event.user or None
            ),
            conversation=event.conversation,
        )
        on = [template for template in self._templates if template.is_on(call)]
        named = [
            account
            for template in on
            for account in event.accounts
            if template.names(account, call)
        ]
        rule = "a hold is on every account of its call"
        self.checks.require(sorted(named) == sorted(event.accounts), rule, event.hold, named)
        self.checks.require(len(named) == len(on), rule, event.hold, event.accounts)

    def _check_day(self, account_id: str) -> None:
        if account_id.startswith("system/day/") and account_id.endswith("/micro_usd"):
            day = account_id.split("/")[2]
            self.checks.require(day >= self._day, "the spend day never goes back", self._day, day)
            self._day = day

    def _settle(self, event: kinds.HoldSettled) -> None:
        hold = self._end(event.hold)
        actual = Amounts(cost=event.cost, tokens=event.tokens, actions=event.actions)
        rule = "a settled hold is at what its provider said"
        self.checks.require(actual == hold.told, rule, hold, actual)
        self._conclude(hold, actual)

    def _forfeit(self, event: kinds.HoldForfeited) -> None:
        hold = self._end(event.hold)
        actual = Amounts(cost=event.cost, tokens=event.tokens, actions=event.actions)
        check = self.checks.require
        check(actual == hold.held, "a forfeited hold is kept whole", hold, actual)
        is_excused = self.troubled_s >= hold.placed_s
        check(hold.told is None or is_excused, "what is known is not forfeited", hold)
        self.forfeited[hold.id] = hold
        self._conclude(hold, actual)

    def _release(self, event: kinds.HoldReleased) -> None:
        hold = self._end(event.hold)
        self.checks.require(hold.billed == _NOTHING, "what was billed is not released", hold)
        self._conclude(hold, _NOTHING)

    def _end(self, hold_id: str) -> Hold:
        hold = self._open.pop(hold_id, None)
        self.checks.require(hold is not None, "a hold ends once", hold_id)
        assert hold is not None, hold_id
        tick = hold_id.rpartition(".")[0]
        self._of_tick.get(tick, set()).discard(hold_id)
        if self._of_tag.get(hold.tag) is hold:
            del self._of_tag[hold.tag]
        hold.is_open = False
        return hold

    def _conclude(self, hold: Hold, actual: Amounts) -> None:
        hold.settled = actual
        for unit in Unit:
            short = hold.billed.of(unit) - hold.slack.of(unit) - actual.of(unit)
            self.checks.require(short <= 0, "ledger >= billed", unit, hold)
        for account in self._move(hold.accounts, held=hold.held, sign=-1, settled=actual):
            used, allowed = account.settled + account.held, account.limit + account.overrun
            self.checks.require(used <= allowed, "an overrun is named", account, hold.id)

    def _reconcile(self, event: kinds.HoldReconciled) -> None:
        hold = self.forfeited.pop(event.hold, None)
        self.checks.require(hold is not None, "only a forfeited hold is reconciled", event)
        assert hold is not None, event
        self._move(hold.accounts, settled=Amounts(cost=event.cost - hold.settled.cost))

    def _overrun(self, event: kinds.AccountOverrun) -> None:
        account = self.accounts[event.account]
        self._touched.add(account.id)
        # One that was hidden shows where the next call does not fit under what is left.
        self.checks.require(account.slack > 0, "an overrun is somebody's doing", account, event)
        account.overrun = max(account.overrun, event.overrun)

    def _move(
        self,
        accounts: Sequence[str],
        *,
        held: Amounts = _NOTHING,
        settled: Amounts = _NOTHING,
        sign: int = 1,
    ) -> list[Account]:
        moved: list[Account] = []
        for account_id in accounts:
            account = self.accounts.get(account_id)
            self.checks.require(account is not None, "an account is opened first", account_id)
            assert account is not None, account_id
            account.held += sign * held.of(account.unit)
            account.settled += settled.of(account.unit)
            moved.append(account)
        self._touched.update(accounts)
        return moved

    def compare(self, disk: Disk) -> None:
        """Compare the rows of the accounts that the last commit has changed with their events."""
        if not self._touched:
            return
        ids = sorted(self._touched)
        self._touched.clear()
        marks = ", ".join("?" * len(ids))
        sql = f"SELECT id, limit_amount, settled, held, overrun FROM accounts WHERE id IN ({marks})"  # noqa: S608 - question marks alone
        for row in disk.query(sql, ids):
            told = self.accounts[str(row[0])]
            expected = (told.id, told.limit, told.settled, told.held, told.overrun)
            self.checks.require(row == expected, "held = sum of open holds", row, expected)

    def follow_refusal(self, refused: Refused) -> None:
        """Check a refusal for a budget: a call that fits is never refused.

        Raises:
            Violation: it would have fitted.
        """
        account = self.accounts.get(getattr(refused.refusal, "account", ""))
        if account is None:
            return
        needed = int(getattr(refused.refusal, "needed", 0))
        free = int(getattr(refused.refusal, "free", 0))
        rule = "no phantom refusal"
        self.checks.require(free == account.free, rule, refused.refusal, account)
        self.checks.require(needed > account.free, rule, refused.refusal, account)
        if refused.least is not None:
            is_short = any(refused.least.of(key.unit) > self._free(key) for key in refused.accounts)
            self.checks.require(is_short, rule, "min_output_tokens fit", refused, account)

    def _free(self, key: AccountKey) -> int:
        account = self.accounts.get(key.id)
        return key.limit_amount if account is None else account.free

    # --- the other side

    def call(self, tag: str, worst: Amounts) -> Hold:
        """Note that a paid call with this tag arrives at whoever does the work.

        Raises:
            Violation: no open hold of its own covers it.
        """
        hold = self._of_tag.get(tag)
        rule = "a paid call runs under a hold"
        self.checks.require(hold is not None and hold.is_open and not hold.is_used, rule, tag, hold)
        assert hold is not None, tag
        for unit in Unit:
            covers = worst.of(unit) <= hold.held.of(unit)
            self.checks.require(covers, "a hold covers the worst case", hold, worst)
        hold.is_used = True
        return hold

    def bill(self, hold: Hold, billed: Amounts, *, will_tell: Amounts | None) -> None:
        """Put a call on the invoice; `will_tell` is the usage that its answer is going to say.

        Raises:
            Violation: a cap is broken.
        """
        known = _least(hold.held, will_tell or hold.held)
        hold.billed = billed
        hold.slack = _above(billed, known)
        for account_id in hold.accounts:
            account = self.accounts[account_id]
            account.billed += billed.of(account.unit)
            account.slack += max(
                hold.slack.of(account.unit),
                _above(will_tell or _NOTHING, hold.held).of(account.unit),
            )
            is_under = account.billed <= account.limit + account.slack
            self.checks.require(is_under, "billed <= cap", account, hold)

    def tell(self, hold: Hold, told: Amounts) -> None:
        """Note that the caller has been told what its call has used."""
        hold.told = told

    @property
    def open_holds(self) -> list[str]:
        return list(self._open)

    def days(self) -> list[Account]:
        """Return the daily cap's account of each day, in their order."""
        return [
            account
            for name, account in sorted(self.accounts.items())
            if name.startswith("system/day/") and account.unit is Unit.MICRO_USD
        ]


def _least(first: Amounts, second: Amounts) -> Amounts:
    return Amounts(
        cost=min(first.cost, second.cost),
        tokens=min(first.tokens, second.tokens),
        actions=min(first.actions, second.actions),
    )


def _above(amounts: Amounts, limit: Amounts) -> Amounts:
    return Amounts(
        cost=max(amounts.cost - limit.cost, 0),
        tokens=max(amounts.tokens - limit.tokens, 0),
        actions=max(amounts.actions - limit.actions, 0),
    )
