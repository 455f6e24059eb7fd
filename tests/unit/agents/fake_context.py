"""A worker's surroundings for tests: durable things in a directory, a scripted model, crashes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import msgspec

from supervisor import Context, Outcome
from supervisor.agents.repository_digest import run
from supervisor.clock import VirtualClock

Messages = Sequence[Mapping[str, str]]


class Crash(BaseException):
    """The process dies here: nothing in the worker may catch it."""


class FakeReply(msgspec.Struct, frozen=True, kw_only=True):
    text: str
    cost_usd: float = 0.0001
    model: str = "scripted/model"


class Host:
    """What outlives a process: files, reports and the committed state, all in `path`.

    `dies_at` names the step at which the next tick's process dies: `before journal`,
    `after journal`, `before model`, `after model`, `after report`, or `before commit`, which is
    the end of the tick.
    """

    def __init__(self, path: Path, **options: object) -> None:
        self.path = path
        self.options: dict[str, object] = options
        self.state: dict[str, object] = {}
        self.dies_at: str | None = None
        self.answer: str | Exception = "All is well."
        self.prompts: list[Messages] = []
        self.errors: list[dict[str, object]] = []
        self.why = ""
        self.is_stopping = False
        self.tick = 0
        self.clock = VirtualClock(datetime(2026, 6, 1, tzinfo=UTC))
        self.reports_dir.mkdir(parents=True, exist_ok=True)

    @property
    def reports_dir(self) -> Path:
        return self.path / "reports"

    @property
    def reports(self) -> list[str]:
        """The text of every report, oldest first."""
        return [file.read_text() for file in sorted(self.reports_dir.iterdir())]

    @property
    def report(self) -> str:
        """The only report."""
        (text,) = self.reports
        return text

    def reports_with(self, text: str) -> int:
        return sum(text in report for report in self.reports)

    def die_at(self, step: str) -> None:
        if self.dies_at == step:
            raise Crash(step)

    async def run_tick(self) -> Outcome | None:
        """Run one tick; what it changed in the state is kept only if it ends normally."""
        self.tick += 1
        self.clock.advance(1)
        ctx = FakeContext(self)
        outcome = await run(cast("Context", ctx))
        self.die_at("before commit")
        self.state = msgspec.json.decode(msgspec.json.encode(ctx.state))
        return outcome

    async def run_to_crash(self, step: str) -> None:
        """Run a tick whose process dies at `step`, or at its end if it never comes there."""
        self.dies_at = step
        try:
            await self.run_tick()
        except Crash:
            pass
        finally:
            self.dies_at = None


class FakeContext:
    """The part of a Context that the digest uses; it is its own files, model and log."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.name = "digest"
        self.options = host.options
        self.config_dir = host.path
        self.state = msgspec.json.decode(msgspec.json.encode(host.state))
        self.tick = host.tick
        self.clock = host.clock
        self.files = self.model = self.log = self

    @property
    def stopping(self) -> bool:
        return self._host.is_stopping

    def read_text(self, name: str) -> str | None:
        file = self._host.path / "files" / name
        return file.read_text() if file.exists() else None

    def write_text(self, name: str, text: str) -> None:
        self._host.die_at("before journal")
        file = self._host.path / "files" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        self._host.die_at("after journal")

    async def complete(self, prompt: Messages, *, max_tokens: int, purpose: str) -> FakeReply:
        assert max_tokens > 0
        assert purpose == "digest summary"
        self._host.die_at("before model")
        self._host.prompts.append(prompt)
        if isinstance(self._host.answer, Exception):
            raise self._host.answer
        self._host.die_at("after model")
        return FakeReply(text=self._host.answer)

    def report_path(self, name: str) -> Path:
        return self._host.reports_dir / f"{name}.md"

    def report(self, title: str, markdown: str, name: str | None = None) -> Path:
        path = self.report_path(name or "unnamed")
        path.write_text(f"# {title}\n\n{markdown}")
        self._host.die_at("after report")
        return path

    def progress(self, *, done: int, total: int, item: str) -> None:
        assert 0 <= done < total
        assert item

    def failed(self, why: str) -> Outcome:
        self._host.why = why
        return Outcome.FAILED

    def info(self, event: str, **fields: object) -> None:
        """A fact that no test asks for."""

    def error(self, event: str, **fields: object) -> None:
        self._host.errors.append({"event": event, **fields})
