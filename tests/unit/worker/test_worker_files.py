"""A worker's own directory, and its reports: nothing leads out, nothing is half-written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import InputRefused
from supervisor.worker.files import Reports, WorkerFiles, replace_file

#: The longest name that the config allows.
LONGEST_WORKER = "w" * 64


@pytest.fixture
def files(tmp_path: Path) -> WorkerFiles:
    return WorkerFiles(tmp_path / "workers" / "a")


def write(reports: Reports, title: str, markdown: str, *, name: str | None, day: str) -> Path:
    path = reports.place(title, name=name, day=day)
    replace_file(path, reports.render(title, markdown))
    return path


@pytest.fixture
def reports(tmp_path: Path) -> Reports:
    return Reports(tmp_path, "a")


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../b",
        "a/b",
        "/etc/passwd",
        "a\\..\\b",
        ".hidden",
        "-rf",
        "a\0b",
        "a\nb",
        "a ",
        "ä",
        "x" * 152,
        "~",
        "a:b",
    ],
)
def test_a_name_that_is_no_plain_file_name_is_refused(
    files: WorkerFiles, reports: Reports, name: str
) -> None:
    for use in (files.path, files.read_text, reports.path):
        with pytest.raises(InputRefused, match="is not a plain file name"):
            use(name)
    with pytest.raises(InputRefused):
        files.write_text(name, "x")


@given(name=st.text(max_size=200))
def test_no_name_leads_out_of_the_workers_folder(name: str) -> None:
    folder = Path("/state/workers/a")
    try:
        path = WorkerFiles(folder).path(name)
    except InputRefused:
        return
    assert path.parent == folder
    assert os.path.normpath(path) == str(path)


def test_what_is_written_is_read_again(files: WorkerFiles, tmp_path: Path) -> None:
    files.write_text("notes.txt", "grüße\r\n")
    assert (tmp_path / "workers" / "a" / "notes.txt").read_bytes() == "grüße\r\n".encode()
    assert files.path("notes.txt").exists()


def test_every_character_comes_back_as_it_was(files: WorkerFiles) -> None:
    files.write_text("notes.txt", "one\r\ntwo\rthree\n")
    assert files.read_text("notes.txt") == "one\r\ntwo\rthree\n"


def test_a_file_that_is_not_there_is_none(files: WorkerFiles) -> None:
    assert files.read_text("notes.txt") is None


def test_a_link_is_not_followed_out_of_the_folder(files: WorkerFiles, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    files.write_text("notes.txt", "x")
    link = files.path("link.txt")
    link.symlink_to(tmp_path / "secret")
    assert files.read_text("link.txt") is None
    files.write_text("link.txt", "mine")
    assert (tmp_path / "secret").read_text() == "secret"
    assert files.read_text("link.txt") == "mine"


def test_files_are_for_the_owner_alone(files: WorkerFiles) -> None:
    files.write_text("notes.txt", "x")
    assert stat.S_IMODE(files.path("notes.txt").stat().st_mode) == 0o600
    assert stat.S_IMODE(files.path("notes.txt").parent.stat().st_mode) == 0o700


def test_a_file_is_replaced_and_never_changed_in_place(files: WorkerFiles) -> None:
    files.write_text("notes.txt", "old")
    with files.path("notes.txt").open() as reading:
        files.write_text("notes.txt", "new")
        assert reading.read() == "old"
    assert files.read_text("notes.txt") == "new"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(files: WorkerFiles) -> None:
    files.write_text("notes.txt", "old")
    with pytest.raises(UnicodeEncodeError):
        files.write_text("notes.txt", "\ud800")
    assert files.read_text("notes.txt") == "old"
    assert list(files.path("notes.txt").parent.iterdir()) == [files.path("notes.txt")]


def test_a_link_in_the_place_of_the_fresh_file_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("untouched")
    (tmp_path / f".notes.txt.{os.getpid()}").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic link"):
        replace_file(tmp_path / "notes.txt", "x")
    assert (tmp_path / "victim").read_text() == "untouched"


def test_a_report_has_its_title_and_lies_among_the_others(reports: Reports, tmp_path: Path) -> None:
    path = write(reports, "Two\nlines ", "\n body \n\n", name="digest", day="2026-06-01")
    assert path == tmp_path / "reports" / "digest.md"
    assert path.read_text() == "# Two lines\n\nbody\n"


def test_the_same_name_is_the_same_report(reports: Reports, tmp_path: Path) -> None:
    write(reports, "One", "1", name="digest", day="2026-06-01")
    write(reports, "Two", "2", name="digest", day="2026-06-02")
    assert list((tmp_path / "reports").iterdir()) == [reports.path("digest")]
    assert "# Two" in reports.path("digest").read_text()


def test_a_report_without_a_name_never_replaces_another(reports: Reports) -> None:
    names = [
        write(reports, "Café & Co.!", str(number), name=None, day="2026-06-01").name
        for number in range(3)
    ]
    assert names == [
        "2026-06-01-a-caf-co.md",
        "2026-06-01-a-caf-co-2.md",
        "2026-06-01-a-caf-co-3.md",
    ]


@pytest.mark.parametrize("title", ["", "!!!", "日本語", "\n"])
def test_a_title_without_a_letter_still_gets_a_report(reports: Reports, title: str) -> None:
    path = write(reports, title, "x", name=None, day="2026-06-01")
    assert path.name == "2026-06-01-a-report.md"


def test_the_longest_worker_with_the_longest_title_still_gets_reports(tmp_path: Path) -> None:
    reports = Reports(tmp_path, LONGEST_WORKER)
    for _ in range(2):
        assert write(reports, "t" * 500, "x", name=None, day="2026-06-01").exists()
