"""One queue from its first job to its last, the daemon that works it off killed again and again."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.billing_server import BillingServer, running_billing_server
from tests.e2e.daemon_process import RunningDaemon, Tables
from tests.torture.fates import Dealt, Fate, Fates, is_beginning
from tests.torture.job_checks import (
    check_attempts,
    check_effects,
    check_ended,
    check_let_go,
    check_nothing_in_hand,
    check_states,
    left_to_do,
    unknown_jobs,
)
from tests.torture.job_site import WORKERS, JobSite, deal_job, queue_config
from tests.torture.job_witness import Witness
from tests.torture.life import Life, Living
from tests.torture.life_checks import boot_of, check_audit, check_recovered
from tests.torture.looking import Look
from tests.torture.money_checks import check_money
from tests.torture.record import Record, Violation

_AUDIT_EVERY = 10
_CLEAN_STOP_CHANCE = 0.06
_REPEATED = 3
_PEER_KILLED_EVERY = 5
_RESOLVE_EVERY_S = 0.25
#: Of a queue that nobody kills any more: nothing may be stuck in it.
_DRAINED_WITHIN_S = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many jobs and kills, and from which seed; `has_peer`: a second daemon works beside."""

    jobs: int
    kills: int
    seed: str
    witness: Path
    has_peer: bool = False

    def config(self, billing: BillingServer, database: str, *, prefix: str) -> Tables:
        """Return the config of a daemon; where there are two, they share the workers."""
        workers = WORKERS // 2 if self.has_peer else WORKERS
        names = [f"{prefix}{number}" for number in range(workers)]
        return queue_config(billing, database=database, witness=self.witness, workers=names)

    def __str__(self) -> str:
        peer = " --peer" if self.has_peer else ""
        return f"--jobs {self.jobs} --kills {self.kills} --seed {self.seed}{peer}"


class Peer:
    """The daemon beside the one that is killed, with workers of its own on the same queue."""

    def __init__(self, site: JobSite) -> None:
        self._site = site
        self._daemon: RunningDaemon | None = None

    @property
    def is_running(self) -> bool:
        return self._daemon is not None and self._daemon.is_running

    def start(self) -> None:
        self._start().wait_until_ready()

    def _start(self) -> RunningDaemon:
        """Start it as the other one is, so that it ends with the harness; it reports to nobody."""
        with Path(os.devnull).open("wb") as nobody:
            words = ("--report-to", str(nobody.fileno()))
            self._daemon = self._site.start(*words, descriptors=[nobody.fileno()])
        return self._daemon

    def kill_and_start(self) -> None:
        """Kill it, and start it again while what it had in hand is still there."""
        assert self._daemon is not None, "it was not started"
        self._daemon.kill_9()
        self._start()

    def stop(self) -> None:
        assert self._daemon is not None, "it was not started"
        code = self._daemon.stop()
        assert code == 0, f"SIGTERM: exit {code}: {self._daemon.said()}"

    def boot_of(self, look: Look) -> str:
        """Return the id of its life, empty where it has none yet."""
        if self._daemon is None:
            return ""
        boots = look.names(
            "SELECT boot_id FROM daemons WHERE pid = :pid ORDER BY started_at DESC LIMIT 1",
            pid=self._daemon.pid,
        )
        return boots[0] if boots else ""


