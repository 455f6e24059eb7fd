"""The disk below the state directory: its kind, its room for files, its pace."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.maintenance import doctor_disk
from supervisor.maintenance.doctor_disk import examine_disk, filesystem_of

MOUNTS = """\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 21 0:35 / {folder} rw - nfs4 server:/x rw,vers=4.2
41 21 0:36 / {folder}x rw - tmpfs tmpfs rw
42 21 8:2 / /mnt/a\\040b rw - xfs /dev/sdb rw
"""


def whats(folder: Path, *, has_file: bool = True) -> list[str]:
    return [finding.what for finding in examine_disk(folder, has_file=has_file)]


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS.format(folder=tmp_path / "net"))
    monkeypatch.setattr(doctor_disk, "filesystem_of", lambda folder: filesystem_of(folder, path))
    return path


def test_a_disk_that_is_well_is_no_finding_and_nothing_is_left_on_it(tmp_path: Path) -> None:
    assert whats(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_store_on_a_network_disk_is_found(tmp_path: Path, mounts: Path) -> None:
    folder = tmp_path / "net" / "var"
    folder.mkdir(parents=True)
    assert "is of kind nfs4" in whats(folder)[0]
    assert whats(folder, has_file=False) == [], "with Postgres no store lies on it"


def test_the_nearest_mount_is_the_kind_of_a_folder(tmp_path: Path, mounts: Path) -> None:
    assert filesystem_of(tmp_path / "net" / "a", mounts) == "nfs4"
    assert filesystem_of(tmp_path / "netx", mounts) == "tmpfs"
    assert filesystem_of(Path("/mnt/a b/c"), mounts) == "xfs"
    assert filesystem_of(Path("/opt"), mounts) == "ext4"
    assert filesystem_of(Path("/opt"), tmp_path / "no-such-file") == ""


def test_a_slow_disk_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_disk, "_SYNC_MAX_S", 0.0)
    assert "to keep a write" in whats(tmp_path)[0]


def test_a_disk_that_takes_no_file_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> float:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(doctor_disk, "sync_time_s", refuse)
    assert whats(tmp_path) == ["takes no file: No space left on device"]


def test_a_disk_without_room_for_more_files_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_disk, "_INODES_MIN", 1 << 62)
    if not os.statvfs(tmp_path).f_files:
        pytest.skip("this file system does not count its files")
    assert "more files" in whats(tmp_path)[0]
