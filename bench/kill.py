"""From a kill to the last side effect of the workers that it reaches."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio

from bench.daemons import Daemon, Worker, command, environment, running, until, write_config
from bench.figures import Figure, Goal, percentile
from bench.marks import marks
from bench.site import Site
from supervisor.clock import SystemClock, to_us
from supervisor.config import load
from supervisor.events.log import Origin
from supervisor.governance.kill_switch import KillCommand, engage, release
from supervisor.ids import RandomIds
from supervisor.maintenance.stop_file import write_stop
from supervisor.storage.database import Database
from supervisor.storage.open import open_database

TITLE = "kill → last side effect"
GOAL = Goal(target=250, aim=50)

_LATCHES = 40
_COMMANDS = 20
_STARTS = 20
_QUIET_S = 0.15

_Kill = Callable[[], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Spans:
    """Milliseconds from one way of killing to the last sign of each of the two workers."""

    waiting: list[float] = field(default_factory=list)
    acting: list[float] = field(default_factory=list)

    def add(self, engaged_ns: int, scene: Scene) -> None:
        """Note one kill, now that all is quiet."""
        self.waiting.append(max(marks(scene.waiting)[-1] - engaged_ns, 0) / 1e6)
        self.acting.append(max(marks(scene.acting)[-1] - engaged_ns, 0) / 1e6)

    def figures(self, way: str) -> list[Figure]:
        """Return p50 and p99 of each worker."""
        cases = (("awaiting a 60 s call", self.waiting), ("acting every 2 ms", self.acting))
        return [
            Figure(
                what=f"{way}, {case}, {name}",
                value=round(percentile(spans, rank), 2),
                unit="ms",
                samples=len(spans),
                goal=GOAL,
            )
            for case, spans in cases
            for name, rank in (("p50", 0.5), ("p99", 0.99))
        ]


class Scene:
    """A config with the two workers, and what they leave behind."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.waiting = folder / "waiting"
        self.acting = folder / "acting"
        self.config = write_config(
            folder,
            [
                Worker(
                    name="waiting",
                    function="wait_for_model",
                    every_s=0.05,
                    model="slow/any",
                    options={"marks": str(self.waiting)},
                ),
                Worker(
                    name="acting",
                    function="act_often",
                    every_s=0.05,
                    options={"marks": str(self.acting)},
                ),
            ],
        )

    def wait_busy(self) -> None:
        """Return at a random moment while both workers are in the middle of their work."""
        begun = self.waiting.with_suffix(".begun")
        until(lambda: len(marks(begun)) == len(marks(self.waiting)) + 1, "a call in flight")
        until(lambda: _age_s(self.acting) < 0.05, "side effects")
        time.sleep(random.uniform(0.2, 0.4))

    def wait_quiet(self) -> None:
        """Return once neither worker does anything."""
        begun = self.waiting.with_suffix(".begun")
        until(lambda: len(marks(begun)) == len(marks(self.waiting)), "the call's end")
        until(lambda: _age_s(self.acting) > _QUIET_S, "no more side effects")


def _age_s(file: Path) -> float:
    left = marks(file)
    return (time.monotonic_ns() - left[-1]) / 1e9 if left else float("inf")


def measure(site: Site) -> tuple[Figure, ...]:
    """Kill in every way, with one worker that awaits a slow call and one that acts all the time."""
    figures = _by_start(site, "STOP file", _write_stop)
    figures += _by_start(site, "second SIGTERM", _second_signal)
    figures += anyio.run(_by_latch, site)
    return tuple(figures)


def _by_start(site: Site, way: str, kill: Callable[[Daemon], int]) -> list[Figure]:
    spans = Spans()
    for number in range(site.pick(_STARTS, 2)):
        scene = Scene(site.folder / f"{way} {number}")
        with running(scene.config) as daemon:
            scene.wait_busy()
            engaged_ns = kill(daemon)
            daemon.wait_ended()
            spans.add(engaged_ns, scene)
    return spans.figures(way)


def _write_stop(daemon: Daemon) -> int:
    engaged_ns = time.monotonic_ns()
    write_stop(daemon.state_dir, actor="bench", why="measured", at=SystemClock().now())
    return engaged_ns


def _second_signal(daemon: Daemon) -> int:
    daemon.process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    engaged_ns = time.monotonic_ns()
    daemon.process.send_signal(signal.SIGTERM)
    return engaged_ns


async def _by_latch(site: Site) -> list[Figure]:
    scene = Scene(site.folder / "latch")
    loaded = load(scene.config)
    figures: list[Figure] = []
    with running(scene.config) as daemon:
        now_us = to_us(SystemClock().now())
        database = await open_database("sqlite", state_dir=loaded.state_dir, now_us=now_us)
        latch = Latch(database, scene)
        by_store = partial(_by_store, latch)
        ways: tuple[tuple[str, _Kill, int], ...] = (
            ("latched in the store by another process", by_store, site.pick(_LATCHES, 2)),
            ("POST /kill", partial(_by_post, daemon), site.pick(_LATCHES, 2)),
            (
                "`supervisor kill`, from its exec",
                partial(_by_command, scene.config),
                site.pick(_COMMANDS, 2),
            ),
        )
        for way, kill, times in ways:
            figures += (await latch.spans(kill, times)).figures(way)
        await database.close()
    return figures


class Latch:
    """The kill switch of a running daemon, turned by this process through the store."""

    def __init__(self, database: Database, scene: Scene) -> None:
        self._database = database
        self._scene = scene
        self._ids = RandomIds()

    async def turn(self, operation: Callable[..., object]) -> None:
        """Engage or release the system's kill."""
        origin = Origin(at=SystemClock().now(), actor="bench", command_id=self._ids.new("bench"))
        command = KillCommand(scope="system", why="measured")
        timezone = load(self._scene.config).timezone
        await self._database.write(operation, command, origin, timezone)

    async def spans(self, kill: _Kill, times: int) -> Spans:
        """Kill and release that often, and return how long each kill took."""
        spans = Spans()
        for _ in range(times):
            await anyio.to_thread.run_sync(self._scene.wait_busy)
            engaged_ns = await kill()
            await anyio.to_thread.run_sync(self._scene.wait_quiet)
            spans.add(engaged_ns, self._scene)
            await self.turn(release)
        return spans


async def _by_store(latch: Latch) -> int:
    engaged_ns = time.monotonic_ns()
    await latch.turn(engage)
    return engaged_ns


async def _by_post(daemon: Daemon) -> int:
    engaged_ns = time.monotonic_ns()
    status = daemon.post("/kill", {"scope": "system", "why": "measured"})
    assert status == 200, f"POST /kill answered {status}"
    return engaged_ns


async def _by_command(config: Path) -> int:
    engaged_ns = time.monotonic_ns()
    words = command(config, "kill", "--system", "--why", "measured")
    subprocess.run(words, env=environment(), check=True, capture_output=True)
    return engaged_ns
