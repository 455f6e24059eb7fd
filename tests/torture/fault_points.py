"""Named places in a daemon's life, at one of which its process ends as by a power cut."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from supervisor.storage.open import open_database

if TYPE_CHECKING:
    from supervisor.storage.database import Database, P, T, Transaction, TransactionFunction

#: Before the line of the point at which the process ends itself.
FATAL_MARK = "!"

#: https://docs.kernel.org/scheduler/sched-stats.html (read 2026-11-21)
_SCHEDULED = Path("/proc/self/schedstat")
#: What makes a transaction worth a name of its own: a tick that rotates is not like the others.
_REMARKABLE = (
    "cycle_skipped",
    "session_rotated",
    "session_opened",
    "session_resumed",
    "checkpoint_created",
    "hold_forfeited",
    "call_refused",
    "cycle_recovered",
)


class FaultPoints:
    """Counts the passages of each point, and ends the process at the chosen one.

    Each is reported once, as a line of its name, the seconds of CPU that the process had taken by
    then, and those for which its main thread had waited for one. Reached from the loop's thread
    and the store's.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._passed: Counter[str] = Counter()
        self._report_to: int | None = None
        self._fatal = ""
        self._passage = 0
        self._delay_s = 0.0

    def arm(self, *, report_to: int, fatal: str, passage: int, delay_s: float) -> None:
        """Report to a descriptor, and end the process at that passage of the point `fatal`.

        At a point that is `within` something, it ends `delay_s` later, whatever it does then.
        """
        self._report_to = report_to
        self._fatal, self._passage, self._delay_s = fatal, passage, delay_s

    def reach(self, name: str) -> None:
        """Pass a point."""
        if self._is_fatal(name):
            _end_process()

    def enter(self, name: str) -> None:
        """Pass a point whose death comes while the process goes on."""
        if self._is_fatal(name):
            threading.Thread(target=self._end_later, daemon=True).start()

    def _is_fatal(self, name: str) -> bool:
        if self._report_to is None:
            return False
        with self._lock:
            self._passed[name] += 1
            passage = self._passed[name]
        is_fatal = name == self._fatal and passage == self._passage
        if passage == 1:
            self._report(f"{name} {time.process_time():.3f} {_waited_s():.3f}")
        if is_fatal:
            self._report(FATAL_MARK + name)
        return is_fatal

    def _report(self, line: str) -> None:
        assert self._report_to is not None, "reported before it was armed"
        os.write(self._report_to, f"{line}\n".encode())

    def _end_later(self) -> None:
        time.sleep(self._delay_s)
        _end_process()


#: This process's own; it does nothing until it is armed.
POINTS = FaultPoints()


def _waited_s() -> float:
    """Return for how long the main thread was ready to run and had no CPU; 0 where nobody says."""
    try:
        _, waited_ns, _ = _SCHEDULED.read_text().split()
    except OSError:
        return 0.0
    return int(waited_ns) / 1e9


def _end_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    # Nothing of this thread comes after the point, however late the signal arrives.
    threading.Event().wait()


class _TappedTransaction:
    """A transaction with a point after each event; everything else is the real one's."""

    def __init__(self, tx: Transaction, name: str) -> None:
        self._tx = tx
        self._name = name
        self._kinds: list[str] = []

    def __getattr__(self, attribute: str) -> object:
        return getattr(self._tx, attribute)

    def publish(self, fact: object) -> None:
        self._tx.publish(fact)
        kind = str(getattr(getattr(fact, "event", None), "kind", type(fact).__name__))
        self._kinds.append(kind)
        POINTS.reach(f"{self._name}/{kind}")

    @property
    def full_name(self) -> str:
        """The function's name, and the one thing that makes this run of it worth its own."""
        remarkable = [kind for kind in _REMARKABLE if kind in self._kinds]
        return f"{self._name}+{remarkable[0]}" if remarkable else self._name


class _TappedDatabase:
    """The store, with points around each transaction; everything else is the real one's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __getattr__(self, attribute: str) -> object:
        return getattr(self._database, attribute)

    def write(
        self, function: TransactionFunction[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Awaitable[T]:
        name = _name_of(function)
        full_name = name
        POINTS.reach(f"{name}:asked")

        def perform(tx: Transaction) -> T:
            nonlocal full_name
            POINTS.reach(f"{name}:begun")
            tapped = _TappedTransaction(tx, name)
            result = function(cast("Transaction", tapped), *args, **kwargs)
            full_name = tapped.full_name
            POINTS.reach(f"{full_name}:done")
            POINTS.enter(f"{full_name}:committing")
            return result

        perform.__name__ = perform.__qualname__ = name
        answer = asyncio.ensure_future(self._database.write(perform))

        def pass_on(answered: asyncio.Future[T]) -> None:
            # The first to be told: whoever asked is told after this.
            if not answered.cancelled() and answered.exception() is None:
                POINTS.reach(f"{full_name}:committed")

        answer.add_done_callback(pass_on)
        return answer


def _name_of(function: object) -> str:
    """Return `module.function`: there is a release of a hold, and one of a kill."""
    module = str(getattr(function, "__module__", "")).rpartition(".")[2]
    return f"{module}.{getattr(function, '__name__', 'unnamed').lstrip('_')}"


async def open_tapped(url: str, *, state_dir: Path, now_us: int) -> Database:
    """Open the real store and put the points around it."""
    POINTS.reach("launch.open_store:asked")
    database = await open_database(url, state_dir=state_dir, now_us=now_us)
    POINTS.reach("launch.open_store:opened")
    return cast("Database", _TappedDatabase(database))
