"""`backup`, `restore` and `drill` on the command line."""

from __future__ import annotations

import msgspec
import pytest

from supervisor.lock import acquire
from supervisor.storage import open as stores
from tests.unit.cli.site import Site
from tests.unit.governance.recorded_life import RecordedLife


class Backed(msgspec.Struct, frozen=True):
    file: str
    bytes: int
    events: int
    as_of: str


class Put(msgspec.Struct, frozen=True):
    is_known: bool
    kept_as: str
    carried: list[str]
    latched: list[str]


async def _one_more_tick(life: RecordedLife) -> None:
    life._boots = life._holds = 100  # ids that the first life had not
    await life.start("digest", "triage")
    await life.tick("digest", 10_000)


def test_a_backup_is_made_and_put_back(lived: Site) -> None:
    file = lived.folder / "backup.db"
    made = lived.call("backup", str(file), "--json")
    assert made.code == 0
    assert made.json(Backed).bytes == file.stat().st_size
    lived.live(_one_more_tick)
    before = lived.call("spend", "--json").out
    (lived.state_dir / "heartbeat.json").write_text("{}")
    put = lived.call("restore", str(file), "--why", "a test", "--json")
    assert put.code == 0
    answer = put.json(Put)
    assert answer.is_known
    assert not (lived.state_dir / "heartbeat.json").exists()
    assert "system/day" in " ".join(answer.carried)
    assert lived.call("spend", "--json").out == before
    assert lived.call("audit").code == 0
    told = lived.call("events", "--kind", "store_restored").out
    assert "by alice" in told
    assert 'why="a test"' in told


def test_a_file_that_is_there_is_not_replaced_without_force(lived: Site) -> None:
    file = lived.folder / "backup.db"
    file.write_text("a letter")
    refused = lived.call("backup", str(file))
    assert refused.code == 1
    assert "--force" in refused.err
    assert lived.call("backup", str(file), "--force").code == 0


def test_a_restore_says_what_it_could_not_know_and_how_to_go_on(lived: Site) -> None:
    file = lived.folder / "backup.db"
    lived.call("backup", str(file))
    lived.store.unlink()
    put = lived.call("restore", str(file), "--why", "disk died", "--spent-usd", "0.25")
    said = " ".join(put.out.split())
    assert put.code == 0
    assert "what was spent since then is not known" in said
    assert "every limit in tokens, actions counts as used up" in said
    assert "`supervisor release --system --why TEXT`" in said
    assert lived.call("status").code == 2


def test_a_store_that_was_put_back_by_other_means_is_recorded_as_such(lived: Site) -> None:
    put = lived.call(
        "restore", "--in-place", "--why", "pg_restore", "--spent-usd", "0", "--spent-tokens", "0",
        "--spent-actions", "0", "--json",
    )  # fmt: skip
    assert put.json(Put).latched == ["system"]
    assert lived.call("audit").code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("restore", "--why", "x"),
        ("restore", "a.db", "--in-place", "--why", "x"),
        ("restore", "a.db"),
        ("restore", "nowhere.db", "--why", "x"),
        ("restore", "--in-place", "--why", "x", "--spent-usd", "-1"),
        ("drill", "fire"),
        ("drill", "kill", "--backup", "a.db"),
        ("drill", "restore", "--backup", "nowhere.db"),
        ("backup",),
    ],
)
def test_words_that_do_not_fit_are_refused(lived: Site, words: tuple[str, ...]) -> None:
    assert lived.call(*words).code == 64


def test_nothing_is_put_back_under_a_running_daemon(lived: Site) -> None:
    file = lived.folder / "backup.db"
    lived.call("backup", str(file))
    before = lived.store.read_bytes()
    lock = acquire(lived.state_dir)
    try:
        assert lived.call("restore", str(file), "--why", "a test").code == 73
    finally:
        lock.release()
    assert lived.store.read_bytes() == before


def test_a_mistyped_drill_is_told_the_one_that_is_meant(site: Site) -> None:
    called = site.call("drill", "aproval")
    assert called.code == 64
    assert "did you mean 'approvals'?" in called.err


def test_before_the_first_start_there_is_nothing_to_back_up_or_to_rehearse(site: Site) -> None:
    assert site.call("backup", "b.db").code == 64
    assert site.call("drill", "restore").code == 64


def test_the_same_drill_twice_is_held_once(lived: Site) -> None:
    first = lived.call("drill", "restore", "--command-id", "drill-1", "--json")
    assert first.code == 0
    again = lived.call("drill", "restore", "--command-id", "drill-1", "--json")
    assert (again.code, again.out) == (0, first.out)
    assert lived.call("events", "--kind", "drill_passed").out.count("drill_passed") == 1
    other = lived.call("drill", "kill", "--command-id", "drill-1")
    assert other.code == 1


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        (("backup", "b.db"), "pg_dump"),
        (("restore", "b.db", "--why", "x"), "pg_restore"),
    ],
)
def test_on_postgres_the_tools_of_postgres_are_named(
    lived: Site, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], instead: str
) -> None:
    (lived.folder / "b.db").touch()
    monkeypatch.setattr(stores, "is_postgres", lambda _url: True)
    refused = lived.call(*words)
    assert refused.code == 64
    assert instead in refused.err
