"""Keeps each thing in exactly one report, also when the daemon dies between two steps.

A tick's state is committed only after its report is written. So each report is first written
whole into the journal, a file of the worker; whoever comes after a crash finishes that step
before looking for anything new, and never asks the source or the model about it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import msgspec

from supervisor.errors import SupervisorError

if TYPE_CHECKING:
    from supervisor import Context


class Memory(Protocol):
    """What a worker remembers of one source between its reports."""

    @property
    def edition(self) -> Sequence[str]:
        """What no other memory of the same source has."""
        ...


M = TypeVar("M", bound=Memory)


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One report that is ready.

    It follows the committed memory whose edition is `since`, and leaves `memory` behind. `report`,
    `title` and `markdown` are what `ctx.report` is given.
    """

    since: tuple[str, ...]
    memory: dict[str, object]
    report: str
    title: str
    markdown: str


class Journal(Generic[M]):
    """One source's memory for one tick; only the tick that made it may use it.

    `damaged` is the error that is raised where the memory or the journal can't be read.
    """

    def __init__(
        self, ctx: Context, slug: str, kind: type[M], damaged: type[SupervisorError]
    ) -> None:
        self._ctx = ctx
        self._slug = slug
        self._kind = kind
        self._damaged = damaged
        self._file = f"digest-{slug}.json"
        self._committed = self._parsed(
            ctx.state.get(slug, {}),
            subject=f"state of the worker, key {slug}",
            fix="give the worker another name in the config: it begins with an empty state there",
        )
        self.memory = self._committed

    def finish(self) -> bool:
        """Bring an interrupted report to its end; return whether it was still missing.

        The journal is of use only to the committed state that it was written on. When that one
        has moved on, the step was committed with it.

        Raises:
            SupervisorError: the journal can't be read, so that nobody knows what is new.
        """
        text = self._ctx.files.read_text(self._file)
        step = None if text is None else self._decoded(text)
        if step is None or step.since != tuple(self._committed.edition):
            return False
        is_missing = not self._ctx.report_path(step.report).exists()
        if is_missing:
            self._ctx.report(step.title, step.markdown, name=step.report)
        self.keep(self._parsed(step.memory, subject=f"journal {self._file}", fix=_DELETE))
        return is_missing

    def write(self, *, memory: M, report: str, title: str, markdown: str) -> None:
        """Write a report, whole and once, and remember what it has."""
        step = Step(
            since=tuple(self._committed.edition),
            memory=msgspec.to_builtins(memory),
            report=report,
            title=title,
            markdown=markdown,
        )
        self._ctx.files.write_text(self._file, msgspec.json.encode(step).decode())
        self._ctx.report(title, markdown, name=report)
        self.keep(memory)

    def keep(self, memory: M) -> None:
        """Remember without a report."""
        self._ctx.state[self._slug] = msgspec.to_builtins(memory)
        self.memory = memory

    def _decoded(self, text: str) -> Step:
        try:
            return msgspec.json.decode(text, type=Step)
        except msgspec.MsgspecError as error:
            raise self._not_ours(f"journal {self._file}", _DELETE, error) from error

    def _parsed(self, value: object, *, subject: str, fix: str) -> M:
        try:
            return msgspec.convert(value, self._kind)
        except msgspec.ValidationError as error:
            raise self._not_ours(subject, fix, error) from error

    def _not_ours(self, subject: str, fix: str, error: Exception) -> SupervisorError:
        return self._damaged(subject=subject, what=f"not one of ours: {error}", fix=fix)


_DELETE = "delete it in the worker's directory; the last report may then be repeated"
