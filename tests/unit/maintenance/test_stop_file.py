"""The STOP file: who may write to the directory can stop the daemon."""

from __future__ import annotations

import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervisor.errors import StoreUnavailable
from supervisor.maintenance.stop_file import STOP_NAME, read_stop, write_stop
from tests.conftest import START


def test_it_says_when_who_and_why(tmp_path: Path) -> None:
    path = write_stop(tmp_path, actor="ann", why="moving house", at=START)
    assert path == tmp_path / STOP_NAME
    assert read_stop(tmp_path) == "2026-06-01T10:30:00Z ann: moving house"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_reason_is_said_too(tmp_path: Path) -> None:
    write_stop(tmp_path, actor="ann", why="", at=START)
    assert read_stop(tmp_path) == "2026-06-01T10:30:00Z ann: no reason given"


def test_one_that_is_there_already_stays_as_it_is(tmp_path: Path) -> None:
    write_stop(tmp_path, actor="ann", why="first", at=START)
    write_stop(tmp_path, actor="ben", why="second", at=START)
    assert "first" in (read_stop(tmp_path) or "")


def test_none_is_none(tmp_path: Path) -> None:
    assert read_stop(tmp_path) is None
    assert read_stop(tmp_path / "none") is None


def test_an_empty_one_stops_as_well(tmp_path: Path) -> None:
    (tmp_path / STOP_NAME).touch()
    assert read_stop(tmp_path) == ""


def test_what_is_no_text_stops_as_well(tmp_path: Path) -> None:
    (tmp_path / STOP_NAME).write_bytes(b"\xff\xfe")
    assert read_stop(tmp_path) is not None


def test_what_can_not_be_read_stops_as_well(tmp_path: Path) -> None:
    (tmp_path / STOP_NAME).mkdir()
    assert "can't be read" in (read_stop(tmp_path) or "")


def test_a_long_one_is_cut(tmp_path: Path) -> None:
    (tmp_path / STOP_NAME).write_text("x" * 10_000)
    assert len(read_stop(tmp_path) or "") == 500


@contextmanager
def no_room() -> Iterator[None]:
    """Let no file of this process grow, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_on_a_full_disk_an_empty_one_is_made(tmp_path: Path) -> None:
    with no_room():
        path = write_stop(tmp_path, actor="ann", why="x", at=START)
        write_stop(tmp_path, actor="ben", why="again", at=START)
    assert read_stop(tmp_path) == ""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_on_a_full_disk_one_that_is_there_already_stays_as_it_is(tmp_path: Path) -> None:
    write_stop(tmp_path, actor="ann", why="first", at=START)
    with no_room():
        write_stop(tmp_path, actor="ben", why="second", at=START)
    assert "first" in (read_stop(tmp_path) or "")


def test_a_directory_that_takes_no_file_is_an_error_that_names_another_way(
    tmp_path: Path,
) -> None:
    with pytest.raises(StoreUnavailable, match="kill -TERM"):
        write_stop(tmp_path / "none", actor="ann", why="x", at=START)
