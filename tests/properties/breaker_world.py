"""The product's transactions around breakers, called as a daemon's ticks and calls call them."""

from __future__ import annotations

import msgspec

from supervisor.clock import to_us
from supervisor.errors import Refusal
from supervisor.governance.breaker import Breaker, BreakerRules, Cause, all_breakers
from supervisor.governance.breaker_commands import CloseBreaker, ClosedBreaker, close_breaker
from supervisor.governance.breakers import Fault, trip
from supervisor.governance.rotation import system_journal
from supervisor.ledger.accounts import Amounts
from supervisor.ledger.holds import Hold, HoldRequest, HoldStatus
from supervisor.ledger.pricing import FreePrice
from supervisor.outcome import Outcome
from supervisor.storage.database import Transaction
from supervisor.worker.placing import (
    AskAsProbe,
    Bid,
    Granted,
    HoldEnd,
    WaitForProbe,
    end_holds,
    place,
)
from supervisor.worker.records import Ending, Skipped, Started, finish_tick
from tests.properties.breaker_model import (
    COOLDOWN_MAX_S,
    COOLDOWN_S,
    FAILURES_MAX,
    ModelCall,
    Verdict,
)
from tests.properties.session_world import World

REPEATS_MAX = 3
RULES = BreakerRules(
    failures_max=FAILURES_MAX["worker"],
    provider_failures_max=FAILURES_MAX["provider"],
    system_failures_max=FAILURES_MAX["system"],
    repeats_max=REPEATS_MAX,
    cooldown_s=COOLDOWN_S,
    cooldown_max_s=COOLDOWN_MAX_S,
)
HELD = Amounts(cost=7, tokens=3, actions=1)
_DEAR = Amounts(cost=8, tokens=3, actions=1)
_FAULTS: dict[Verdict, Fault] = {"failed": Fault.PROVIDER, "turned down": Fault.CALL}


class BreakerWorld(World):
    """A daemon whose calls go to several providers, and end in every way."""

    watched: set[str]

    def begin(self, worker: str) -> Started | Skipped:
        begun = super().begin(worker)
        if isinstance(begun, Started) and begun.is_watched:
            self.watched.add(worker)
        return begun

    def ask(
        self, call: ModelCall, *, is_cheapest: bool
    ) -> Granted | AskAsProbe | WaitForProbe | Refusal:
        """Ask for a call, of the cheapest model or of another, as the tick's own code does."""
        worker, tick = call.tick
        request = HoldRequest(
            id=call.hold,
            boot_id=self.boot_id,
            worker=worker,
            session_id=self.running[worker].session.id,
            tick=tick,
            model=f"{call.provider}/m" if call.provider else "",
            what="test",
            amounts=HELD,
        )
        bid = _bid(is_cheapest=is_cheapest) if call.provider else None
        origin = self.origin(request.id)
        placed = self.store.write(place, request, bid, self.budgets, origin, call.inside)
        if isinstance(placed, Refusal) or (isinstance(placed, Granted) and placed.is_watched):
            self.watched.add(worker)
        if isinstance(placed, Granted) and placed.is_watched:
            self.watched.add(placed.hold.id)
        return placed

    def end(self, hold: Hold, verdict: Verdict, *, is_dear: bool, repeats: int) -> None:
        """End a call: settled, released as its failure was known at once, or forfeited."""
        status = {"good": HoldStatus.SETTLED, "turned down": HoldStatus.RELEASED}
        end = HoldEnd(
            hold=hold,
            status=status.get(verdict, HoldStatus.FORFEITED),
            origin=self.origin(hold.id),
            actual=_DEAR if is_dear else HELD,
            why="" if verdict == "good" else "a test",
            fault=_FAULTS.get(verdict, Fault.NONE),
            repeats=repeats,
            is_watched=hold.id in self.watched,
        )
        self.store.write(end_holds, hold.session_id, [end], RULES)

    def finish_as(self, worker: str, outcome: Outcome, *, is_crash: bool) -> None:
        """End a worker's tick."""
        started = self.running.pop(worker)
        ending = Ending(
            worker=worker,
            tick=started.tick,
            session_id=started.session.id,
            outcome=outcome,
            duration_s=0.5,
            checkpoint_every=5,
            is_crash=is_crash,
            breakers=RULES,
            is_watched=worker in self.watched,
        )
        self.watched.discard(worker)
        assert self.store.write(finish_tick, ending, self.origin(actor=f"worker:{worker}"))

    def trip(self, name: str) -> bool:
        """Open a breaker as the watch of spending does, and return whether that changed it."""

        def open_it(tx: Transaction) -> bool:
            with system_journal(tx, self.zone, self.origin()) as journal:
                return trip(tx, journal, name, RULES, cause=Cause.RATE, why="a test")

        return self.store.write(open_it)

    def close_by_hand(self, name: str, command_id: str) -> ClosedBreaker:
        command = CloseBreaker(name=name, why="mended")
        origin = self.origin(command_id, "ann")
        return self.store.write(close_breaker, command, origin, self.zone)

    def breakers(self) -> dict[str, Breaker]:
        return {one.name: one for one in self.store.write(all_breakers)}

    def now_s(self) -> int:
        """Return the wall clock in whole seconds, as the model counts them."""
        return to_us(self.clock.at) // 1_000_000


def _bid(*, is_cheapest: bool) -> Bid:
    bid = Bid(
        access=None,
        price=FreePrice(),
        input_tokens_max=1,
        output_tokens_max=2,
        output_tokens_min=1,
    )
    return msgspec.structs.replace(bid, is_cheapest=is_cheapest)
