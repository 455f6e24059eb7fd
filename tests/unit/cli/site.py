"""A folder with a config, a worker and a store, and the command line in this process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from supervisor.cli.main import main
from supervisor.clock import SystemClock, VirtualClock, to_us
from supervisor.storage.open import open_database
from tests.unit.governance.recorded_life import RecordedLife

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[3]

CONFIG = """
[supervisor]
state_dir = "var"
[spend]
daily_cap_usd = 1.00
[providers.builtin]
kind = "builtin"
[worker.digest]
run = "site_agent:run"
every_s = 60.0
model = "builtin/extractive"
[worker.triage]
run = "site_agent:run"
every_s = 60.0
"""
AGENT = """
async def run(ctx):
    return None
def not_a_coroutine(ctx):
    return None
"""


class Called(msgspec.Struct, frozen=True, kw_only=True):
    """What a command gave back."""

    code: int
    out: str
    err: str

    def json(self, into: type[T]) -> T:
        return msgspec.json.decode(self.out, type=into)


class Site:
    """One installation in a folder of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.state_dir = folder / "var"
        self.store = self.state_dir / "supervisor.db"
        self.stop_file = self.state_dir / "STOP"
        self.config = folder / "config.toml"
        self._capsys = capsys
        self.configure(CONFIG)
        (folder / "site_agent.py").write_text(AGENT)

    def configure(self, text: str) -> None:
        self.config.write_text(text)

    def edit_config(self, before: str, after: str) -> None:
        text = self.config.read_text()
        assert before in text
        self.config.write_text(text.replace(before, after))

    def call(self, *words: str) -> Called:
        """Call the command line on this folder's config."""
        self._capsys.readouterr()
        code = main(["--config", str(self.config), *words])
        captured = self._capsys.readouterr()
        return Called(code=code, out=captured.out, err=captured.err)

    def shell(self, words: str) -> subprocess.CompletedProcess[str]:
        """Call it in a process of its own, through a shell, which may redirect."""
        script = f"exec '{sys.executable}' -m supervisor --config '{self.config}' {words}"
        return subprocess.run(
            ["/bin/sh", "-c", script],
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def live(
        self, story: Callable[[RecordedLife], Awaitable[T]], *, at: datetime | None = None
    ) -> T:
        """Let a daemon's transactions happen, beginning now or `at` a moment."""
        self.state_dir.mkdir(mode=0o700, exist_ok=True)
        now = at or SystemClock().now()

        async def live() -> T:
            store = await open_database("sqlite", state_dir=self.state_dir, now_us=to_us(now))
            try:
                return await story(RecordedLife(store, VirtualClock(now)))
            finally:
                await store.close()

        return asyncio.run(live())


async def two_ticks(life: RecordedLife) -> None:
    """A day's beginning: a tick of each worker, with one paid call."""
    await life.start("digest", "triage")
    await life.tick("digest", 1_500)
    await life.tick("triage", 250_000)
