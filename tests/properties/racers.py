"""What many callers do to one store file at the same instant, each with a connection of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

import msgspec

from supervisor.clock import to_us
from supervisor.errors import SupervisorError
from supervisor.events.log import Origin
from supervisor.governance.kill_switch import KillCommand, engage, release
from supervisor.governance.reconciliation import ReconcileCommand, reconcile_hold
from supervisor.governance.rollback import RollbackCommand, roll_back
from supervisor.governance.rotation import find_session, pause_session
from supervisor.governance.session_commands import ResumeCommand, resume
from supervisor.storage.database import Database, Transaction
from supervisor.storage.open import open_database

ZONE = ZoneInfo("UTC")
NOW = datetime(2026, 6, 1, 10, 30, tzinfo=UTC)
WAIT_S = 60.0


class Barrier(Protocol):
    """What threads' and processes' barriers share."""

    def wait(self, timeout: float | None = None) -> int: ...


class Answers(Protocol):
    """What threads' and processes' queues share."""

    def put(self, answer: Answer) -> None: ...


@dataclass(frozen=True)
class Answer:
    """What one caller was told: the result as JSON, or the code and text of an error."""

    race: str
    number: int
    result: str = ""
    code: str = ""
    text: str = ""


@dataclass(frozen=True)
class Course:
    """Where the races are run, and what there is to race for."""

    path: str
    session: str
    holds: tuple[str, ...]
    checkpoint: str

    def races(self) -> list[str]:
        """Return the races in their order; each asks of the one before what it needs."""
        kinds = (
            "kill_same", "kill_each", "turn", "pause", "resume", "reconcile", "one_id",
            "rollback", "resume_same",
        )  # fmt: skip
        return [f"{kind}-{turn}" for turn in range(len(self.holds)) for kind in kinds]


def origin(command_id: str, number: int) -> Origin:
    return Origin(at=NOW, actor=f"racer-{number}", command_id=command_id)


async def opened(path: str) -> Database:
    return await open_database(f"sqlite:///{path}", state_dir=Path(path).parent, now_us=to_us(NOW))


def race(course: Course, number: int, barrier: Barrier, answers: Answers) -> None:
    """Run every race as the caller with this number."""
    asyncio.run(_race(course, number, barrier, answers))


async def _race(course: Course, number: int, barrier: Barrier, answers: Answers) -> None:
    database = await opened(course.path)
    try:
        for name in course.races():
            barrier.wait(WAIT_S)
            answers.put(await _answer(name, number, _ask(database, course, name, number)))
    finally:
        await database.close()


async def _answer(name: str, number: int, asked: Awaitable[object]) -> Answer:
    try:
        result = await asked
    except SupervisorError as error:
        return Answer(name, number, code=error.code, text=str(error))
    return Answer(name, number, result=msgspec.json.encode(result).decode())


def _ask(database: Database, course: Course, name: str, number: int) -> Awaitable[object]:
    kind, _, turn = name.rpartition("-")
    one, each = origin(name, number), origin(f"{name}-{number}", number)
    hold = course.holds[int(turn)]
    back = RollbackCommand(worker="w", checkpoint=course.checkpoint)
    put_right = ReconcileCommand(hold_id=hold, cost=number)
    way = engage if number % 2 else release
    asks: dict[str, Callable[[], Awaitable[object]]] = {
        "kill_same": lambda: database.write(engage, _kill(f"same-{turn}"), one, ZONE),
        "kill_each": lambda: database.write(engage, _kill(f"each-{turn}"), each, ZONE),
        "turn": lambda: database.write(way, _kill("turned"), each, ZONE),
        "one_id": lambda: database.write(
            engage, _kill(f"one-{turn}", why=f"why {number}"), one, ZONE
        ),
        "pause": lambda: database.write(_pause, course.session, each),
        "resume": lambda: database.write(resume, _resume(course), each),
        "resume_same": lambda: database.write(resume, _resume(course), one),
        "rollback": lambda: database.write(roll_back, back, one, ZONE),
        "reconcile": lambda: database.write(reconcile_hold, put_right, each, ZONE),
    }
    return asks[kind]()


def _kill(worker: str, why: str = "a race") -> KillCommand:
    return KillCommand(scope=f"worker:{worker}", why=why)


def _resume(course: Course) -> ResumeCommand:
    return ResumeCommand(session_id=course.session, why="a race")


def _pause(tx: Transaction, session_id: str, told: Origin) -> None:
    session = find_session(tx, session_id)
    assert session is not None
    pause_session(tx, session, told, why="a person")


def command_lines(
    path: str, number: int, span_s: float, barrier: Barrier, answers: Answers
) -> None:
    """Kill and release a worker of its own, each time in a store opened for it, as the CLI does."""
    told: list[str] = []
    barrier.wait(WAIT_S)
    end_s = time.monotonic() + span_s
    turns: list[Callable[..., object]] = [engage, release]
    while time.monotonic() < end_s or not told:
        way = turns[len(told) % 2]
        answer = asyncio.run(_one_command(path, way, number, len(told)))
        if answer.code:
            answers.put(answer)
            return
        told.append(answer.result)
    answers.put(Answer("commands", number, result=str(len(told))))


async def _one_command(path: str, way: Callable[..., object], number: int, count: int) -> Answer:
    try:
        database = await opened(path)
        try:
            asked = origin(f"p{number}-{count}", number)
            result = await database.write(way, _kill(f"p{number}"), asked, ZONE)
        finally:
            await database.close()
    except SupervisorError as error:
        return Answer("commands", number, code=error.code, text=str(error))
    return Answer("commands", number, result=msgspec.json.encode(result).decode())
