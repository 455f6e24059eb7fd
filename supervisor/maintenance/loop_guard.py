"""A thread that looks at the event loop from outside, and ends a process whose loop is blocked."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType

from structlog.typing import FilteringBoundLogger

from supervisor.clock import Clock
from supervisor.maintenance.loop_lag import LoopLag

#: Beyond what the kernel is late anyway: then this thread itself stood still, and saw no block.
_LATE_S = 0.5
_LOOK_EVERY_MAX_S = 1.0
_LOOK_EVERY_MIN_S = 0.01
_WORDS_S = 3.0
_FRAMES_MAX = 25
_THREADS_MAX = 50
#: How often the interpreter's own timer is wound up, and what it leaves to this thread.
_REWIND_EVERY_S = 5.0
_WORKER_TASK = "worker:"  # as worker/workforce.py names the tasks of workers


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is done after how many seconds of one block; `stop_s` is for a loop that shall stop."""

    warn_s: float
    abort_s: float
    stop_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """What was seen of a block while it lasted; `worker` is empty where it is not known."""

    worker: str = ""
    task: str = ""
    where: str = ""
    stack: Sequence[str] = ()


@dataclass(slots=True, kw_only=True)
class LoopGuard:
    """Logs the stack of a block once, and ends the process when the block lasts too long.

    A thread can see Python code that blocks the loop, and can't cancel it: that is why nothing is
    left but to end the process. `is_stop_asked` says that the process shall stop anyhow, as the
    STOP file does, so that it ends sooner. `last_words` are said before the end, `exit` is the
    end. Only the guard's thread writes its fields.
    """

    lag: LoopLag
    clock: Clock
    log: FilteringBoundLogger
    limits: Limits
    #: The workers whose ticks run.
    running: Callable[[], Sequence[str]]
    is_stop_asked: Callable[[], bool]
    last_words: Callable[[str], None]
    exit: Callable[[], None]
    _turn_s: float | None = None
    _lost_s: float = 0.0
    _stop_seen_s: float | None = None
    _seen: Witness | None = None
    _rewound_s: float | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _loop_thread: int = 0
    _is_over: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Watch the loop that runs in this thread."""
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        # Daemonic: it must not keep a process alive that wants to end.
        threading.Thread(target=self._run, name="loop-guard", daemon=True).start()

    def stop(self) -> None:
        """Watch no more."""
        self._is_over.set()
        faulthandler.cancel_dump_traceback_later()

    def _run(self) -> None:
        late_s = 0.0
        while True:
            wait_s = self.look(late_s)
            self._rewind()
            before_s = self.clock.monotonic()
            if self._is_over.wait(wait_s):
                return
            late_s = self.clock.monotonic() - before_s - wait_s

    def _rewind(self) -> None:
        """Wind up the timer that the interpreter keeps in C, which ends the process with 1.

        It is for code that holds the interpreter's lock, a regular expression without an end for
        example: that stops this thread too. Not on a terminal, where Ctrl-Z would let it run out.
        """
        now_s = self.clock.monotonic()
        if self._rewound_s is not None and now_s - self._rewound_s < _REWIND_EVERY_S:
            return
        self._rewound_s = now_s
        # Without a standard error, or one that is no file, there is nowhere to dump to.
        with contextlib.suppress(AttributeError, OSError, RuntimeError, ValueError):
            if not sys.stderr.isatty() and not self._is_over.is_set():
                limit_s = self.limits.abort_s + _REWIND_EVERY_S
                faulthandler.dump_traceback_later(limit_s, exit=True)

    def look(self, late_s: float = 0.0) -> float:
        """Look once and return the seconds until the next look.

        `late_s` is how much later than it wanted this thread came to look: the time of a stopped
        process or of a machine that stood still is no time of the loop's.
        """
        turn_s = self.lag.turn_began_s
        if turn_s is None or turn_s != self._turn_s:
            self._turn_s, self._lost_s = turn_s, 0.0
            self._stop_seen_s = self._seen = None
        if late_s > _LATE_S:
            # Also of a turn that is new to us: it may have begun before.
            self._lost_s += late_s
        if turn_s is None:
            return min(self.limits.warn_s, _LOOK_EVERY_MAX_S)
        blocked_s = self.clock.monotonic() - turn_s - self._lost_s
        return self._judge(blocked_s)

    def _judge(self, blocked_s: float) -> float:
        limits = self.limits
        if blocked_s >= limits.abort_s:
            self._end(blocked_s, why="for longer than loop_block_abort_s")
            return _LOOK_EVERY_MAX_S
        if blocked_s < limits.warn_s:
            return _within(limits.warn_s - blocked_s)
        if self._seen is None:
            self._seen = self._witness()
            self._tell(self._seen, blocked_s)
        if self._shall_stop(blocked_s):
            self._end(blocked_s, why="while it was to stop")
        return _within(limits.abort_s - blocked_s)

    def _shall_stop(self, blocked_s: float) -> bool:
        """Return whether a stop has been asked for that this loop does not obey in time."""
        if not self.is_stop_asked():
            return False
        if self._stop_seen_s is None:
            self._stop_seen_s = blocked_s
        return blocked_s - self._stop_seen_s >= self.limits.stop_s

    def _tell(self, seen: Witness, blocked_s: float) -> None:
        def speak() -> None:
            self.log.warning(
                "loop_is_blocked",
                blocked_s=round(blocked_s, 3),
                worker=seen.worker,
                task=seen.task,
                stack=seen.stack,
            )

        _say(speak)

    def _end(self, blocked_s: float, *, why: str) -> None:
        seen = self._witness()
        what = f"the event loop was blocked {why}, at {seen.where or 'a place unknown'}"

        def speak() -> None:
            self.log.error(
                "loop_blocked_too_long",
                why=what,
                blocked_s=round(blocked_s, 3),
                worker=seen.worker,
                stacks=_all_stacks(),
            )
            self.last_words(what)

        _say(speak)
        self.exit()

    def witness(self, turn_s: float) -> Witness:
        """Return what was seen of the turn that began then; nothing, if it was too short."""
        seen = self._seen
        return seen if seen is not None and self._turn_s == turn_s else Witness()

    def _witness(self) -> Witness:
        task = asyncio.current_task(self._loop) if self._loop is not None else None
        name = "" if task is None else task.get_name()
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - the documented way
        stack = [] if frame is None else _stack(frame)
        return Witness(
            worker=self._worker(name),
            task=name,
            where=stack[-1].splitlines()[0] if stack else "",
            stack=stack,
        )

    def _worker(self, task: str) -> str:
        """Return whose tick it is: by the task's name, or because only one tick runs."""
        if task.startswith(_WORKER_TASK):
            return task.removeprefix(_WORKER_TASK)
        running = self.running()
        return running[0] if len(running) == 1 else ""


def _say(speak: Callable[[], None]) -> None:
    """Say something, but not for ever: what blocks the loop may be the log, or who reads it."""
    speaking = threading.Thread(target=speak, name="loop-guard-words", daemon=True)
    speaking.start()
    speaking.join(_WORDS_S)


def _within(wait_s: float) -> float:
    return min(max(wait_s, _LOOK_EVERY_MIN_S), _LOOK_EVERY_MAX_S)


def _stack(frame: FrameType) -> list[str]:
    """Return the innermost frames, outermost first, each as its place and its line of code."""
    summary = traceback.extract_stack(frame)[-_FRAMES_MAX:]
    return [f"{entry.filename}:{entry.lineno} {entry.name}\n{entry.line}" for entry in summary]


def _all_stacks() -> dict[str, list[str]]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = list(sys._current_frames().items())[:_THREADS_MAX]  # noqa: SLF001 - as above
    return {f"{names.get(ident, '?')} {ident}": _stack(frame) for ident, frame in frames}
