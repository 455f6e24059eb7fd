"""The thread that looks at the loop from outside: what it logs, and when it ends the process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import structlog
from structlog.typing import EventDict

from supervisor.clock import VirtualClock
from supervisor.maintenance.loop_guard import Limits, LoopGuard
from supervisor.maintenance.loop_lag import LoopLag
from tests.unit.recorded_log import RecordedLog

LIMITS = Limits(warn_s=1.0, abort_s=20.0, stop_s=1.0)


@dataclass
class Watch:
    """A guard that is asked to look, and what it did."""

    clock: VirtualClock
    log: RecordedLog
    lag: LoopLag = field(init=False)
    guard: LoopGuard = field(init=False)
    running: Sequence[str] = ()
    is_stop_asked: bool = False
    did: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lag = LoopLag(clock=self.clock, warn_s=1.0, on_block=lambda began_s, lag_s: None)
        self.guard = LoopGuard(
            lag=self.lag,
            clock=self.clock,
            log=self.log.log,
            limits=LIMITS,
            running=lambda: self.running,
            is_stop_asked=lambda: self.is_stop_asked,
            last_words=self.did.append,
            exit=lambda: self.did.append("exit"),
        )
        # As `start` does, without the thread.
        self.guard._loop_thread = threading.get_ident()

    def begin_turn(self) -> None:
        self.lag.turn_began_s = self.clock.monotonic()

    def end_turn(self) -> None:
        self.lag.turn_began_s = None

    def look_until(self, seconds: float) -> list[float]:
        """Look as the thread does for that long, and return when it did."""
        moments: list[float] = []
        end_s = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end_s and "exit" not in self.did:
            moments.append(self.clock.monotonic())
            self.clock.advance(self.guard.look())
        return moments


@pytest.fixture
def watch(clock: VirtualClock, recorded: RecordedLog) -> Watch:
    return Watch(clock, recorded)


def test_an_idle_loop_is_looked_at_once_a_second_and_nothing_is_said(
    watch: Watch, recorded: RecordedLog
) -> None:
    assert len(watch.look_until(60)) == 60
    assert recorded.events == []
    assert watch.did == []


@pytest.mark.parametrize("begins_s", [0.0, 0.3, 0.999])
def test_a_block_is_logged_with_its_stack_as_soon_as_it_is_one_wherever_it_began(
    watch: Watch, recorded: RecordedLog, begins_s: float
) -> None:
    next_look_s = watch.guard.look()
    watch.clock.advance(begins_s)
    watch.begin_turn()
    watch.clock.advance(next_look_s - begins_s)
    watch.look_until(begins_s + 0.03)
    (line,) = recorded.lines("loop_is_blocked")
    assert 1.0 <= float(str(line["blocked_s"])) <= 1.02
    stack = line["stack"]
    assert isinstance(stack, list)
    assert "look_until" in "".join(stack)
    assert all(isinstance(frame, str) for frame in stack)


def test_a_block_is_logged_once_and_the_next_one_again(watch: Watch, recorded: RecordedLog) -> None:
    for _ in range(2):
        watch.begin_turn()
        watch.look_until(15)
        watch.end_turn()
        watch.look_until(2)
    assert recorded.events == ["loop_is_blocked", "loop_is_blocked"]


def test_many_short_turns_are_no_block(watch: Watch, recorded: RecordedLog) -> None:
    for _ in range(100):
        watch.begin_turn()
        watch.look_until(0.7)
    assert recorded.events == []


def test_a_block_beyond_the_limit_ends_the_process_with_all_stacks_said_first(
    watch: Watch, recorded: RecordedLog
) -> None:
    watch.begin_turn()
    moments = watch.look_until(60)
    assert moments[-1] == pytest.approx(20.0, abs=0.02)
    assert recorded.events == ["loop_is_blocked", "loop_blocked_too_long"]
    (line,) = recorded.lines("loop_blocked_too_long")
    stacks = line["stacks"]
    assert isinstance(stacks, dict)
    assert any(name.startswith("MainThread") for name in stacks)
    assert "loop_block_abort_s" in str(line["why"])
    assert len(watch.did) == 2
    assert watch.did[0] == line["why"]
    assert watch.did[1] == "exit"


def test_a_log_that_hangs_does_not_keep_the_process_alive(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A terminal that is paused, a pipe that nobody reads: the loop hangs there, and so would we.
    monkeypatch.setattr("supervisor.maintenance.loop_guard._WORDS_S", 0.05)
    never = threading.Event()

    def hang(_logger: object, _method: str, _event: EventDict) -> EventDict:
        never.wait()
        raise structlog.DropEvent

    watch.guard.log = structlog.wrap_logger(None, processors=[hang])
    watch.begin_turn()
    watch.look_until(60)
    assert watch.did == ["exit"]
    never.set()


def test_a_stop_ends_a_blocked_process_sooner_and_an_idle_one_not_at_all(
    watch: Watch, recorded: RecordedLog
) -> None:
    watch.is_stop_asked = True
    watch.look_until(10)
    assert watch.did == []
    watch.is_stop_asked = False
    watch.begin_turn()
    watch.look_until(5)
    assert watch.did == []
    watch.is_stop_asked = True
    began_s = watch.clock.monotonic()
    moments = watch.look_until(10)
    # As long as any worker gets to end: stop_s, and a look of a second.
    assert moments[-1] - began_s <= 2.0
    assert watch.did[-1] == "exit"
    assert "while it was to stop" in str(recorded.lines("loop_blocked_too_long")[0]["why"])


def test_the_time_of_a_process_that_was_stopped_is_no_block(
    watch: Watch, recorded: RecordedLog
) -> None:
    # Ctrl-Z, a debugger, a machine that paused: the loop stood still, and so did this thread.
    watch.begin_turn()
    watch.guard.look()
    watch.clock.advance(3_600)
    watch.guard.look(late_s=3_599.0)
    assert watch.did == []
    watch.clock.advance(10)
    watch.guard.look()
    assert watch.did == []
    watch.clock.advance(10)
    watch.guard.look()
    assert watch.did[-1] == "exit"


def test_a_process_that_was_stopped_in_a_turn_that_nobody_had_seen_begin_is_not_blocked(
    watch: Watch,
) -> None:
    watch.guard.look()
    watch.begin_turn()
    watch.clock.advance(3_600)
    watch.guard.look(late_s=3_599.0)
    assert watch.did == []
    # If it then really is blocked, it ends all the same.
    assert watch.look_until(60)[-1] == pytest.approx(3_619.0, abs=0.1)
    assert watch.did[-1] == "exit"


def test_the_suspended_and_the_set_wall_clock_are_no_block(
    watch: Watch, recorded: RecordedLog
) -> None:
    watch.begin_turn()
    for seconds in (-3_600.0, 3_600.0, 10 * 365 * 86_400.0, 3 * 3_600.0):
        watch.clock.step_wall(seconds)
        watch.guard.look()
    assert recorded.events == []
    assert watch.did == []


async def test_the_worker_is_named_by_the_task_that_blocks(
    watch: Watch, recorded: RecordedLog
) -> None:
    watch.guard._loop = asyncio.get_running_loop()
    watch.running = ("digest", "other")

    async def block() -> None:
        watch.begin_turn()
        watch.look_until(2)

    await asyncio.create_task(block(), name="worker:digest")
    (line,) = recorded.lines("loop_is_blocked")
    assert (line["worker"], line["task"]) == ("digest", "worker:digest")


def test_the_worker_is_named_where_only_one_runs_and_not_guessed_among_two(
    watch: Watch, recorded: RecordedLog
) -> None:
    for running in (("digest",), ("digest", "other"), ()):
        watch.running = running
        watch.begin_turn()
        watch.look_until(2)
        watch.end_turn()
        watch.look_until(1)
    assert [line["worker"] for line in recorded.lines("loop_is_blocked")] == ["digest", "", ""]


def test_what_was_seen_of_a_block_is_known_when_it_is_over(watch: Watch) -> None:
    watch.running = ("digest",)
    watch.begin_turn()
    watch.look_until(3)
    began_s = watch.lag.turn_began_s
    watch.end_turn()
    assert began_s is not None
    seen = watch.guard.witness(began_s)
    assert seen.worker == "digest"
    assert ".py:" in seen.where
    assert watch.guard.witness(began_s + 1).where == ""


async def test_a_real_thread_sees_a_real_block(recorded: RecordedLog) -> None:
    from supervisor.clock import SystemClock

    clock, blocked = SystemClock(), threading.Event()
    lag = LoopLag(clock=clock, warn_s=0.05, on_block=lambda began_s, lag_s: None)
    guard = LoopGuard(
        lag=lag,
        clock=clock,
        log=recorded.log,
        limits=Limits(warn_s=0.05, abort_s=0.2, stop_s=1.0),
        running=lambda: ["digest"],
        is_stop_asked=lambda: False,
        last_words=lambda _: None,
        exit=blocked.set,
    )
    lag.watch(asyncio.get_running_loop())
    guard.start()
    try:
        assert blocked.wait(5)
    finally:
        guard.stop()
    (line,) = recorded.lines("loop_is_blocked")
    assert "blocked.wait(5)" in str(line["stack"])
