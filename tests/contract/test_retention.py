"""Old windows are exported and pruned, and nothing is lost, doubled or left unproved."""

from __future__ import annotations

import errno
import gzip
import os
from collections.abc import Callable
from pathlib import Path

import anyio
import msgspec
import pytest

from supervisor.errors import StoreDamaged, StoreUnavailable
from supervisor.events.log import Origin
from supervisor.governance.pruning import Pruned, prune_page
from supervisor.governance.rotation import (
    find_session,
    open_session_of,
    pause_session,
    resume_session,
)
from supervisor.ledger.holds import HoldStatus
from supervisor.maintenance.export_file import Line
from supervisor.maintenance.retention import ExportRefused
from supervisor.storage.database import Transaction
from supervisor.storage.sqlite_copies import sync_folder
from tests.contract.retained_life import RetainedLife
from tests.databases import BROKEN_RULES, RawConnection


def lines_of(path: Path) -> list[Line]:
    with gzip.open(path, "rb") as file:
        return [msgspec.json.decode(line, type=Line) for line in file.readlines()[1:]]


def positions(raw: RawConnection) -> list[object]:
    return [position for (position,) in raw.rows("SELECT position FROM events")]


async def test_what_is_old_is_in_the_file_and_what_is_not_in_the_store(old: RetainedLife) -> None:
    before = positions(old.raw)
    done = await old.retain()
    assert len(done.exports) == 1
    (path,) = old.files()
    rows = [line.row for line in lines_of(path) if line.table == "events"]
    exported, left = [row["position"] for row in rows], positions(old.raw)
    ((own,),) = old.raw.rows("SELECT position FROM events WHERE kind = ?", "windows_retired")
    # Neither loss nor double: each is in one of the two, and only the export's own event is new.
    assert len(exported) + len(left) == len(before) + 1
    assert {*exported, *left} == {*before, own}
    assert old.raw.rows("SELECT * FROM retiring") == []


async def test_the_store_and_the_file_pass_the_audit_each_by_itself(old: RetainedLife) -> None:
    before = {row[0]: row[1:] for row in old.raw.rows("SELECT id, settled, held FROM accounts")}
    await old.retain()
    report = await old.life.audit()
    assert report.findings == ()
    (of_file,) = old.audits_of_files()
    assert of_file.findings == ()
    assert of_file.events > 100
    assert of_file.holds > 5
    assert of_file.accounts > 5
    # What still counts has not moved.
    after = {row[0]: row[1:] for row in old.raw.rows("SELECT id, settled, held FROM accounts")}
    assert after.items() <= before.items()


async def test_the_store_stays_as_large_as_what_is_kept(aged: RetainedLife) -> None:
    await aged.days(5)
    counts = []
    for _ in range(6):
        await aged.retain()
        counts.append(aged.counts())
        await aged.days(1)
    at_first = counts[3]  # from here on the exports' own events go, too
    assert counts[3:] == [at_first] * 3
    await aged.retain()
    assert aged.counts() == at_first
    assert (await aged.life.audit()).findings == ()
    assert len(aged.files()) == 7
    assert all(report.is_clean for report in aged.audits_of_files())


async def test_also_where_nothing_but_work_happens_for_days(aged: RetainedLife) -> None:
    await aged.life.start("digest")
    for _ in range(6):
        aged.life.clock.advance(86_400)
        await aged.life.tick("digest", 1_000)
        await aged.retain()
    # Nothing but retention itself has begun the system's windows.
    assert len(aged.files()) == 4
    assert (await aged.life.audit()).findings == ()


async def test_again_there_is_nothing_to_do(old: RetainedLife) -> None:
    await old.retain()
    counts = old.counts()
    done = await old.retain()
    assert (done.exports, done.pruned) == ((), Pruned())
    assert old.counts() == counts


async def test_keep_days_of_0_keeps_everything(old: RetainedLife) -> None:
    counts = old.counts()
    assert (await old.retain(keep_days=0)).exports == ()
    assert old.counts() == counts


# --- what must stay


async def test_an_open_session_stays_however_old_it_is_and_the_others_go(
    aged: RetainedLife,
) -> None:
    await aged.life.start("digest", "triage")
    started = await aged.life.started("triage")
    await aged.life.settle(await aged.life.placed("triage", started, 2_000), 1_000)
    await aged.life.finish("triage", started)

    def pause(tx: Transaction, origin: Origin) -> None:
        session = find_session(tx, started.session.id)
        assert session is not None
        pause_session(tx, session, origin, why="spend cap")

    await aged.store.write(pause, aged.life.origin())
    await aged.days(6, "digest")
    events = "SELECT * FROM events WHERE session_id = ? ORDER BY seq"
    before = aged.raw.rows(events, started.session.id)
    for _ in range(2):
        done = await aged.retain()
        assert done.held_back == ("triage",)
        assert aged.sessions("triage") == [(started.session.id, "paused")]
        assert aged.raw.rows(events, started.session.id) == before
        assert len(aged.sessions("digest")) == 4
        assert (await aged.life.audit()).findings == ()
        await aged.days(1, "digest")
    assert all(report.is_clean for report in aged.audits_of_files())


