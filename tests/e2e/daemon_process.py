"""The daemon as its users run it: a folder with a config and workers, and a process on it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias, TypeVar

import httpx
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).resolve().parents[2]
#: Generous: the machine may have two slow cores and other work.
PATIENCE_S = 20.0

_WORKERS = Path(__file__).with_name("acceptance_workers.py")
_POLL_S = 0.01
_SHOWN_CHARS = 2_000

Tables: TypeAlias = Mapping[str, Mapping[str, object]]
Row: TypeAlias = tuple[object, ...]
T = TypeVar("T")


def wait_until(condition: Callable[[], T], *, what: str, within_s: float = PATIENCE_S) -> T:
    """Return the first answer that is true; fail where none comes in time."""
    deadline_s = time.monotonic() + within_s
    while not (answer := condition()):
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        time.sleep(_POLL_S)
    return answer


class Installation:
    """A folder as a user has it: `config.toml`, the module `agents` beside it, the state in `var`.

    Every process that is started on it ends with `end`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.toml"
        self.state_dir = folder / "var"
        self.store = self.state_dir / "supervisor.db"
        self._daemons: list[RunningDaemon] = []
        self._commands: list[subprocess.Popen[bytes]] = []
        folder.mkdir(exist_ok=True)
        shutil.copy(_WORKERS, folder / "agents.py")

    def configure(self, tables: Tables) -> None:
        """Write the config: `tables` over caps that only what a test sets is to meet.

        Breakers are those that a user has.
        """
        merged = {name: {**values} for name, values in _defaults().items()}
        for name, values in tables.items():
            merged[name] = {**merged.get(name, {}), **values}
        lines = [f"{name} = {_toml(values)}\n" for name, values in merged.items()]
        self.config.write_text("".join(lines), encoding="utf-8")

    def start(
        self,
        *options: str,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        descriptors: Sequence[int] = (),
    ) -> RunningDaemon:
        """Start the daemon and return without waiting for it."""
        number = len(self._daemons) + 1
        output = self.folder / f"daemon-{number}.txt"
        with output.open("wb") as console:
            process = subprocess.Popen(
                [*prefix, *self._command("run", *options)],
                cwd=self.folder,
                env=_environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                pass_fds=descriptors,
            )
        daemon = RunningDaemon(self, process, output)
        self._daemons.append(daemon)
        return daemon

    def start_ready(self, *options: str) -> RunningDaemon:
        """Start the daemon and wait until it says that it is ready."""
        daemon = self.start(*options)
        daemon.wait_until_ready()
        return daemon

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a command and return without waiting for it."""
        process = subprocess.Popen(
            self._command(*words),
            cwd=self.folder,
            env=_environment(None),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._commands.append(process)
        return process

    def supervisor(
        self, *words: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self._command(*words),
            cwd=self.folder,
            env=_environment(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "supervisor", "--config", str(self.config), *words]

    def end(self) -> None:
        """End every process that still runs, whatever it does."""
        for daemon in self._daemons:
            daemon.kill_9()
        for command in self._commands:
            command.kill()
            command.wait(PATIENCE_S)

    def rows(self, sql: str, *values: object) -> list[Row]:
        """Ask the store, read-only; nothing where there is no store yet."""
        if not self.store.exists():
            return []
        connection = sqlite3.connect(f"{self.store.as_uri()}?mode=ro", uri=True, timeout=PATIENCE_S)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def change(self, database: Path, sql: str) -> None:
        """Change a database behind everybody's back."""
        connection = sqlite3.connect(database, timeout=PATIENCE_S)
        try:
            with connection:
                connection.execute(sql)
        finally:
            connection.close()

    def number(self, sql: str, *values: object) -> int:
        """Return the one number that a query answers."""
        rows = self.rows(sql, *values)
        found = rows[0][0] if rows else 0
        assert found is None or isinstance(found, int), f"no number: {found!r}"
        return found or 0

    def outcomes(self, worker: str) -> list[object]:
        """Return the outcomes of the worker's ticks in order, None for one that runs."""
        rows = self.rows("SELECT outcome FROM ticks WHERE worker = ? ORDER BY number", worker)
        return [row[0] for row in rows]

    def holds(self) -> list[tuple[object, object]]:
        """Return how each hold ended and at what cost in micro-USD, in the order of placing."""
        rows = self.rows("SELECT status, cost_settled FROM holds ORDER BY placed_at, id")
        return [(status, cost) for status, cost in rows]

    def settled_today(self) -> int:
        """Return what the daily cap's account has settled, in micro-USD."""
        return self.number(
            "SELECT settled FROM accounts WHERE scope = 'system' AND period = 'day'"
            " AND unit = 'micro_usd'"
        )

    def held(self) -> int:
        """Return what all accounts together hold, in whatever unit; 0 is the only right sum."""
        return self.number("SELECT sum(held) FROM accounts")

    def events(self, kind: str) -> list[dict[str, object]]:
        """Return the payloads of the events of one kind, in order."""
        rows = self.rows("SELECT payload FROM events WHERE kind = ? ORDER BY position", kind)
        return [json.loads(str(payload)) for (payload,) in rows]

    def log_lines(self, event: str) -> list[dict[str, object]]:
        """Return the log's lines of one event."""
        path = self.state_dir / "supervisor.jsonl"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        lines = [json.loads(line) for line in text.splitlines()]
        return [line for line in lines if line["event"] == event]

    def heartbeat(self) -> dict[str, object]:
        """Return what the heartbeat's file says."""
        beat = json.loads((self.state_dir / "heartbeat.json").read_text(encoding="utf-8"))
        assert isinstance(beat, dict)
        return beat

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process from writing to the store while the block runs."""
        connection = sqlite3.connect(self.store, isolation_level=None, timeout=PATIENCE_S)
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield
        finally:
            connection.close()

    def check_audit(self) -> None:
        """Assert that events and balances prove each other, and that nothing is held any more."""
        audited = self.supervisor("audit")
        assert audited.returncode == 0, audited.stdout + audited.stderr
        assert self.held() == 0


class RunningDaemon:
    """One process of the daemon."""

    def __init__(
        self, installation: Installation, process: subprocess.Popen[bytes], output: Path
    ) -> None:
        self.pid = process.pid
        self._installation = installation
        self._process = process
        self._output = output

    def wait_until_ready(self) -> None:
        """Wait until `/readyz` answers 200."""
        wait_until(self.is_ready, what=f"the daemon is ready; it said: {self.said()}")

    def is_ready(self) -> bool:
        """Return whether it is ready; a daemon that has ended never will be."""
        assert self._process.poll() is None, f"the daemon ended: {self.said()}"
        try:
            return self._address() != "" and self.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def _address(self) -> str:
        """Return ADDRESS:PORT, empty until the daemon has written it into its lock."""
        try:
            holder = json.loads((self._installation.state_dir / "supervisor.lock").read_bytes())
        except (FileNotFoundError, ValueError):
            return ""
        return str(holder["listen"]) if holder["pid"] == self.pid else ""

    def get(self, path: str) -> httpx.Response:
        """Ask the daemon over HTTP."""
        return httpx.get(f"http://{self._address()}{path}", timeout=PATIENCE_S, trust_env=False)

    def post(
        self, path: str, body: Mapping[str, str], *, token: str | None = None
    ) -> httpx.Response:
        """Tell the daemon something over HTTP."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        url = f"http://{self._address()}{path}"
        return httpx.post(url, json=body, headers=headers, timeout=PATIENCE_S, trust_env=False)

    def metric(self, name: str, /, **labels: str) -> float:
        """Return a sample of `/metrics`, 0 where there is none yet."""
        for family in text_string_to_metric_families(self.get("/metrics").text):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return 0.0

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self, within_s: float = PATIENCE_S) -> int:
        """Wait for its end and return its exit code."""
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            last = self.said()[-_SHOWN_CHARS:]
            raise AssertionError(f"it did not end within {within_s:g} s: ...{last}") from None

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill_9(self) -> None:
        """End the process as a power cut would; nothing where it has ended."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(PATIENCE_S)

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def said(self) -> str:
        """Return what it has written to its console."""
        return self._output.read_text(encoding="utf-8", errors="replace")


@contextmanager
def installed(folder: Path) -> Iterator[Installation]:
    """Give an installation in `folder`; its processes end with the block."""
    installation = Installation(folder)
    try:
        yield installation
    finally:
        installation.end()


def _defaults() -> dict[str, dict[str, object]]:
    return {
        "supervisor": {"grace_s": 5.0, "heartbeat_s": 0.5, "timezone": _zone_at_noon()},
        "session": {"window": "daily", "max_cost_usd": 1000.0, "max_actions": 1_000_000},
        "spend": {"daily_cap_usd": 1.0},
        "http": {"listen": "127.0.0.1:0"},
    }


def _zone_at_noon() -> str:
    """Return a timezone in which it is about noon: no test meets the end of a day."""
    # The names count the other way round: it is noon at Etc/GMT-12 when it is midnight in UTC.
    return f"Etc/GMT{datetime.now(UTC).hour - 12:+d}"


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {"PYTHONPATH": str(ROOT), "USER": "tester"} | dict(more or {})


def _toml(value: object) -> str:
    """Return a value as TOML; JSON's texts, numbers and lists are TOML's too."""
    if isinstance(value, Mapping):
        pairs = (f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items())
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)
