"""Runs git for reading only, bounded in bytes and in time."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

import anyio
import msgspec
from anyio.abc import ByteReceiveStream, Process

from supervisor.config import child_environment
from supervisor.errors import SupervisorError
from supervisor.redaction import REDACTION

_ANSWER_BYTES_MAX = 1_048_576
_STDERR_BYTES_MAX = 4_096
#: A killed process is reaped in microseconds, unless a dead network disk holds it in the kernel:
#: then the worker goes on without it instead of hanging with it.
_REAP_S = 5.0

#: Settings that keep git from writing, asking, fetching or starting other programs, whatever the
#: repository's own configuration says. `safe.directory` is deliberately not among them: a
#: repository of another owner is refused by git because its configuration can run programs, and
#: trusting it is the operator's decision, once, in the daemon user's own git config.
_ENVIRONMENT = {
    "LC_ALL": "C",  # git's words are compared below
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_NO_LAZY_FETCH": "1",  # newer ones only; the next line does the same for all
    "GIT_ALLOW_PROTOCOL": "none",
}
_INHERITED = ("PATH", "HOME", "LANG")
_OPTIONS = (
    "--no-pager",
    "--literal-pathspecs",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.quotePath=false",
)

#: git's words, and what to do about them; the first that is found counts.
_CURES = {
    "not a git repository": "name a git repository in the worker's option `repositories`",
    "dubious ownership": (
        "run the daemon as its owner, or let the daemon's user trust it: "
        "`git config --global --add safe.directory PATH`"
    ),
    "promisor remote": "use a full clone: a partial one has to fetch while it is read",
}

Sink = Callable[[bytes], None]


class RepositoryNotDigested(SupervisorError):
    """A repository could not be digested this time; its commits wait, the others go on."""

    code = "repository_not_digested"


class Cut(StrEnum):
    """Why git's output was not read to its end."""

    BYTES = "bytes"
    TIME = "time"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """How a command ended: its exit status, its output and its first complaint."""

    exit_status: int
    text: str
    complaint: str


class _Ended(msgspec.Struct, frozen=True, kw_only=True):
    exit_status: int
    cut: Cut | None
    complaint: str


class Git:
    """Read-only git in one directory; all its commands together may take `budget_s` seconds.

    Made inside the event loop that uses it: the budget runs from then on. Without `has_roots`, a
    commit that has no parent here is shown without its changes: at the boundary of a shallow
    clone, the whole tree would pass for what it added.
    """

    def __init__(self, path: Path, *, budget_s: float, has_roots: bool = True) -> None:
        self._path = path
        self._options = (*_OPTIONS, "-c", f"log.showRoot={str(has_roots).lower()}")
        self._budget_s = budget_s
        self._deadline = anyio.current_time() + budget_s

    async def answer(self, *arguments: str, accepted: Sequence[int] = (0,)) -> Answer:
        """Run a command with little output and return how it ended.

        Raises:
            RepositoryNotDigested: it could not start, ended with another exit status, took
                longer than the budget, or said more than 1 MiB.
        """
        pieces: list[bytes] = []
        ended = await self._run(arguments, pieces.append, bytes_max=_ANSWER_BYTES_MAX)
        if ended.cut is not None:
            raise self._not_answered(arguments[0], ended.cut)
        if ended.exit_status not in accepted:
            raise self._refused(arguments[0], ended)
        text = b"".join(pieces).decode(errors="replace").strip()
        return Answer(exit_status=ended.exit_status, text=text, complaint=ended.complaint)

    async def stream(self, *arguments: str, sink: Sink, bytes_max: int) -> Cut | None:
        """Feed a command's output to `sink` as it comes; return why it was cut, None if whole.

        Raises:
            RepositoryNotDigested: it could not start, or git refused.
        """
        ended = await self._run(arguments, sink, bytes_max=bytes_max)
        if ended.cut is None and ended.exit_status != 0:
            raise self._refused(arguments[0], ended)
        return ended.cut

    async def _run(self, arguments: Sequence[str], sink: Sink, *, bytes_max: int) -> _Ended:
        process = await self._start(arguments)
        complaint = bytearray()
        is_whole = True
        try:
            with anyio.CancelScope(deadline=self._deadline) as budget:
                is_whole = await _read(process, sink, complaint, bytes_max=bytes_max)
        finally:
            _kill(process)
            await _reap(process)
        cut = Cut.TIME if budget.cancelled_caught else None if is_whole else Cut.BYTES
        words = complaint.decode(errors="replace").strip()
        status = process.returncode if process.returncode is not None else -1
        return _Ended(exit_status=status, cut=cut, complaint=words)

    async def _start(self, arguments: Sequence[str]) -> Process:
        try:
            return await anyio.open_process(
                ["git", "-C", str(self._path), *self._options, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise RepositoryNotDigested(
                subject=f"repository {self._path}",
                what=f"git could not be started: {error.strerror}",
                fix="install git and have it on the daemon's PATH",
            ) from error

    def _refused(self, command: str, ended: _Ended) -> RepositoryNotDigested:
        first_line = REDACTION.text(next(iter(ended.complaint.splitlines()), ""))
        fix = f"see what `git -C {self._path} fsck` says"
        cure = next((cure for words, cure in _CURES.items() if words in ended.complaint), fix)
        return RepositoryNotDigested(
            subject=f"repository {self._path}",
            what=f"`git {command}` ended with status {ended.exit_status}: {first_line[:300]}",
            fix=cure.replace("PATH", str(self._path)),
        )

    def _not_answered(self, command: str, cut: Cut) -> RepositoryNotDigested:
        if cut is Cut.BYTES:
            what, fix = f"`git {command}` said more than {_ANSWER_BYTES_MAX} bytes", "report a bug"
        else:
            what = f"`git {command}` did not end within the budget of {self._budget_s:g} s"
            fix = "raise `git_timeout_s` in the worker's options, or look at the disk"
        return RepositoryNotDigested(subject=f"repository {self._path}", what=what, fix=fix)


def _environment() -> dict[str, str]:
    return child_environment(_INHERITED) | _ENVIRONMENT


async def _read(process: Process, sink: Sink, complaint: bytearray, *, bytes_max: int) -> bool:
    """Read both outputs to the end of the process; False if there was more than `bytes_max`."""
    assert process.stdout is not None
    assert process.stderr is not None
    async with anyio.create_task_group() as readers:
        readers.start_soon(_collect, process.stderr, complaint)
        is_whole = await _pump(process.stdout, sink, bytes_max=bytes_max)
        if not is_whole:
            _kill(process)
    await process.wait()
    return is_whole


async def _pump(stream: ByteReceiveStream, sink: Sink, *, bytes_max: int) -> bool:
    """Feed `sink` until the stream ends; False if it had more than `bytes_max`."""
    bytes_left = bytes_max
    async for chunk in stream:
        sink(chunk[:bytes_left])
        bytes_left -= len(chunk)
        if bytes_left < 0:
            return False
    return True


async def _collect(stream: ByteReceiveStream, first_bytes: bytearray) -> None:
    """Keep the first bytes of the stream and read the rest away, so that git never blocks."""
    async for chunk in stream:
        first_bytes.extend(chunk[: _STDERR_BYTES_MAX - len(first_bytes)])


def _kill(process: Process) -> None:
    """Kill git and whatever it started: they are a process group of their own."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


async def _reap(process: Process) -> None:
    with anyio.move_on_after(_REAP_S, shield=True):
        await process.wait()
        await process.aclose()
