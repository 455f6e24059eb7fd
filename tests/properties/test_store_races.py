"""Callers that meet on one SQLite file: one of them wins, nothing is lost, and no lock shows."""

from __future__ import annotations

import asyncio
import itertools
import json
import multiprocessing
import queue
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from supervisor.governance.audit import audit
from supervisor.governance.rollback import checkpoints_of
from supervisor.ledger.holds import Hold
from supervisor.outcome import Outcome
from supervisor.storage.database import Database, Transaction
from tests.properties.racers import (
    NOW,
    ZONE,
    Answer,
    Course,
    command_lines,
    opened,
    race,
)
from tests.properties.session_world import World
from tests.properties.stores import Driven

CALLERS = 8
TURNS = 4
SPAN_S = 4.0
WAIT_S = 120.0

Target = Callable[..., None]


class EventText(msgspec.Struct, frozen=True):
    """An event as much of it as is counted here."""

    kind: str
    payload: str
    command_id: str


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "supervisor.db")


def prepared(path: str) -> Course:
    """Make a store with a session, forfeited holds and a checkpoint."""
    store = Driven(lambda: opened(path))
    world = World(store, ZONE, NOW)
    world.start({"w": 86_400})
    holds: list[str] = []
    for _ in range(TURNS):
        world.begin("w")
        hold = world.place("w")
        assert isinstance(hold, Hold)
        holds.append(hold.id)
        world.finish("w", Outcome.FAILED)
    (checkpoint, *_) = store.write(checkpoints_of, "w", 10)
    session = world.open_session("w")
    assert session is not None
    store.close()
    return Course(path=path, session=session.id, holds=tuple(holds), checkpoint=checkpoint.id)


def in_threads(target: Target, arguments: list[tuple[Any, ...]]) -> list[Answer]:
    barrier = threading.Barrier(len(arguments))
    answers: queue.Queue[Answer] = queue.Queue()
    threads = [
        threading.Thread(target=target, args=(*given, barrier, answers)) for given in arguments
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    return [answers.get_nowait() for _ in range(answers.qsize())]


def in_processes(target: Target, arguments: list[tuple[Any, ...]], each: int) -> list[Answer]:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(len(arguments))
    answers: multiprocessing.Queue[Answer] = context.Queue()
    processes = [
        context.Process(target=target, args=(*given, barrier, answers)) for given in arguments
    ]
    for process in processes:
        process.start()
    try:
        return [answers.get(timeout=WAIT_S) for _ in range(each * len(processes))]
    finally:
        for process in processes:
            process.join(WAIT_S)
            if process.is_alive():
                process.kill()
        answers.close()


def events_of(path: str) -> list[EventText]:
    async def read() -> list[EventText]:
        database = await opened(path)
        try:
            report = await database.read(audit)
            assert report.findings == (), report.findings
            return await database.read(_events)
        finally:
            await database.close()

    return asyncio.run(read())


def _events(tx: Transaction) -> list[EventText]:
    return list(tx.each("audit.events", EventText, after=0))


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_of_eight_that_race_for_one_change_one_makes_it(path: str, kind: str) -> None:
    course = prepared(path)
    arguments = [(course, number) for number in range(CALLERS)]
    if kind == "threads":
        answers = in_threads(race, arguments)
    else:
        answers = in_processes(race, arguments, each=len(course.races()))
    assert len(answers) == CALLERS * len(course.races())
    for name in course.races():
        _check(name.rpartition("-")[0], [one for one in answers if one.race == name])
    events = events_of(path)
    counts = Counter(event.kind for event in events)
    assert counts["rollback_completed"] == TURNS
    assert counts["hold_reconciled"] == TURNS
    # A rollback pauses, and each turn has a race of pausing as well.
    assert (counts["session_paused"], counts["session_resumed"]) == (2 * TURNS, 2 * TURNS)
    turned = [event.kind for event in events if "worker:turned" in event.payload]
    changed = [
        one for one in answers if one.race.startswith("turn") and '"changed":true' in one.result
    ]
    assert len(turned) == len(changed)
    assert all(now != after for now, after in itertools.pairwise(turned))


def _check(kind: str, answers: list[Answer]) -> None:
    """Check one race: who won it, and what the others were told."""
    assert len(answers) == CALLERS
    won = [answer for answer in answers if not answer.code]
    codes = {answer.code for answer in answers if answer.code}
    match kind:
        case "kill_same" | "rollback" | "resume_same":
            assert codes == set()
            assert len({answer.result for answer in won}) == 1, "the same command, the same result"
        case "kill_each":
            assert codes == set()
            assert [json.loads(one.result)["changed"] for one in won].count(True) == 1
        case "turn":
            assert codes == set()
        case "pause" | "resume":
            assert (len(won), codes) == (1, {"illegal_move"})
        case "reconcile":
            assert (len(won), codes) == (1, {"command_conflict"})
        case _:
            assert (len(won), codes) == (1, {"command_conflict"})
            assert all(" with why " in one.text for one in answers if one.code)


def test_eight_command_lines_write_beside_a_daemon_and_nothing_is_lost(path: str) -> None:
    prepared(path)
    arguments = [(path, number, SPAN_S) for number in range(CALLERS)]
    daemon = Busy(path)
    daemon.start()
    try:
        answers = in_processes(command_lines, arguments, each=1)
    finally:
        daemon.stop()
    assert [answer.text for answer in answers if answer.code] == []
    assert daemon.errors == []
    events = events_of(path)
    kills = Counter(
        json.loads(event.payload)["scope"] for event in events if event.kind.startswith("kill_")
    )
    assert kills == {f"worker:p{one.number}": int(one.result) for one in answers}
    commands = [event.command_id for event in events if event.kind.startswith("kill_")]
    assert len(commands) == len(set(commands)) == sum(int(one.result) for one in answers)
    ended = [event for event in events if event.kind == "cycle_completed"]
    assert len(ended) == TURNS + daemon.ticks > TURNS


class Busy:
    """A daemon's writer: ticks with a call each, one after the other, in a thread of its own."""

    def __init__(self, path: str) -> None:
        self.ticks = 0
        self.errors: list[Exception] = []
        self._is_stopping = threading.Event()
        self._path = path
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._is_stopping.set()
        self._thread.join(WAIT_S)

    def _run(self) -> None:
        store = Driven(self._open)
        try:
            world = World(store, ZONE, NOW, boots=1)
            world.start({"busy": 86_400})
            while not self._is_stopping.is_set():
                world.begin("busy")
                hold = world.place("busy")
                assert isinstance(hold, Hold)
                world.settle(hold, 5)
                world.finish("busy", Outcome.OK)
                self.ticks += 1
        except Exception as error:  # noqa: BLE001 - the test shows it
            self.errors.append(error)
        finally:
            store.close()

    async def _open(self) -> Database:
        return await opened(self._path)
