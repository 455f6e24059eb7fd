"""What must be true of jobs and their effects, by the store and by the witness outside of it."""

from __future__ import annotations

import json
from collections import Counter

from tests.torture.job_site import QUEUE
from tests.torture.job_witness import Witness
from tests.torture.job_workers import ITEMS
from tests.torture.looking import Look

_OVER = ("done", "dead")


def check_let_go(look: Look, boot_id: str, *, peer: str = "") -> None:
    """Assert that a life which has begun a tick had taken all jobs from those before it."""
    held = look.rows(
        "SELECT token, worker FROM job_claims WHERE boot_id <> :boot AND boot_id <> :peer",
        boot=boot_id,
        peer=peer,
    )
    assert held == [], f"dead lives still have jobs: {held}"


def check_nothing_in_hand(look: Look, boot_id: str) -> None:
    """Assert that a life which was stopped cleanly has finished its jobs or given them back."""
    held = look.rows("SELECT token, worker FROM job_claims WHERE boot_id = :boot", boot=boot_id)
    assert held == [], f"a life that was stopped still has jobs: {held}"


def check_effects(look: Look, effects: Counter[str]) -> None:
    """Assert that no effect was done twice, and none whose key the store does not have.

    `effects` are those that the witness had seen before that look.
    """
    twice = {name: times for name, times in effects.items() if times > 1}
    assert not twice, f"effects that were done again: {twice}"
    keys = set(look.names("SELECT effect_key FROM effects"))
    unkept = sorted(effects.keys() - keys)
    assert not unkept, f"effects that were done with no key in the store: {unkept[:5]}"


def check_attempts(look: Look) -> None:
    """Assert that each job has used up an attempt for each failure it remembers, and its own end's.

    An attempt that a dead process has used up is remembered as a failure, too; one that was given
    back, as by SIGTERM, is not used up.
    """
    for key, state, attempts, attempts_max, history in look.rows(
        "SELECT job_key, state, attempts, attempts_max, history FROM jobs"
    ):
        used, most = int(str(attempts)), int(str(attempts_max))
        failures = json.loads(str(history))
        numbers = [failure["attempt"] for failure in failures]
        own = int(state in ("done", "running"))
        assert used == len(failures) + own, f"{key} is {state} with {used} attempts: {failures}"
        assert numbers == list(range(1, len(numbers) + 1)), f"{key} has failed in {numbers}"
        assert used <= most, f"{key} has used up {used} of {most} attempts"


def check_states(look: Look) -> None:
    """Assert that what is counted is what is there, and that only a claim has running jobs."""
    real = look.rows("SELECT queue, state, count(*) FROM jobs GROUP BY queue, state")
    kept = look.rows("SELECT queue, state, jobs FROM job_counts WHERE jobs <> 0")
    assert sorted(map(str, real)) == sorted(map(str, kept)), f"{real} are there, counted {kept}"
    stuck = look.names(
        "SELECT job_key FROM jobs WHERE state = 'running'"
        " AND token NOT IN (SELECT token FROM job_claims)"
    )
    assert stuck == [], f"jobs that run in no claim: {stuck}"


def unknown_jobs(look: Look) -> list[tuple[str, str]]:
    """Return the id and the key of each job that waits for a person."""
    rows = look.rows("SELECT id, job_key FROM jobs WHERE state = 'unknown'")
    return [(str(job_id), str(key)) for job_id, key in rows]


def left_to_do(look: Look) -> int:
    """Return how many jobs have not ended."""
    return look.number("SELECT count(*) FROM jobs WHERE state NOT IN ('done', 'dead')")


def check_ended(look: Look, witness: Witness, names: set[str]) -> Counter[str]:
    """Assert, of a queue that is worked off, that each job came to its own end; return how many.

    Raises:
        AssertionError: a job was lost, or made twice, or has not ended as its kind must; an effect
            is missing; what a done job left is not there, or what another left is.
    """
    ends: Counter[str] = Counter()
    kinds: dict[str, tuple[str, str]] = {}
    for key, state, payload, attempts, most in look.rows(
        "SELECT job_key, state, payload, attempts, attempts_max FROM jobs"
    ):
        kind = str(json.loads(str(payload))["kind"])
        kinds[str(key)] = (kind, str(state))
        assert state in _OVER, f"{key} is {state}"
        assert (state == "dead") >= (kind == "hopeless"), f"{key} is hopeless, and {state}"
        used_up = attempts == most and kind == "frail"
        assert state == "done" or used_up or kind == "hopeless", f"{key} died early"
        ends[str(state)] += 1
    children = {name for name in kinds if name.endswith("-child")}
    done_parents = {n for n, end in kinds.items() if end == ("parent", "done")}
    assert children == {f"{name}-child" for name in done_parents}, "a child of a job that failed"
    assert kinds.keys() - children == names, "jobs were lost, or came from nowhere"
    _check_witness(witness, {name for name, (_, state) in kinds.items() if state == "done"})
    long_ones = sum(kind == "long" for kind, _ in kinds.values())
    _check_left(look, done=ends["done"], items=long_ones * ITEMS)
    return ends


def _check_witness(witness: Witness, done: set[str]) -> None:
    effects, finished = witness.counted("effect"), witness.counted("end")
    undone = sorted(name for name in done if effects[name] != 1)
    assert undone == [], f"done without their one effect: {undone[:5]}"
    unfinished = sorted(done - finished.keys())
    assert unfinished == [], f"done, and their code never came to its end: {unfinished[:5]}"


def _check_left(look: Look, *, done: int, items: int) -> None:
    """Assert that the workers' states count each done job once, and each item of a long one.

    Each end, and each item, is one transaction with the state.
    """
    states = [json.loads(state) for state in look.names("SELECT state FROM workers")]
    for what, number in (("done", done), ("items", items)):
        counted = sum(state.get(what, 0) for state in states)
        assert counted == number, f"the workers have counted {counted} {what}, not {number}"
    completed: Counter[str] = Counter()
    for payload in look.names("SELECT payload FROM events WHERE kind = 'job_completed'"):
        completed.update(json.loads(payload)["jobs"])
    twice = [job for job, times in completed.items() if times > 1]
    assert twice == [], f"completed twice: {twice[:5]}"
    assert completed.total() == done, f"{completed.total()} completions of {done} done jobs"
    open_claims = look.rows("SELECT token FROM job_claims WHERE queue = :queue", queue=QUEUE)
    assert open_claims == [], f"claims that are still open: {open_claims}"
