"""A store that knows less than the last heartbeat has lost commits, and is refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from supervisor.errors import StoreDamaged
from supervisor.maintenance.witness import check_not_behind, read_witness
from supervisor.storage.database import Transaction
from tests.unit.inline_database import InlineDatabase


def lived(tx: Transaction) -> None:
    """Life boot-1, in which worker a began three ticks."""
    tx.run("daemons.started", boot_id="boot-1", pid=7, host="h", now=0)
    tx.run("workers.register", name="a", life="running")
    for number in range(1, 4):
        tx.run("workers.count_tick", name="a", session_id="s", number=number)


def beat(folder: Path, *, boot_id: str = "boot-1", **last_ticks: int) -> Path:
    path = folder / "heartbeat.json"
    workers = {name: {"last_tick": tick, "outcome": "ok"} for name, tick in last_ticks.items()}
    content = {"at": "x", "pid": 7, "state": "running", "boot_id": boot_id, "workers": workers}
    path.write_bytes(msgspec.json.encode(content))
    return path


async def check(store: InlineDatabase, path: Path) -> None:
    await store.read(check_not_behind, read_witness(path), path)


@pytest.mark.parametrize("last_tick", [0, 2, 3])
async def test_a_store_that_knows_as_much_or_more_is_taken(
    inline_store: InlineDatabase, tmp_path: Path, last_tick: int
) -> None:
    await inline_store.write(lived)
    await check(inline_store, beat(tmp_path, a=last_tick))


async def test_a_store_that_does_not_know_a_tick_is_refused_with_it_and_the_cure(
    inline_store: InlineDatabase, tmp_path: Path
) -> None:
    await inline_store.write(lived)
    path = beat(tmp_path, a=4)
    with pytest.raises(StoreDamaged, match="tick 4 of worker a") as refused:
        await check(inline_store, path)
    assert str(path) in str(refused.value)
    assert "delete that file" in refused.value.fix


async def test_a_store_that_does_not_know_a_worker_is_refused(
    inline_store: InlineDatabase, tmp_path: Path
) -> None:
    await inline_store.write(lived)
    with pytest.raises(StoreDamaged, match="tick 1 of worker b"):
        await check(inline_store, beat(tmp_path, a=3, b=1))


async def test_a_store_that_does_not_know_the_life_is_refused(
    inline_store: InlineDatabase, tmp_path: Path
) -> None:
    await inline_store.write(lived)
    with pytest.raises(StoreDamaged, match="the life boot-2"):
        await check(inline_store, beat(tmp_path, boot_id="boot-2"))


async def test_a_new_store_beside_the_heartbeat_of_another_one_is_refused(
    inline_store: InlineDatabase, tmp_path: Path
) -> None:
    path = beat(tmp_path, a=0)
    with pytest.raises(StoreDamaged, match="is a new one, and") as refused:
        await check(inline_store, path)
    assert "delete that file" in refused.value.fix
    path.unlink()
    await check(inline_store, path)


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"boot_id": 1, "workers": {}}'])
async def test_a_heartbeat_that_is_not_there_or_torn_says_nothing(
    inline_store: InlineDatabase, tmp_path: Path, content: bytes | None
) -> None:
    await inline_store.write(lived)
    path = tmp_path / "heartbeat.json"
    if content is not None:
        path.write_bytes(content)
    await check(inline_store, path)
