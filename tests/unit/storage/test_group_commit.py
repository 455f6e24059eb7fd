"""Which writes share a commit, and how the answers come back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import anyio
import pytest

from supervisor.storage.answers import Answers
from supervisor.storage.group_commit import GroupCommit
from tests.unit.storage.held_disk import HeldDisk, note, settled

SLOW_S = 0.004


async def test_few_writes_are_one_batch() -> None:
    disk = HeldDisk()
    group = GroupCommit(disk.commit, subject="store")
    for number in range(7):
        group.write(note, number)
    await settled()
    assert disk.in_flight == [7]


async def test_many_writers_take_turns_in_two_batches() -> None:
    disk = HeldDisk()
    group = GroupCommit(disk.commit, subject="store")

    async def writer(number: int) -> None:
        for _ in range(5):
            assert await group.write(note, number) == number

    async with anyio.create_task_group() as tasks:
        for number in range(32):
            tasks.start_soon(writer, number)
        await settled()
        assert disk.in_flight == [16, 16]
        for _ in range(8):
            # Those that are answered write again while the others' batch is on its way.
            await disk.turn()
            assert disk.in_flight == [16, 16]
        await disk.turn()
        await disk.turn()
    assert [len(batch) for batch in disk.batches] == [16] * 10


async def test_where_a_sync_takes_longer_than_they_do_all_share_one() -> None:
    disk = HeldDisk(waited_s=SLOW_S)
    group = GroupCommit(disk.commit, subject="store")
    group.write(note, 0)
    await settled()
    await disk.turn()
    for number in range(7):
        group.write(note, number)
    await settled()
    for number in range(32):
        group.write(note, number)
    await settled()
    assert disk.in_flight == [7]
    await disk.turn()
    assert disk.in_flight == [32]
    await disk.turn()


async def test_a_single_write_waits_for_the_batch_that_is_on_its_way() -> None:
    disk = HeldDisk()
    group = GroupCommit(disk.commit, subject="store")
    for number in range(7):
        group.write(note, number)
    await settled()
    late = group.write(note, 8)
    await settled()
    assert disk.in_flight == [7]
    await disk.turn()
    assert disk.in_flight == [1]
    await disk.turn()
    assert await late == 8


async def test_writes_reach_the_disk_in_the_order_of_their_calls() -> None:
    disk = HeldDisk()
    group = GroupCommit(disk.commit, subject="store")
    for number in range(1_000):
        group.write(note, number)
        if number % 50 == 0:
            await settled()
    while disk.in_flight:
        assert len(disk.in_flight) <= 2
        await disk.turn()
    assert [number for batch in disk.batches for number in batch] == list(range(1_000))
    await group.finish()


@pytest.fixture
def store_thread() -> Iterator[StoreThread]:
    thread = StoreThread()
    yield thread
    thread.end()


class StoreThread:
    """A thread that runs what it is given, as a driver's does."""

    def __init__(self) -> None:
        self.answers = Answers()
        self._jobs: list[threading.Event] = []
        self._threads: list[threading.Thread] = []

    def run(self, *steps: object) -> None:
        def work() -> None:
            for step in steps:
                assert callable(step)
                step()

        thread = threading.Thread(target=work)
        self._threads.append(thread)
        thread.start()

    def end(self) -> None:
        for thread in self._threads:
            thread.join()
        self.answers.close()


async def test_answers_come_in_the_order_of_the_questions(store_thread: StoreThread) -> None:
    answers = store_thread.answers
    heard: list[int] = []
    futures = []
    steps: list[object] = []
    for number in range(100):
        future, run = answers.ask(lambda number=number: number)  # type: ignore[misc] # bound now
        future.add_done_callback(lambda done: heard.append(done.result()))
        futures.append(future)
        steps += [run, answers.give_meanwhile if number % 3 else answers.give]
    store_thread.run(*steps, answers.give)
    await asyncio.gather(*futures)
    await settled()
    assert heard == list(range(100))


async def test_an_error_is_an_answer(store_thread: StoreThread) -> None:
    def fail() -> None:
        raise ValueError("no such page")

    future, run = store_thread.answers.ask(fail)
    store_thread.run(run, store_thread.answers.give)
    with pytest.raises(ValueError, match="no such page"):
        await future


async def test_an_answer_is_given_soon_however_long_the_thread_waits_then(
    store_thread: StoreThread,
) -> None:
    waiting = threading.Event()
    future, run = store_thread.answers.ask(lambda: 1)
    # Nothing is given: the thread is about to, and waits for a lock first.
    store_thread.run(run, waiting.wait)
    with anyio.fail_after(2):
        assert await future == 1
    waiting.set()
