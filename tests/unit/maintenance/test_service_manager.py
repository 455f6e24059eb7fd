"""Telling systemd how the daemon is, and never failing for it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.maintenance.service_manager import ServiceManager


@pytest.fixture(params=["path", "abstract"])
def listening(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    """A notification socket as systemd has it: a path, or a name that begins with @."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        name = f"\0supervisor-test-{os.getpid()}"
        manager.bind(str(tmp_path / "notify") if request.param == "path" else name)
        manager.settimeout(5)
        yield manager


def address_of(listening: socket.socket) -> str:
    name = listening.getsockname()
    return "@" + name[1:].decode() if isinstance(name, bytes) else str(name)


def test_assignments_arrive_in_one_datagram(listening: socket.socket) -> None:
    manager = ServiceManager(address_of(listening))
    manager.notify("READY=1", "STATUS=running")
    assert listening.recv(10_000) == b"READY=1\nSTATUS=running"
    manager.close()


def test_no_socket_is_no_trouble() -> None:
    for address in (None, ""):
        manager = ServiceManager(address)
        manager.notify("READY=1")
        manager.close()


@pytest.mark.parametrize("address", ["/nowhere/notify", "@nobody-listens", "/" + "x" * 500])
def test_a_manager_that_is_not_there_is_no_trouble(address: str) -> None:
    manager = ServiceManager(address)
    manager.notify("READY=1")
    manager.close()


def test_a_manager_that_went_away_is_no_trouble(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        manager = ServiceManager(str(tmp_path / "notify"))
    manager.notify("WATCHDOG=1")
    manager.close()
    manager.notify("WATCHDOG=1")


def test_a_manager_that_does_not_read_blocks_nobody(listening: socket.socket) -> None:
    manager = ServiceManager(address_of(listening))
    for _ in range(5_000):
        manager.notify("WATCHDOG=1", "STATUS=" + "x" * 1_000)
    assert listening.recv(10_000).startswith(b"WATCHDOG=1\n")
    manager.close()


def test_a_long_status_is_cut_and_what_counts_comes_first(listening: socket.socket) -> None:
    manager = ServiceManager(address_of(listening))
    manager.notify("WATCHDOG=1", "STATUS=" + "x" * 100_000)
    received = listening.recv(200_000)
    assert received.startswith(b"WATCHDOG=1\nSTATUS=x")
    assert len(received) == 4_096
    manager.close()


def test_the_socket_is_not_inherited(listening: socket.socket) -> None:
    manager = ServiceManager(address_of(listening))
    (sending,) = [value for value in vars(manager).values() if isinstance(value, socket.socket)]
    assert not sending.get_inheritable()
    manager.close()
