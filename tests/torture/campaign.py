"""One store from its first cent to its last, its daemon killed again and again."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.e2e.billing_server import BillingServer
from tests.torture.breaker_checks import BreakerStory
from tests.torture.fates import (
    Dealt,
    Fate,
    Fates,
    function_of,
    is_beginning,
    is_late,
    needs_clean_stop,
)
from tests.torture.kill_rounds import KillRound
from tests.torture.life import Life, Living, Stimulus
from tests.torture.life_checks import (
    boot_of,
    check_audit,
    check_digests,
    check_recovered,
    check_ticks,
    check_windows,
    resumed_s,
)
from tests.torture.money_checks import (
    are_spent,
    check_money,
    check_refusals,
    check_spent,
    free_micro_usd,
)
from tests.torture.record import Record
from tests.torture.site import WINDOW_S, TorturedSite
from tests.unit.agents.git_repository import GitRepository

#: Below this a campaign goes to its end: the dear model's calls no longer fit.
_NEARLY_SPENT_MICRO_USD = 60_000
_AUDIT_EVERY = 4
_KILL_ROUND_EVERY = 11
_COMMIT_CHANCE = 0.4
_LIVES_MAX = 60
_LATE_LIVES = 3
_EARLY_S = 0.3
_SPENT_WITHIN_S = 60.0
#: A life that is told to end, and does not die of it, ends by itself.
_LAST = "lifecycle.end_life"
_ENGAGE, _RELEASE = "answers.engage", "kill_switch.release"


class Campaign:
    """Kills the daemon of one site until its cap is spent, and checks it each time."""

    def __init__(
        self,
        site: TorturedSite,
        billing: BillingServer,
        record: Record,
        *,
        dealt: Dealt,
        seed: str,
    ) -> None:
        self.lives = 0
        #: How the last life ended, for a report.
        self.last_fate = self._fate_before = ""
        self._site = site
        self._billing = billing
        self._record = record
        self._chance = random.Random(seed)  # noqa: S311 - chance that can be repeated, no secret
        self._fates = Fates(self._chance, dealt)
        self._repository = GitRepository.init(site.folder.parent / f"{site.name}-repository")
        self._subjects: list[str] = []
        self._breakers = BreakerStory()
        self._commit()
        site.set_up(billing, self._repository.path)

    def run(self, *, is_over: Callable[[], bool]) -> None:
        """Kill until the cap is nearly spent, or `is_over`; then let the rest be spent.

        Raises:
            AssertionError: a promise was broken.
        """
        self._live(self._fates.at_one_of(set(filter(is_beginning, self._points()))))
        while not is_over() and self.lives < _LIVES_MAX and not self._is_nearly_spent():
            if self.lives % _KILL_ROUND_EVERY == _KILL_ROUND_EVERY - 1:
                self._latch_and_kill()
            else:
                self._live(self._fates.deal(self._points()))
        for _ in range(_LATE_LIVES):
            self._live(self._fates.at_one_of(set(filter(is_late, self._points()))))
        self._end()

    def _points(self) -> set[str]:
        return self._record.points_seen()

    def look_around(self) -> None:
        """Live once without a kill, so that every point of a life is passed."""
        living = Living(self._site, self._billing, Fate(by="outside"))
        living.work(lambda: living.life.has_worked)
        KillRound(self._site, self._billing).engage_and_release(living.daemon)
        living.daemon.signal(signal.SIGHUP)
        living.work(lambda: any("session_rotated" in point for point in living.life.seen))
        living.work(lambda: any("checkpoint_created" in point for point in living.life.seen))
        self._stop_cleanly(living)

    def _stop_cleanly(self, living: Living) -> None:
        life = living.end(by=signal.SIGTERM)
        assert life.exit_code == 0, f"SIGTERM: exit {life.exit_code}: {living.said()}"
        self._record.add_points(life)
        self._check(life)

    def _is_nearly_spent(self) -> bool:
        with self._site.looking() as look:
            return free_micro_usd(look) < _NEARLY_SPENT_MICRO_USD

    def _commit(self) -> None:
        subject = f"subject-{len(self._subjects)}-end"
        self._repository.commit(subject)
        self._subjects.append(subject)

    def _live(self, fate: Fate, stimulus: Stimulus | None = None) -> Life:
        """Let a life go to its fate, and check what it leaves."""
        if needs_clean_stop(fate.where):
            self._rest()
        stimulus = stimulus or _stimulus_for(fate)
        if self._chance.random() < _COMMIT_CHANCE:
            self._commit()
        self._billing.script(*self._fates.steps(fate), {"latency_s": 0.01})
        self._fate_before, self.last_fate = self.last_fate, str(fate)
        self.lives += 1
        living = Living(self._site, self._billing, fate)
        life = living.see_through(stimulus)
        is_stopped = life.exit_code == 0 and function_of(fate.where) == _LAST
        assert life.exit_code is None or is_stopped, (
            f"exit {life.exit_code} by itself: {living.said()}"
        )
        if fate.by == "point" and not life.hit:
            self._fates.miss(fate)
        self._record.add_life(life)
        self._check(life)
        return life

    def _rest(self) -> None:
        """Live shortly, and stop cleanly: what is paused is resumed by the next life."""
        self._billing.script({"latency_s": 0.01})
        living = Living(self._site, self._billing, Fate(by="outside"))
        living.work(lambda: any("finish_tick:" in point for point in living.life.seen))
        # The next life has to begin in the same window: after it, there is nothing to resume.
        living.work(lambda: time.time() % WINDOW_S < _EARLY_S)
        self._stop_cleanly(living)

    def _check(self, life: Life) -> None:
        with self._site.looking() as look:
            check_money(look, self._billing)
            check_ticks(look)
            check_windows(look)
            self._breakers.follow(look)
            boot_id = boot_of(look, life)
            if boot_id is not None and life.has_worked:
                check_recovered(look, boot_id)
                seconds = resumed_s(look, life, boot_id)
                if seconds is not None:
                    self._record.add_resume(
                        seconds, life.effort, after=self._fate_before or "nothing: a new store"
                    )
        check_digests(self._site, self._subjects, all_of_them=False)
        if self.lives % _AUDIT_EVERY == 0:
            self._audit()

    def _audit(self) -> None:
        check_audit(self._site)
        with self._site.looking() as look:
            self._record.count("refusals looked at", check_refusals(look))
        self._record.count("audits")

    def _latch_and_kill(self) -> None:
        """Kill the daemon around a kill of its own, and see that it stays latched."""
        scope = self._chance.choice(("system", "system", "worker:fan"))
        self._record.count(f"kills latched ({scope.partition(':')[0]})")
        rounds = KillRound(self._site, self._billing, scope=scope)
        self._live(self._fates.in_function(_ENGAGE, self._points()), rounds.engage)
        rounds.engage_on_store()
        for _ in range(self._chance.randint(1, 2)):
            rounds.check_quiet(self._live(self._fates.at_one_of(self._skips())))
        if self._chance.random() < 0.5:
            self._live(self._fates.in_function(_RELEASE, self._points()), rounds.release)
        rounds.release_on_store()

    def _skips(self) -> set[str]:
        """Return the points of a tick that a gate refuses: a kill does so, too."""
        return {p for p in self._points() if "begin_tick" in p and "cycle_skipped" in p}

    def _end(self) -> None:
        """Let the rest be spent, stop cleanly, and check every cent and every commit."""
        self._billing.script({"latency_s": 0.01})
        self._fate_before, self.last_fate = self.last_fate, "none: it is let spend the rest"
        self.lives += 1
        living = Living(self._site, self._billing, Fate(by="outside"))
        living.work(lambda: living.life.has_worked)
        living.work(self._is_spent, within_s=_SPENT_WITHIN_S)
        living.work(self._is_digested)
        self._stop_cleanly(living)
        with self._site.looking() as look:
            check_spent(look)
        check_digests(self._site, self._subjects, all_of_them=True)
        self._audit()
        self._breakers.check_told(self._site)
        for move, number in self._breakers.moves.items():
            self._record.count(f"{move.replace('_', ' ')}", number)
        self._record.count("campaigns run to refusal")

    def _is_spent(self) -> bool:
        with self._site.looking() as look:
            return are_spent(look)

    def _is_digested(self) -> bool:
        try:
            check_digests(self._site, self._subjects, all_of_them=True)
        except AssertionError:
            return False
        return True


def _stimulus_for(fate: Fate) -> Stimulus | None:
    """Return what makes a daemon pass points that it does not pass by itself."""
    told = {_LAST: signal.SIGTERM, "lifecycle.record_reload": signal.SIGHUP}
    number = told.get(function_of(fate.where))
    return None if number is None else lambda daemon: daemon.signal(number)


def folders_of(site: TorturedSite) -> list[Path]:
    """Return what a campaign has left on disk."""
    return [site.folder, site.folder.parent / f"{site.name}-repository"]
