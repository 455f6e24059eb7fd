"""Two batches on their way: each caller has the answer of its own, after its commit, and once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from supervisor.errors import StoreUnavailable
from supervisor.storage.answers import Answers
from supervisor.storage.group_commit import GroupCommit
from tests.unit.storage.held_disk import HeldDisk, note, settled

WRITERS = 32
HALF = WRITERS // 2


class Writers:
    """As many writes as are two batches, half of them in each."""

    def __init__(self) -> None:
        self.disk = HeldDisk()
        self.group = GroupCommit(self.disk.commit, subject="store")
        self.futures: list[asyncio.Future[int]] = []

    async def write(self) -> None:
        self.futures = [self.group.write(note, number) for number in range(WRITERS)]
        await settled()
        assert self.disk.in_flight == [HALF, HALF]

    @property
    def answered(self) -> list[int]:
        return [number for number, future in enumerate(self.futures) if future.done()]


@pytest.fixture
async def writers() -> Writers:
    made = Writers()
    await made.write()
    return made


async def test_nobody_is_answered_before_the_own_batch_is_committed(writers: Writers) -> None:
    assert writers.answered == []
    await writers.disk.turn()
    assert writers.answered == list(range(HALF))
    await writers.disk.turn()
    assert [future.result() for future in writers.futures] == list(range(WRITERS))


async def test_a_batch_that_the_store_refuses_takes_none_with_it_that_follows(
    writers: Writers,
) -> None:
    await writers.disk.refuse()
    await writers.disk.turn()
    assert all(isinstance(one.exception(), StoreUnavailable) for one in writers.futures[:HALF])
    assert [one.result() for one in writers.futures[HALF:]] == list(range(HALF, WRITERS))
    assert writers.group.failures == 1


async def test_what_waits_behind_two_refused_batches_has_its_turn(writers: Writers) -> None:
    late = writers.group.write(note, 99)
    await writers.disk.refuse()
    await writers.disk.refuse()
    assert writers.disk.in_flight == [1]
    await writers.disk.turn()
    assert await late == 99
    assert writers.answered == list(range(WRITERS))
    await writers.group.finish()


async def test_a_caller_that_was_cancelled_moves_nobodys_answer(writers: Writers) -> None:
    gone = (0, 3, 7, HALF, WRITERS - 1)
    for number in gone:
        writers.futures[number].cancel()
    await writers.disk.turn(failing=[3, 4])
    await writers.disk.turn(failing=[HALF, HALF + 1])
    for number, future in enumerate(writers.futures):
        if number in gone:
            assert future.cancelled()
        elif number in (4, HALF + 1):
            assert isinstance(future.exception(), ValueError)
        else:
            assert future.result() == number


async def test_listeners_hear_every_commit_once_in_order_also_beside_one_that_raises(
    writers: Writers,
) -> None:
    heard: list[object] = []
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    def broken(_: object) -> None:
        raise ZeroDivisionError

    def listen(facts: Sequence[object]) -> None:
        assert [number for number in writers.answered if number in facts] == []
        heard.extend(facts)

    writers.group.listen(broken)
    writers.group.listen(listen)
    await writers.disk.turn()
    await writers.disk.turn(failing=[HALF])
    assert heard == [number for number in range(WRITERS) if number != HALF]
    assert len(told) == 2
    assert writers.answered == list(range(WRITERS))


async def test_what_a_listener_writes_is_committed_behind_what_is_on_its_way(
    writers: Writers,
) -> None:
    written: list[asyncio.Future[int]] = []

    def write_once(_: object) -> None:
        if not written:
            written.append(writers.group.write(note, 99))

    writers.group.listen(write_once)
    await writers.disk.turn()
    assert writers.disk.in_flight == [HALF]
    await writers.disk.turn()
    assert writers.disk.in_flight == [1]
    await writers.disk.turn()
    assert await written[0] == 99


async def test_a_close_waits_for_both_and_takes_nothing_more(writers: Writers) -> None:
    finishing = asyncio.ensure_future(writers.group.finish())
    await settled()
    late = writers.group.write(note, 99)
    await writers.disk.turn()
    assert not finishing.done()
    await writers.disk.turn()
    assert finishing.done()
    assert writers.answered == list(range(WRITERS))
    assert writers.disk.in_flight == []
    with pytest.raises(StoreUnavailable, match="store: is closed"):
        await late


async def test_an_answer_that_nobody_waits_for_holds_up_none_behind_it() -> None:
    def fail() -> int:
        raise ValueError("gone")

    answers = Answers()
    asked = [answers.ask(function) for function in (int, fail, int, fail, lambda: 5)]
    for future, _ in asked[:2]:
        future.cancel()
    for _, run in asked:
        run()
    answers.give()
    await settled()
    (_, _, third, fourth, fifth) = (future for future, _ in asked)
    assert (third.result(), fifth.result()) == (0, 5)
    assert isinstance(fourth.exception(), ValueError)
    answers.close()
