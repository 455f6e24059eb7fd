"""Queues of two daemons against a model: claims, ends, deaths, late words, people, odd clocks."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from supervisor.errors import CommandConflict, IllegalMove, KillSwitchEngaged
from supervisor.jobs.effects import Effect
from supervisor.jobs.endings import history_of
from supervisor.jobs.job import JobRequest
from supervisor.worker.records import Skipped
from tests.conftest import START
from tests.properties.effort import effort
from tests.properties.job_inputs import (
    a_delay,
    a_job,
    a_pick,
    a_queue,
    a_side,
    a_worker,
    an_end,
    request_of,
    spans,
)
from tests.properties.job_model import End, How, JobModel, ModelJob
from tests.properties.job_world import SIDES, WORKERS, Hand, JobWorld
from tests.properties.stores import Memory, Store

pytestmark = pytest.mark.timeout(3_600)


class JobsMachine(RuleBasedStateMachine):
    """Every step is one of the product's transactions, by one of two daemons or by a person."""

    def __init__(self) -> None:
        super().__init__()
        self.model = JobModel()
        self.seen = START
        self.killed: set[str] = set()
        self.buried: set[str] = set()
        self.reported: dict[str, int] = {}
        self.boots: dict[int, str] = {}
        self.beats: dict[int, int] = {}
        self.ticks: dict[tuple[str, int], str] = {}
        self.effects: dict[tuple[str, str], Effect] = {}

    def opened(self) -> Store:
        return Memory()

    @initialize(jobs=st.lists(a_job, min_size=1, max_size=6))
    def begin(self, jobs: list[JobRequest]) -> None:
        self.world = JobWorld(self.opened(), START)
        for job in jobs:
            self.enqueue(job, 0)

    # --- putting jobs in

    @rule(job=a_job, delay=a_delay)
    def enqueue(self, job: JobRequest, delay: int) -> None:
        run_at = self.world.now + delay if delay else 0
        request = msgspec.structs.replace(job, run_at=run_at)
        if self._is_conflict(request):
            with pytest.raises(CommandConflict, match="another payload"):
                self.world.enqueue(request)
            return
        enqueued = self.world.enqueue(request)
        assert enqueued.id == request.id
        assert enqueued.is_new == self._enqueue(request)

    def _is_conflict(self, request: JobRequest) -> bool:
        known = self.model.jobs.get(request.id)
        return known is not None and known.payload != request.payload

    def _enqueue(self, request: JobRequest) -> bool:
        job = ModelJob(
            number=len(self.model.jobs),
            queue=request.queue,
            payload=request.payload,
            priority=request.priority,
            run_at=request.run_at,
            attempts_max=request.attempts_max,
            state="queued",
        )
        return self.model.enqueue(request.id, job, self.world.now)

    # --- taking them out

    @precondition(lambda self: len(self.world.hands) < len(WORKERS))
    @rule(pick=a_pick, queue=a_queue, most=st.integers(1, 4))
    def claim(self, pick: int, queue: str, most: int) -> None:
        free = [worker for worker in WORKERS if worker not in self.world.hands]
        worker = free[pick % len(free)]
        due = self.model.next_ones(queue, self.world.now, most)
        hand = self.world.claim(worker, queue, most)
        if not due:
            assert hand is None, "no job is due, and yet there is a tick"
            return
        assert hand is not None, f"{due} are due"
        if isinstance(hand, Skipped):
            is_killed = isinstance(hand.refusal, KillSwitchEngaged)
            assert is_killed == (worker in self.killed), hand.refusal
            assert is_killed or self.world.clock.at < self.seen, hand.refusal
            return
        assert worker not in self.killed
        assert [one.id for one in hand.claimed.claim.jobs] == due
        self.model.claim(due, hand.token)
        self.reported[worker] = 0
        self.boots[hand.token], self.beats[hand.token] = hand.boot_id, 0
        self.ticks[worker, hand.names.tick] = hand.boot_id

    @precondition(lambda self: self.world.hands)
    @rule(
        pick=a_pick,
        ends=st.lists(an_end, max_size=4),
        is_last=st.booleans(),
        is_repeated=st.booleans(),
        wanted=st.none() | st.tuples(st.integers(0, 12), st.integers(0, 1)),
    )
    def report(
        self,
        pick: int,
        ends: list[tuple[How, int]],
        is_last: bool,
        is_repeated: bool,
        wanted: tuple[int, int] | None,
    ) -> None:
        """End the next jobs in a worker's hand, and its tick with the last of them."""
        worker, hand = self._some_hand(pick)
        first = self.reported[worker]
        jobs = [one.id for one in hand.claimed.claim.jobs][first : first + len(ends)]
        self.reported[worker] += len(jobs)
        told = [End(job=job, how=how, delay=d) for job, (how, d) in zip(jobs, ends, strict=False)]
        requests = [] if wanted is None else [request_of("r", *wanted)]
        if not told or told[-1].how != "done":
            requests = []
        is_held = self._report(hand, told, requests)
        tell = self.world.finish if is_last else self.world.end_some
        assert tell(hand, told, requests) == is_held, "a late word is refused by its token"
        if is_repeated and is_held:
            assert tell(hand, told, requests), "the same again, as its answer was lost"
        if is_last:
            self.model.let_go(hand.token, self.world.now)
            self.ticks[worker, hand.names.tick] = ""
            del self.world.hands[worker]

    def _some_hand(self, pick: int) -> tuple[str, Hand]:
        hands = list(self.world.hands.items())
        return hands[pick % len(hands)]

    def _report(self, hand: Hand, told: list[End], requests: list[JobRequest]) -> bool:
        if hand.token not in self.model.claims:
            return False
        for request in requests:
            if self._is_conflict(request):
                told = [*told[:-1], End(job=told[-1].job, how="permanent")]
            else:
                self._enqueue(request)
        return self.model.end(hand.token, told, self.world.now)

    # --- leases and lives

    @precondition(lambda self: self.model.claims)
    @rule(side=a_side)
    def renew(self, side: str) -> None:
        boot_id = self.world.lives[side].boot_id
        own = {token for token in self.model.claims if self.boots[token] == boot_id}
        assert self.world.renew(side) == own, "it learns which of its claims it still has"
        for token in own:
            self.beats[token] += 1

    @precondition(lambda self: self.model.claims)
    @rule(pick=a_pick, is_renewed=st.booleans())
    def take_a_silent_claim(self, pick: int, is_renewed: bool) -> None:
        claims = self.world.claims()
        held = claims[pick % len(claims)]
        if is_renewed:
            living = [s for s in SIDES if self.world.lives[s].boot_id == held.boot_id]
            for side in living:
                self.renew(side)
        self.world.take_silent(held)
        if self.beats[held.token] == held.beats:
            self.model.take_away(held.token, self.world.now)

    @precondition(lambda self: self.world.hands)
    @rule(side=a_side)
    def crash_and_start(self, side: str) -> None:
        dead = self.world.lives[side].boot_id
        self.buried.discard(dead)
        self.world.start(side)
        self._recovered(side)

    @precondition(lambda self: self.world.hands)
    @rule(side=a_side, buries=st.booleans())
    def recover(self, side: str, buries: bool) -> None:
        """Look for what the dead have left; the other daemon may be taken for one of them."""
        self.world.recover(side, buries=buries)
        if buries:
            self.buried.add(self.world.lives[SIDES[side == SIDES[0]]].boot_id)
        self._recovered(side)
        found = self.world.recover(side)
        assert (found.claims, found.ticks, found.effects) == (0, 0, 0), "once is enough"

    def _recovered(self, side: str) -> None:
        own = self.world.lives[side].boot_id
        living = {own} | {life.boot_id for life in self.world.lives.values()} - self.buried
        living.add(own)
        for token in sorted(self.model.claims):
            if self.boots[token] not in living:
                self.model.take_away(token, self.world.now)
        for tick, boot_id in self.ticks.items():
            if boot_id not in living:
                self.ticks[tick] = ""
        for key, effect in self.effects.items():
            if effect.state == "taken" and not self.ticks[effect.worker, effect.tick]:
                self._turn(key, "unknown")

    @precondition(lambda self: self.buried)
    @rule(side=a_side)
    def beat(self, side: str) -> None:
        self.world.beat(side)
        self.buried.discard(self.world.lives[side].boot_id)

    @rule(seconds=spans)
    def move_clock(self, seconds: int) -> None:
        self.seen = max(self.seen, self.world.clock.at)
        self.world.clock.at += timedelta(seconds=seconds)

    # --- outside effects

    @precondition(lambda self: self.world.hands.keys() - self.killed)
    @rule(pick=a_pick, key=st.sampled_from(["mail", "post", "text"]))
    def take_an_effect(self, pick: int, key: str) -> None:
        worker, hand = self._some_hand(pick)
        if worker in self.killed:
            return
        jobs = hand.claimed.claim.jobs
        job = jobs[min(self.reported[worker], len(jobs) - 1)].id
        scope = f"queue:{hand.names.queue}"
        first = self.effects.get((scope, key))
        found = self.world.take_effect(hand, job, key)
        assert found == first, "who comes second is told of the first"
        if first is None:
            taken = self.world.effect(scope, key)
            assert taken is not None
            assert (taken.state, taken.worker, taken.tick) == ("taken", worker, hand.names.tick)
            self.effects[scope, key] = taken
            if self.ticks[worker, hand.names.tick] == "":
                # Its daemon was taken for dead: the next recovery calls this unknown, too.
                assert hand.boot_id in self.buried or hand.token not in self.model.claims

    @precondition(lambda self: self.effects and self.world.hands)
    @rule(pick=a_pick, how=st.sampled_from(["keep", "release", "lose"]))
    def end_an_effect(self, pick: int, how: str) -> None:
        own = [
            (key, effect)
            for key, effect in self.effects.items()
            if (hand := self.world.hands.get(effect.worker)) is not None
            and hand.names.tick == effect.tick
        ]
        if not own:
            return
        key, effect = own[pick % len(own)]
        as_taken = msgspec.structs.replace(effect, state="taken")
        self.world.end_effect(self.world.hands[effect.worker], as_taken, how)
        if effect.state != "taken":
            return
        if how == "release":
            del self.effects[key]
        else:
            self._turn(key, "done" if how == "keep" else "unknown")

    def _turn(self, key: tuple[str, str], state: str) -> None:
        result = '"done"' if state == "done" else self.effects[key].result
        self.effects[key] = msgspec.structs.replace(self.effects[key], state=state, result=result)

    # --- people

    def _in_doubt(self, job: str = "") -> list[tuple[str, str]]:
        unknown = (item for item in self.effects.items() if item[1].state == "unknown")
        return [key for key, effect in unknown if job in ("", effect.job)]

    def _some_job(self, pick: int, state: str = "") -> str:
        names = [name for name, job in self.model.jobs.items() if job.state == state]
        names = names or list(self.model.jobs)
        return names[pick % len(names)]

    @rule(
        pick=a_pick,
        what=st.sampled_from(["requeue", "cancel", "discard"]),
        state=st.sampled_from(["", "dead", "running", "scheduled"]),
    )
    def decide(self, pick: int, what: str, state: str) -> None:
        job = self._some_job(pick, state)
        after = self.model.decide(what, job, self.world.now)
        if after is None:
            with pytest.raises(IllegalMove, match="nothing was done"):
                self.world.decide(what, job)
        else:
            assert self.world.decide(what, job).state == after

    @rule(pick=a_pick, is_done=st.booleans())
    def resolve(self, pick: int, is_done: bool) -> None:
        job = self._some_job(pick, "unknown")
        in_doubt = self._in_doubt(job)
        now = self.world.now
        state = self.model.resolve(job, now, is_done=is_done, in_doubt=bool(in_doubt))
        if state is None:
            with pytest.raises(IllegalMove, match="nothing was done"):
                self.world.resolve(job, is_done=is_done)
            return
        assert self.world.resolve(job, is_done=is_done).state == state
        for key in in_doubt:
            self._resolve_effect(key, is_done=is_done)

    def _resolve_effect(self, key: tuple[str, str], *, is_done: bool) -> None:
        if is_done:
            self._turn(key, "done")
            self.effects[key] = msgspec.structs.replace(self.effects[key], result="null")
        else:
            del self.effects[key]

    @precondition(lambda self: self._in_doubt())
    @rule(pick=a_pick, is_done=st.booleans())
    def resolve_an_effect(self, pick: int, is_done: bool) -> None:
        """Say it of an effect by its own name: with the last of them its job goes on."""
        in_doubt = self._in_doubt()
        key = in_doubt[pick % len(in_doubt)]
        job_id = self.effects[key].job
        self.world.resolve("/".join(key), is_done=is_done)
        self._resolve_effect(key, is_done=is_done)
        job = self.model.jobs[job_id]
        if job.state == "unknown" and not self._in_doubt(job_id):
            job.wait(self.world.now, self.world.now)

    @rule(worker=a_worker, is_engaged=st.booleans())
    def kill_or_release(self, worker: str, is_engaged: bool) -> None:
        self.world.kill(worker, is_engaged=is_engaged)
        (self.killed.add if is_engaged else self.killed.discard)(worker)

    # --- what must hold at any time

    @invariant()
    def every_job_is_where_the_model_has_it(self) -> None:
        rows = self.world.jobs()
        assert rows.keys() == self.model.jobs.keys()
        for job_id, job in self.model.jobs.items():
            row = rows[job_id]
            stored = (row.state, row.attempts, row.token, row.run_at, row.is_cancel_asked)
            known = (job.state, job.attempts, job.token, job.run_at, job.is_cancel_asked)
            assert stored == known, f"{job_id}: {stored} is stored, {known} is right"
            assert [one.attempt for one in history_of(row.history)] == job.failures
            assert 0 <= job.attempts <= job.attempts_max, f"{job_id} has {job.attempts} attempts"
            assert job.completions == (job.state == "done"), f"{job_id}: {job.completions} times"

    @invariant()
    def what_runs_is_claimed_and_what_is_counted_is_there(self) -> None:
        held = {one.token: one.beats for one in self.world.claims()}
        assert held == {token: self.beats[token] for token in self.model.claims}
        running = {job.token for job in self.model.jobs.values() if job.state == "running"}
        assert running <= held.keys()
        kept, real = self.world.counts()
        assert kept == real

    @invariant()
    def effects_are_as_their_ticks_have_left_them(self) -> None:
        for (scope, key), effect in self.effects.items():
            assert self.world.effect(scope, key) == effect

    @rule()
    def prove_the_record(self) -> None:
        self.world.prove()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.prove_the_record()
            self.world.store.close()


TestJobs = JobsMachine.TestCase
TestJobs.settings = effort(examples=200, steps=40)
