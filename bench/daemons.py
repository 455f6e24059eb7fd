"""Real daemons in processes of their own, on configs made for a measurement."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from supervisor.lock import LOCK_NAME, Holder, read_holder

ROOT = Path(__file__).resolve().parent.parent
WAIT_S = 30.0

_HEAD = """
[supervisor]
state_dir = "var"
grace_s = 30.0
database = DATABASE
[session]
max_cost_usd = 1000000.0
max_actions = 1000000000
[spend]
daily_cap_usd = 1000000.0
[breakers]
repeats_max = 0
rate_multiple = 0.0
open_ratio = 0.0
[http]
listen = "127.0.0.1:0"
[providers.builtin]
kind = "builtin"
[providers.slow]
kind = "scripted"
price = { input_usd_per_mtok = 1.0, output_usd_per_mtok = 5.0 }
[[providers.slow.script.steps]]
latency_s = 60.0
[providers.quick]
kind = "scripted"
price = { input_usd_per_mtok = 1.0, output_usd_per_mtok = 5.0 }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker of a measured daemon; `function` is one of `bench.workers`.

    With a `queue` it ticks for jobs and not by the clock.
    """

    name: str
    function: str
    every_s: float = 3600.0
    model: str = "builtin/extractive"
    options: Mapping[str, str | float] | None = None
    queue: str = ""

    def toml(self) -> str:
        """Return its section of the config."""
        lines = [
            f"[worker.{self.name}]",
            f'run = "bench.workers:{self.function}"',
            f"queue = {json.dumps(self.queue)}" if self.queue else f"every_s = {self.every_s}",
            f'model = "{self.model}"',
            f"[worker.{self.name}.options]",
            *(f"{key} = {json.dumps(value)}" for key, value in (self.options or {}).items()),
        ]
        return "\n".join(lines)


def write_config(
    folder: Path, workers: Iterable[Worker], *, log_level: str = "info", database: str = "sqlite"
) -> Path:
    """Write a config with high limits and scripted providers, and return its path."""
    path = folder / "config.toml"
    head = _HEAD.replace("DATABASE", json.dumps(database))
    parts = [head, f'[log]\nlevel = "{log_level}"', *(worker.toml() for worker in workers)]
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")
    return path


def environment() -> dict[str, str]:
    """Return the environment of a measured process: this tree first on the Python path."""
    kept = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    return kept | {"PYTHONPATH": str(ROOT)}


def command(config: Path, *words: str) -> list[str]:
    """Return the command line `supervisor --config CONFIG WORDS`."""
    return [sys.executable, "-m", "supervisor", "--config", str(config), *words]


class Daemon:
    """A running `supervisor run`; `started_ns` is the moment just before its exec."""

    def __init__(self, config: Path) -> None:
        self.state_dir = config.parent / "var"
        self._log = config.parent / "daemon.log"
        with self._log.open("ab") as log:
            self.started_ns = time.monotonic_ns()
            self.process = subprocess.Popen(
                command(config, "run"),
                cwd=config.parent,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_ready(self) -> None:
        """Return once `/readyz` says yes."""
        self.wait_until(self._is_ready, "a ready daemon")

    def wait_until(self, is_true: Callable[[], bool], what: str) -> None:
        """Wait for something that this daemon does; it must not end meanwhile."""

        def is_true_and_alive() -> bool:
            assert self.process.poll() is None, self._log.read_text()[-2000:]
            return is_true()

        until(is_true_and_alive, what)

    def wait_ended(self) -> None:
        """Return once the process has exited, which must be with 0."""
        code = self.process.wait(timeout=WAIT_S)
        assert code == 0, f"the daemon exited {code}: {self._log.read_text()[-2000:]}"

    def end(self) -> None:
        """End the process if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def post(self, path: str, body: Mapping[str, str]) -> int:
        """Send a command over HTTP and return the status."""
        return self._ask("POST", path, json.dumps(body))[0]

    def _is_ready(self) -> bool:
        try:
            return self._ask("GET", "/readyz", None)[0] == 200
        except OSError:
            return False

    def get(self, path: str) -> str:
        """Return what it answers over HTTP."""
        return self._ask("GET", path, None)[1]

    def _ask(self, method: Literal["GET", "POST"], path: str, body: str | None) -> tuple[int, str]:
        holder = self._holder()
        if holder is None or not holder.listen:
            return 0, ""
        connection = http.client.HTTPConnection(holder.listen, timeout=WAIT_S)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def _holder(self) -> Holder | None:
        holder = read_holder(self.state_dir / LOCK_NAME)
        return holder if holder is not None and holder.pid == self.pid else None


@contextmanager
def running(config: Path) -> Iterator[Daemon]:
    """Run a daemon while the block does; it is ready when the block begins."""
    daemon = Daemon(config)
    try:
        daemon.wait_ready()
        yield daemon
    finally:
        daemon.end()


def until(is_true: Callable[[], bool], what: str) -> None:
    """Wait for something that another process does.

    Raises:
        TimeoutError: it has not happened within 30 s.
    """
    deadline_s = time.monotonic() + WAIT_S
    while not is_true():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"waited {WAIT_S:g} s for {what}")
        time.sleep(0.005)