async def test_a_session_of_months_goes_once_it_is_over(aged: RetainedLife) -> None:
    await test_an_open_session_stays_however_old_it_is_and_the_others_go(aged)
    await aged.store.write(_resume_all, aged.life.origin())
    await aged.days(5)
    done = await aged.retain()
    assert done.held_back == ()
    assert len(aged.sessions("triage")) == 4
    assert (await aged.life.audit()).findings == ()
    assert [report.findings for report in aged.audits_of_files()] == [()] * len(aged.files())


def _resume_all(tx: Transaction, origin: Origin) -> None:
    session = open_session_of(tx, "triage")
    assert session is not None
    resume_session(tx, session, origin, why="a person")


async def test_a_hold_that_was_put_right_later_keeps_its_day_and_lets_older_ones_go(
    aged: RetainedLife,
) -> None:
    await aged.days(3)
    started = await aged.life.started("digest")
    hold = await aged.life.placed("digest", started, 7_000)
    await aged.life.end(hold, HoldStatus.FORFEITED, "no usage")
    await aged.life.finish("digest", started)
    await aged.days(4)
    await aged.life.reconcile(hold, 2_500)
    assert len((await aged.retain()).exports) == 1
    assert aged.raw.rows("SELECT status FROM holds WHERE id = ?", hold.id) == [("settled",)]
    assert (await aged.life.audit()).findings == ()
    await aged.days(4)
    assert len((await aged.retain()).exports) == 1
    assert aged.raw.rows("SELECT status FROM holds WHERE id = ?", hold.id) == []
    assert (await aged.life.audit()).findings == ()


async def test_a_session_with_an_open_hold_or_a_running_tick_stays(aged: RetainedLife) -> None:
    await aged.life.start("digest", "triage")
    started = await aged.life.started("triage")
    hold = await aged.life.placed("triage", started, 2_000)
    for _ in range(5):
        aged.life.clock.advance(86_400)
        await aged.life.tick("digest", 1_000)
    await aged.retain()
    assert aged.raw.rows("SELECT status FROM holds WHERE id = ?", hold.id) == [("open",)]
    assert (started.session.id, "active") in aged.sessions("triage")
    assert (await aged.life.audit()).findings == ()


async def test_a_session_under_a_live_kill_stays(aged: RetainedLife) -> None:
    await aged.days(6)
    (oldest, _), *_ = aged.sessions("digest")
    await aged.life.kill(f"session:{oldest}")
    await aged.retain()
    assert aged.sessions("digest")[0][0] == oldest
    assert len(aged.sessions("triage")) == 4
    assert (await aged.life.audit()).findings == ()


async def test_what_can_not_be_told_without_a_window_that_stays_waits_for_it(
    old: RetainedLife,
) -> None:
    # The first day has a hold that was put right in the system's session, of a window that stays.
    (oldest, _), *_ = old.sessions("digest")
    await old.life.kill(f"session:{oldest}")
    counts = old.counts()
    with pytest.raises(ExportRefused, match="while older windows of digest stay"):
        await old.retain()
    assert old.counts() == counts
    await old.life.kill(f"session:{oldest}", is_engaged=False)
    assert len((await old.retain()).exports) == 1
    assert (await old.life.audit()).findings == ()


async def test_the_schema_lets_no_open_session_and_no_event_of_one_go(
    old: RetainedLife, raw: RawConnection
) -> None:
    ((session_id,),) = raw.rows(
        "SELECT id FROM sessions WHERE worker = 'digest' AND status = 'active'"
    )
    raw.run(
        "INSERT INTO exports (number, file, sha256, bytes, sessions, events, until, cut_at,"
        " sums_sha256, exported_at) VALUES (1, 'f', 's', 1, 1, 1, 1, 1, 'b', 1)"
    )
    with pytest.raises(BROKEN_RULES, match="only a session that is over"):
        raw.run("INSERT INTO retiring (session_id, export) VALUES (?, 1)", session_id)
    with pytest.raises(BROKEN_RULES, match="append-only"):
        raw.run("DELETE FROM events WHERE session_id = ?", session_id)