class JobCampaign:
    """Enqueues jobs from outside all the while, kills, and checks what each life leaves."""

    def __init__(
        self,
        site: JobSite,
        billing: BillingServer,
        record: Record,
        *,
        plan: Plan,
        peer: Peer | None = None,
    ) -> None:
        self.lives = 0
        self.last_fate = ""
        self._site = site
        self._billing = billing
        self._record = record
        self._jobs = plan.jobs
        self._portion = max(plan.jobs // max(plan.kills, 1), 1)
        self._kills = plan.kills
        self._peer = peer
        self._witness = Witness(plan.witness)
        self._chance = random.Random(plan.seed)  # noqa: S311 - chance that can be repeated, no secret
        self._fates = Fates(self._chance, Dealt())
        self._enqueued: list[str] = []
        self._resolve_at_s = 0.0

    def run(self, tell: Callable[[str], None]) -> None:
        """Live once in peace, then be killed as often as asked, then work off what is left.

        Raises:
            AssertionError: a promise was broken.
        """
        self._live_cleanly()
        if self._peer is not None:
            self._peer.start()
        while self._record.kills < self._kills:
            if self._chance.random() < _CLEAN_STOP_CHANCE:
                self._live_cleanly()
            else:
                self._live(self._fates.deal(self._points()))
            if self.lives % _AUDIT_EVERY == 0:
                self._audit()
                tell(self._record.progress())
        self._end()

    def _points(self) -> set[str]:
        return {point for point in self._record.points_seen() if not is_beginning(point)}

    def _live(self, fate: Fate) -> None:
        """Let a life go to its fate, while others enqueue, and check what it leaves."""
        self._billing.script(*self._fates.steps(fate), {"latency_s": 0.01})
        self.last_fate, before = str(fate), self.last_fate
        if self._peer is not None and self.lives % _PEER_KILLED_EVERY == 0:
            self._peer.kill_and_start()
            self._record.count("kills of the other daemon")
        self.lives += 1
        living = Living(self._site, self._billing, fate)
        life = living.see_through(lambda _: self._enqueue())
        assert life.exit_code is None, f"exit {life.exit_code} by itself: {living.said()}"
        if fate.by == "point" and not life.hit:
            self._fates.miss(fate)
        self._record.add_life(life)
        self._check(life)
        began = self._witness.first_run(life.pid, life.began_at)
        if began is not None:
            self._record.add_resume(began - life.began_at, life.effort, after=before)

    def _live_cleanly(self) -> None:
        """Live until some jobs run, and stop by SIGTERM: what was not done has gone back."""
        self.lives += 1
        self.last_fate = "SIGTERM"
        living = Living(self._site, self._billing, Fate(by="outside"))
        living.work(lambda: living.life.has_worked or living.daemon.is_ready())
        self._enqueue()
        living.work(lambda: any("finish_queue_tick" in point for point in living.life.seen))
        life = living.end(by=signal.SIGTERM)
        assert life.exit_code == 0, f"SIGTERM: exit {life.exit_code}: {living.said()}"
        self._record.add_points(life)
        self._record.count("clean stops")
        self._check(life)
        with self._site.looking() as look:
            check_nothing_in_hand(look, boot_of(look, life) or "")

    def _enqueue(self) -> None:
        """Enqueue the next jobs, and some again that were enqueued before."""
        first = len(self._enqueued)
        numbers = range(first, min(first + self._portion, self._jobs))
        fresh = [deal_job(number) for number in numbers]
        again = [deal_job(number) for number in range(max(first - _REPEATED, 0), first)]
        are_new = self._site.enqueue([*fresh, *again])
        assert are_new == [True] * len(fresh) + [False] * len(again), "a key makes one job"
        self._enqueued += [job.name for job in fresh]

    def _check(self, life: Life) -> None:
        effects = self._witness.counted("effect")
        with self._site.looking() as look:
            if self._peer is None or not self._peer.is_running:
                check_money(look, self._billing)
            check_effects(look, effects)
            check_states(look)
            check_attempts(look)
            boot_id = boot_of(look, life)
            if boot_id is not None and life.has_worked:
                peer = self._peer.boot_of(look) if self._peer else ""
                check_recovered(look, boot_id, peer=peer)
                check_let_go(look, boot_id, peer=peer)

    def _audit(self) -> None:
        check_audit(self._site)
        self._record.count("audits")

    def _end(self) -> None:
        """Work off what is left, looking after what waits for a person, and check all of it."""
        while len(self._enqueued) < self._jobs:
            self._enqueue()
        self.last_fate = "none: it is let work off the rest"
        self.lives += 1
        self._billing.script({"latency_s": 0.01})
        living = Living(self._site, self._billing, Fate(by="outside"))
        living.work(self._is_worked_off, within_s=_DRAINED_WITHIN_S)
        life = living.end(by=signal.SIGTERM)
        assert life.exit_code == 0, f"SIGTERM: exit {life.exit_code}: {living.said()}"
        if self._peer is not None:
            self._peer.stop()
        self._check(life)
        self._audit()
        with self._site.looking() as look:
            ends = check_ended(look, self._witness, set(self._enqueued))
        for state, number in ends.items():
            self._record.count(f"jobs {state}", number)
        self._record.count("effects", self._witness.counted("effect").total())
        runs, done = self._witness.counted("run").total(), self._witness.counted("end")
        self._record.count("runs", runs)
        self._record.count("runs that came to their end", done.total())

    def _is_worked_off(self) -> bool:
        now_s = time.monotonic()
        if now_s < self._resolve_at_s:
            return False
        self._resolve_at_s = now_s + _RESOLVE_EVERY_S
        with self._site.looking() as look:
            in_doubt, left = unknown_jobs(look), left_to_do(look)
        effects = self._witness.counted("effect") if in_doubt else {}
        for job_id, name in in_doubt:
            self._site.resolve(job_id, is_done=name in effects)
            self._record.count("effects in doubt, resolved by a person")
        return left == 0


def torture_jobs(
    folder: Path, *, plan: Plan, database: str, tell: Callable[[str], None] = lambda _: None
) -> Record:
    """Run a campaign in `folder`; it is kept where a promise was broken."""
    record = Record()
    record.add_seed(plan.seed)
    (bills := folder / "bills").mkdir(parents=True)
    site = JobSite(folder / "jobs", database=database)
    with ExitStack() as stack:
        stack.callback(site.end)
        billing = stack.enter_context(running_billing_server(bills))
        site.configure(plan.config(billing, database, prefix="w"))
        peer = None
        if plan.has_peer:
            other = JobSite(folder / "peer", database=database)
            stack.callback(other.end)
            other.configure(plan.config(billing, database, prefix="p"))
            peer = Peer(other)
        campaign = JobCampaign(site, billing, record, plan=plan, peer=peer)
        try:
            campaign.run(tell)
        except Exception as error:  # noqa: BLE001 - the campaign's border: whatever it is, it is told
            what = str(error) if isinstance(error, AssertionError) else repr(error)
            violation = Violation(
                what=what or repr(error),
                fate=campaign.last_fate,
                life=campaign.lives,
                folder=site.folder,
                reproduce=str(plan),
            )
            record.add_violation(violation)
            tell(str(violation))
            return record
    shutil.rmtree(folder)
    return record
