"""The ledger against a model of plain sums, under any interleaving (architecture.md)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from supervisor.clock import from_us, to_us
from supervisor.errors import BudgetExceeded, CommandConflict
from supervisor.events import kinds
from supervisor.events.log import parse
from supervisor.ledger.holds import Account, Hold, HoldStatus
from tests.properties import known_gaps, wall_clock
from tests.properties.configs import WHO, ZONES, a_config, amounts, spans
from tests.properties.effort import effort
from tests.properties.ledger_model import LedgerModel, LimitKey, ModelHold, Triple, Who, names_of
from tests.properties.ledger_world import MODELS, WORKERS, Till, Torn
from tests.properties.stores import Memory, Store

pytestmark = pytest.mark.timeout(3_600)


class LedgerMachine(RuleBasedStateMachine):
    """Places and ends holds, moves the clock both ways, crashes, and changes limits."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.has_moved = False
        self.removed: set[LimitKey] = set()
        self.named: dict[str, int] = {}
        self.warnings: dict[str, int] = {}

    def opened(self) -> Store:
        return Memory()

    @initialize(zone=st.sampled_from(ZONES), limits=a_config, minutes=st.integers(-300, 300))
    def begin(self, zone: str, limits: Mapping[LimitKey, int], minutes: int) -> None:
        info = ZoneInfo(zone)
        changes = wall_clock.clock_changes(info, 2026) or (datetime(2026, 6, 1, tzinfo=UTC),)
        start = changes[minutes % len(changes)] + timedelta(minutes=minutes)
        self.till = Till(self.opened(), info, limits, start)
        self.model = LedgerModel(info, limits)

    # --- holds

    @rule(
        worker=st.sampled_from(WORKERS),
        model=st.sampled_from(MODELS),
        worst=amounts,
        who=st.sampled_from(WHO),
        is_torn=st.booleans(),
    )
    def reserve(self, worker: str, model: str, worst: Triple, who: Who, is_torn: bool) -> None:
        session = self.till.sessions[worker]
        self.count += 1
        request = self.till.request(
            f"h{self.count}", worker=worker, model=model, amounts=worst, who=who
        )
        if is_torn:
            before = self.till.accounts()
            with pytest.raises(Torn):
                self.till.reserve_and_fail(request)
            assert self.till.accounts() == before
            assert self.till.hold(request.id) is None
            return
        self.model.tick(self.till.clock.at)
        names = names_of(worker, model, who)
        unfit = self.model.unfit(worst, names, session)
        placed = self.till.reserve(request)
        if isinstance(placed, BudgetExceeded):
            if not self.has_moved:
                self._check_refusal(placed, unfit, (names, session), worst)
            return
        assert unfit == [], f"placed, though it does not fit under {unfit}"
        at = from_us(placed.placed_at)
        assert wall_clock.quarter_before(at) == wall_clock.quarter_before(self.model.clock)
        self.model.holds[request.id] = ModelHold(
            worker=worker, session=session, model=model, at=self.model.clock, held=worst, who=who
        )

    def _check_refusal(
        self,
        refusal: BudgetExceeded,
        unfit: list[LimitKey],
        call: tuple[Mapping[str, str], str],
        worst: Triple,
    ) -> None:
        by_account = {self.model.account(key, *call): key for key in unfit}
        assert refusal.account in by_account, f"{refusal}, but {list(by_account)} are short"
        key = by_account[refusal.account]
        settled, held = self.model.balance(key, *call)
        limit = self.model.limits[key]
        needed = worst[["micro_usd", "tokens", "actions"].index(key[2])]
        assert (refusal.needed, refusal.free) == (needed, max(limit - settled - held, 0))
        assert refusal.resets_at == self.model.ends_at(key)
        assert refusal.may_free_up == (settled + needed <= limit)

    def _some_hold(self, pick: int, *statuses: str) -> Hold | None:
        ids = [name for name, hold in self.model.holds.items() if hold.status in statuses]
        return self.till.hold(ids[pick % len(ids)]) if ids else None

    def _turn(self, hold: Hold, status: str, settled: Triple) -> None:
        before = self.model.holds[hold.id]
        self.model.holds[hold.id] = ModelHold(
            worker=before.worker,
            session=before.session,
            model=before.model,
            at=before.at,
            held=before.held,
            who=before.who,
            status=status,
            settled=settled,
        )

    @rule(pick=st.integers(0, 50), actual=amounts)
    def settle(self, pick: int, actual: Triple) -> None:
        hold = self._some_hold(pick, "open")
        if hold is None:
            return
        is_within = self.till.settle(hold, actual)
        held = self.model.holds[hold.id].held
        assert is_within == all(one <= most for one, most in zip(actual, held, strict=True))
        self._turn(hold, "settled", actual)

    @rule(pick=st.integers(0, 50), is_exact=st.booleans())
    def settle_at_its_hold_or_nothing(self, pick: int, is_exact: bool) -> None:
        hold = self._some_hold(pick, "open")
        if hold is None:
            return
        actual = self.model.holds[hold.id].held if is_exact else (0, 0, 0)
        assert self.till.settle(hold, actual)
        self._turn(hold, "settled", actual)

    @rule(pick=st.integers(0, 50))
    def release(self, pick: int) -> None:
        hold = self._some_hold(pick, "open")
        if hold is not None:
            self.till.release(hold)
            self._turn(hold, "released", (0, 0, 0))

    @rule(pick=st.integers(0, 50))
    def forfeit(self, pick: int) -> None:
        hold = self._some_hold(pick, "open")
        if hold is not None:
            self.till.forfeit(hold)
            self._turn(hold, "forfeited", self.model.holds[hold.id].held)

    @rule(pick=st.integers(0, 50), cost=st.integers(0, 60))
    def reconcile(self, pick: int, cost: int) -> None:
        hold = self._some_hold(pick, "forfeited")
        if hold is not None:
            self.till.reconcile(hold, cost)
            _, tokens, actions = self.model.holds[hold.id].settled
            self._turn(hold, "settled", (cost, tokens, actions))

    # --- the same again, and something else with the same id

    @rule(
        pick=st.integers(0, 50),
        field=st.sampled_from(["", "cost", "tokens", "actions", "model", "worker", "user"]),
    )
    def reserve_again(self, pick: int, field: str) -> None:
        first = self._some_hold(pick, "open", "settled", "released", "forfeited")
        if first is None:
            return
        known = self.model.holds[first.id]
        cost, tokens, actions = known.held
        other_model = MODELS[known.model == MODELS[0]]
        other_worker = WORKERS[known.worker == WORKERS[0]]
        is_known_session = self.till.sessions[known.worker] == known.session
        request = self.till.request(
            first.id,
            worker=other_worker if field == "worker" else known.worker,
            model=other_model if field == "model" else known.model,
            amounts=(
                cost + (field == "cost"),
                tokens + (field == "tokens"),
                actions + (field == "actions"),
            ),
            who=_with_another_user(known.who) if field == "user" else known.who,
        )
        before = self.till.accounts()
        if not field and is_known_session:
            # In a later period or under other limits it may open accounts or renew them, which the
            # holds that are open then join; it takes nothing from any, as the invariants say.
            again = self.till.reserve(request)
            assert isinstance(again, Hold)
            assert again.account_ids.startswith(first.account_ids)
            assert msgspec.structs.replace(again, account_ids=first.account_ids) == first
            self.model.tick(self.till.clock.at)
            after = self.till.accounts()
            assert all(after[name].settled >= row.settled for name, row in before.items())
            in_flight = [hold.held for hold in self.model.holds.values() if hold.status == "open"]
            most = max(map(sum, zip(*in_flight, strict=True)), default=0)
            assert all(row.held <= most for row in after.values())
            return
        with pytest.raises(CommandConflict) as told:
            self.till.reserve(request)
        assert f"has {field or 'session_id'} " in str(told.value) or not is_known_session
        assert self.till.accounts() == before

    @rule(pick=st.integers(0, 50), how=st.sampled_from(["settle", "release", "forfeit"]))
    def end_again(self, pick: int, how: str) -> None:
        ended = self._some_hold(pick, "settled", "released", "forfeited")
        if ended is None:
            return
        known = self.model.holds[ended.id]
        before = self.till.accounts()
        is_same = {"settle": "settled", "release": "released", "forfeit": "forfeited"}[how]
        # The caller knows the hold as it was placed; its end it has forgotten.
        if known.status == is_same:
            self._end(ended, how, known.settled)
        else:
            with pytest.raises(CommandConflict, match="has end "):
                self._end(ended, how, known.settled)
        assert self.till.accounts() == before
        assert self.till.hold(ended.id) == ended

    def _end(self, ended: Hold, how: str, actual: Triple) -> None:
        placed = _as_placed(ended)
        match how:
            case "settle":
                self.till.settle(placed, actual)
            case "release":
                self.till.release(placed)
            case _:
                self.till.forfeit(placed)

    @rule(worker=st.sampled_from(WORKERS), unit=st.integers(0, 2))
    def negative_amounts_change_nothing(self, worker: str, unit: int) -> None:
        worst = [1, 1, 1]
        worst[unit] = -5
        cost, tokens, actions = worst
        request = self.till.request(
            "negative", worker=worker, model=MODELS[0], amounts=(cost, tokens, actions)
        )
        before = self.till.accounts()
        try:
            placed = self.till.reserve(request)
        except Exception:  # noqa: BLE001 - a broken CHECK, for which each driver has its own
            assert self.till.accounts() == before
        else:
            assert isinstance(placed, BudgetExceeded), "another amount was refused first"
            self.model.tick(self.till.clock.at)
        assert self.till.hold("negative") is None

    # --- time, sessions, config, crashes

    @rule(span=spans, is_back=st.booleans())
    def move_clock(self, span: timedelta, is_back: bool) -> None:
        moved = self.till.clock.at + (-span if is_back else span)
        if 2010 < moved.year < 2040:
            self.till.clock.at = moved

    @rule(pick=st.integers(0, 3), seconds=st.sampled_from([-1, 0, 1, 1_800, 3_600]))
    def move_clock_to_a_change_of_clocks(self, pick: int, seconds: int) -> None:
        changes = wall_clock.clock_changes(self.till.zone, self.till.clock.at.year)
        if changes:
            self.till.clock.at = changes[pick % len(changes)] + timedelta(seconds=seconds)

    @rule(worker=st.sampled_from(WORKERS))
    def rotate(self, worker: str) -> None:
        is_busy = any(h.worker == worker and h.status == "open" for h in self.model.holds.values())
        # A session is closed at a tick's boundary, where none of its holds is open.
        if not is_busy:
            self.till.rotate(worker)

    def _change(self, limits: Mapping[LimitKey, int]) -> Mapping[LimitKey, int]:
        """Give the model other limits, but for additions that are known to go wrong."""
        if not known_gaps.LIMITS_FOLLOW_THE_LEDGERS_CLOCK:
            # A call that costs nothing brings the ledger's clock to where the wall clock stands.
            self.reserve("a", MODELS[0], (0, 0, 0), WHO[0], is_torn=False)
        before = self.model.limits
        self.removed |= before.keys() - limits.keys()
        is_moving = self._is_moving()
        self.model.limits = {
            key: limit
            for key, limit in limits.items()
            if key in before or not self._goes_wrong(key, is_moving)
        }
        return self.model.limits

    def _is_moving(self) -> bool:
        """Return whether a hold can still change, that an account opened now would not follow."""
        if known_gaps.NEW_LIMITS_FOLLOW_EARLIER_HOLDS:
            return False
        return any(hold.status in ("open", "forfeited") for hold in self.model.holds.values())

    def _goes_wrong(self, key: LimitKey, is_moving: bool) -> bool:
        return (
            (not known_gaps.LIMITS_COME_BACK_WHOLE and key in self.removed)
            or is_moving
            or (not known_gaps.NEW_LIMITS_COUNT_THE_SESSION and key[1] in ("session", "unlimited"))
        )

    @rule(limits=a_config)
    def reload(self, limits: Mapping[LimitKey, int]) -> None:
        self.till.relimit(self._change(limits))

    @rule(limits=a_config | st.none())
    def crash_and_start(self, limits: Mapping[LimitKey, int] | None) -> None:
        if limits is not None:
            self.till.budgets = self.till.budgets_for(self._change(limits))
        self._crash_and_start()

    def _crash_and_start(self) -> None:
        self.till.start()
        for name, hold in list(self.model.holds.items()):
            if hold.status == "open":
                stored = self.till.hold(name)
                assert stored is not None
                self._turn(stored, "forfeited", hold.held)

    @precondition(lambda _: known_gaps.TIMEZONES_CAN_BE_CHANGED)
    @rule(zone=st.sampled_from(ZONES))
    def crash_and_start_elsewhere(self, zone: str) -> None:
        """Start with another timezone: from now on an account may count more, and never less."""
        if self._is_moving():
            return
        self.has_moved = True
        self.till.zone = self.model.zone = ZoneInfo(zone)
        self.till.budgets = self.till.budgets_for(self.model.limits)
        self._crash_and_start()

    # --- what must hold at any time

    @invariant()
    def every_account_holds_what_the_model_says(self) -> None:
        rows = {row.id: row for row in self.till.current()}
        for worker in WORKERS:
            session = self.till.sessions[worker]
            for model, who in itertools.product(MODELS, WHO):
                names = names_of(worker, model, who)
                for key in self.model.keys(names, session):
                    row = rows.get(self.model.account(key, names, session))
                    if row is not None and self._is_as_configured(row, key):
                        told, due = (row.settled, row.held), self.model.balance(key, names, session)
                        assert told == due or self.has_moved, row.id
                        assert sum(told) >= sum(due), row.id

    def _is_as_configured(self, row: Account, key: LimitKey) -> bool:
        """Return whether no call has to renew the account first, as after a reload."""
        ends_at = self.model.ends_at(key)
        resets_at = None if ends_at is None else to_us(ends_at)
        return (row.limit_amount, row.resets_at) == (self.model.limits[key], resets_at)

    @invariant()
    def what_is_above_a_limit_is_named_by_an_event(self) -> None:
        for row in self.till.new_events():
            event = parse(row)
            match event:
                case kinds.AccountOverrun():
                    self.named[event.account] = max(self.named.get(event.account, 0), event.overrun)
                case kinds.AccountLimitChanged():
                    self.named[event.account] = self.warnings[event.account] = 0
                case kinds.BudgetWarning():
                    self.warnings[event.account] = self.warnings.get(event.account, 0) + 1
                    assert self.warnings[event.account] == 1, f"{event.account} is warned of twice"
                case _:
                    pass
        for stored in self.till.accounts().values():
            assert stored.held >= 0
            excess = stored.settled + stored.held - stored.limit_amount
            assert excess <= self.named.get(stored.id, 0), f"{stored.id} is above its limit"

    @rule()
    def prove_the_record(self) -> None:
        report = self.till.audit()
        assert report.findings == (), report.findings

    def teardown(self) -> None:
        if hasattr(self, "till"):
            self.prove_the_record()
            self.till.store.close()


def _as_placed(hold: Hold) -> Hold:
    return msgspec.structs.replace(
        hold, status=HoldStatus.OPEN, cost_settled=0, tokens_settled=0, actions_settled=0, why=""
    )


def _with_another_user(who: Who) -> Who:
    org, team, user, conversation = who
    return (org, team, f"{user}x", conversation)


TestLedger = LedgerMachine.TestCase
TestLedger.settings = effort(examples=120, steps=40)
