"""Keeps each commit in exactly one digest, also when the daemon dies between two steps.

A tick's state is committed only after its report is written. So each report is first written
whole into the journal, a file of the worker; whoever comes after a crash finishes that step
before looking for anything new, and never asks git or the model about it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from supervisor.agents.git import RepositoryNotDigested
from supervisor.agents.git_history import Memory

if TYPE_CHECKING:
    from supervisor import Context


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One digest that is ready to be reported.

    It follows the digest that ended at `since`, the committed memory's heads, and leaves `memory`
    behind. `report`, `title` and `markdown` are what `ctx.report` is given.
    """

    since: tuple[str, ...]
    memory: Memory
    report: str
    title: str
    markdown: str


class Journal:
    """One repository's memory for one tick; only the tick that made it may use it."""

    def __init__(self, ctx: Context, slug: str) -> None:
        self._ctx = ctx
        self._slug = slug
        self._file = f"digest-{slug}.json"
        self._committed = _parsed(ctx.state.get(slug, {}), slug)
        self.memory = self._committed

    def finish(self) -> bool:
        """Bring an interrupted digest to its end; return whether its report was still missing.

        The journal is of use only to the committed state that it was written on. When that one
        has moved on, the step was committed with it.

        Raises:
            RepositoryNotDigested: the journal can't be read, so that nobody knows what is new.
        """
        text = self._ctx.files.read_text(self._file)
        step = None if text is None else self._decoded(text)
        if step is None or step.since != self._committed.heads:
            return False
        is_missing = not self._ctx.report_path(step.report).exists()
        if is_missing:
            self._ctx.report(step.title, step.markdown, name=step.report)
        self._keep(step.memory)
        return is_missing

    def write(self, *, memory: Memory, report: str, title: str, markdown: str) -> None:
        """Write a report, whole and once, and remember its commits."""
        step = Step(
            since=self._committed.heads,
            memory=memory,
            report=report,
            title=title,
            markdown=markdown,
        )
        self._ctx.files.write_text(self._file, msgspec.json.encode(step).decode())
        self._ctx.report(title, markdown, name=report)
        self._keep(memory)

    def _keep(self, memory: Memory) -> None:
        self._ctx.state[self._slug] = msgspec.to_builtins(memory)
        self.memory = memory

    def _decoded(self, text: str) -> Step:
        try:
            return msgspec.json.decode(text, type=Step)
        except msgspec.MsgspecError as error:
            raise RepositoryNotDigested(
                subject=f"journal {self._file}",
                what=f"not one of ours: {error}",
                fix="delete it in the worker's directory; the last digest may then be repeated",
            ) from error


def _parsed(value: object, slug: str) -> Memory:
    try:
        return msgspec.convert(value, Memory)
    except msgspec.ValidationError as error:
        raise RepositoryNotDigested(
            subject=f"state of the worker, key {slug}",
            what=f"not one of ours: {error}",
            fix="give the worker another name in the config: it begins with an empty state there",
        ) from error