async def test_checkpoints_go_by_number_and_outlive_their_session(old: RetainedLife) -> None:
    newest = "SELECT id FROM checkpoints WHERE worker = ? ORDER BY created_at DESC, tick DESC"
    before = {worker: old.raw.rows(newest, worker) for worker in ("digest", "triage")}
    assert len(before["digest"]) > 2
    await old.retain(checkpoints_kept=2)
    for worker, listed in before.items():
        assert old.raw.rows(newest, worker) == listed[:2]
    await old.days(5, "triage")
    await old.retain(checkpoints_kept=2)
    assert old.raw.rows(newest, "digest") == before["digest"][:2]


# --- crashes and failures


async def test_nothing_is_pruned_before_its_export_is_durable(
    old: RetainedLife, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = old.counts()

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as failing:
        failing.setattr("supervisor.maintenance.export_file.os.fsync", fail)
        with pytest.raises(StoreUnavailable, match="nothing was pruned"):
            await old.retain()
    assert old.counts() == counts
    assert old.files() == []
    assert old.raw.rows("SELECT * FROM exports") == []
    await old.retain()
    assert (await old.life.audit()).findings == ()


async def test_a_file_that_is_not_as_it_was_written_prunes_nothing(
    old: RetainedLife, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = old.counts()

    def decay(folder: Path) -> None:
        (path,) = folder.glob("retired-*")
        path.write_bytes(path.read_bytes()[:-9])
        sync_folder(folder)

    with monkeypatch.context() as decaying:
        decaying.setattr("supervisor.maintenance.export_file.sync_folder", decay)
        with pytest.raises(StoreDamaged, match="checksum"):
            await old.retain()
    assert old.counts() == counts
    assert old.raw.rows("SELECT * FROM exports") == []


async def test_a_crash_between_export_and_seal_leaves_neither_loss_nor_double(
    old: RetainedLife, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = old.counts()
    with monkeypatch.context() as dying:
        dying.setattr("supervisor.maintenance.retention.retire", _die)
        with pytest.raises(RuntimeError, match="died here"):
            await old.retain()
    assert old.counts() == counts
    (orphan,) = old.files()
    done = await old.retain()
    # The same rows are the same bytes, and so the same file.
    assert old.files() == [orphan]
    assert [export.file for export in done.exports] == [orphan.name]
    assert (await old.life.audit()).findings == ()


def _die(*_: object) -> None:
    raise RuntimeError("it died here")


async def test_half_pruned_it_is_sound_at_every_page_and_the_next_run_goes_on(
    old: RetainedLife, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.governance.pruning.PAGE_ROWS", 7)
    with monkeypatch.context() as dying:
        dying.setattr("supervisor.maintenance.retention.prune_page", _die_after_nothing())
        with pytest.raises(RuntimeError, match="died here"):
            await old.retain()
    pages = 0
    while True:
        assert (await old.life.audit()).findings == ()
        found = await old.store.write(prune_page, old.life.origin(), checkpoints_kept=3)
        if found == Pruned():
            break
        pages += 1
    assert pages > 20
    await old.days(1)
    await old.retain()
    assert (await old.life.audit()).findings == ()
    assert len(old.files()) == 2


def _die_after_nothing() -> Callable[..., Pruned]:
    """Return a page that finds nothing at first, as before an export, and then dies."""
    calls: list[None] = []

    def page(*_: object, **__: object) -> Pruned:
        calls.append(None)
        if len(calls) > 1:
            raise RuntimeError("it died here")
        return Pruned()

    return page


async def test_what_a_killed_run_has_left_is_removed_a_day_later(old: RetainedLife) -> None:
    left = old.folder / "retention-left"
    left.mkdir(parents=True)
    (left / "staged.db").write_text("half")
    (old.folder / ".retired-000001.ab.new").write_text("half")
    young = old.life.clock.now().timestamp()
    for path in (left, old.folder / ".retired-000001.ab.new"):
        os.utime(path, (young, young))
    await old.retain(keep_days=100)
    assert len(old.files()) == 2  # it may be at work
    for path in old.files():
        os.utime(path, (young - 90_000, young - 90_000))
    await old.retain(keep_days=100)
    assert old.files() == []


async def test_what_does_not_pass_the_audit_is_not_exported_and_not_pruned(
    old: RetainedLife, raw: RawConnection
) -> None:
    raw.drop_rules()
    raw.run("UPDATE events SET payload = replace(payload, '1000', '1001') WHERE position = 20")
    raw.run("UPDATE holds SET cost_settled = cost_settled + 1 WHERE worker = 'digest'")
    counts = old.counts()
    with pytest.raises(ExportRefused, match="does not pass the audit by itself"):
        await old.retain()
    assert old.counts() == counts
    assert old.files() == []


async def test_of_two_that_export_at_once_one_does(old: RetainedLife) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(old.retain)
    assert old.count("exports") == 1
    assert len(old.files()) == 1
    assert (await old.life.audit()).findings == ()
