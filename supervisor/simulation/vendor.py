"""Whoever is paid: what arrives there, what it bills, and what it says of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from supervisor.ledger.accounts import Amounts
from supervisor.simulation.checks import Violation
from supervisor.simulation.fortune import Fortune
from supervisor.simulation.money_rules import Hold, MoneyRules
from supervisor.simulation.store import LifeOver
from supervisor.simulation.work_rules import WorkRules


class Vendor:
    """One life's way to everybody outside who does paid work.

    `fail` takes a violation, `on_call` is told whose call arrives. A life that is over reaches
    nobody any more.
    """

    def __init__(
        self,
        *,
        money: MoneyRules,
        work: WorkRules,
        fortune: Fortune,
        chance: random.Random,
        fail: Callable[[Violation], None],
        on_call: Callable[[str], None],
    ) -> None:
        self.fortune = fortune
        self.chance = chance
        self.work = work
        self._money = money
        self._fail = fail
        self._on_call = on_call
        self._is_over = False

    def cut_off(self) -> None:
        """Let nothing of this life arrive any more."""
        self._is_over = True

    def take(self, worker: str, tag: str, worst: Amounts) -> Hold:
        """Take a call in.

        Raises:
            LifeOver: the process has died before it, or an invariant with it.
        """
        if self._is_over or self.fortune.dies_before_call():
            raise LifeOver
        with self._failing():
            self._on_call(worker)
            self.work.check_call(worker)
            return self._money.call(tag, worst)

    def bill(self, hold: Hold, billed: Amounts, *, will_tell: Amounts | None) -> None:
        """Do the work and bill it.

        Raises:
            LifeOver: the process has died before it could hear of that.
        """
        with self._failing():
            self._money.bill(hold, billed, will_tell=will_tell)
        if self.fortune.dies_in_call():
            raise LifeOver

    def tell(self, hold: Hold, told: Amounts) -> None:
        """Answer with what was used."""
        if self._is_over:
            raise LifeOver
        self._money.tell(hold, told)

    def check_state(self, worker: str, state: int) -> None:
        """Check what a worker finds in its state.

        Raises:
            LifeOver: it is not what it has left, or nobody is there any more.
        """
        if self._is_over:
            raise LifeOver
        with self._failing():
            self.work.begin_work(worker, state)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except Violation as violation:
            self._fail(violation)
            raise LifeOver from violation
