"""What a tick hands over: held back until it was judged, then published, or kept as a draft."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import anyio
import msgspec

from supervisor.clock import iso
from supervisor.errors import InputRefused, OutputRejected, Refusal, storable
from supervisor.events.hands_kinds import GuardrailOutput, OutputPublished
from supervisor.governance.outputs import (
    Output,
    Remembered,
    forget_output,
    known_outputs,
    remember_outputs,
)
from supervisor.governance.validators import Checks, Unit
from supervisor.hands.records import ToolRecords
from supervisor.outcome import Outcome
from supervisor.redaction import REDACTION
from supervisor.storage.database import Database, Transaction
from supervisor.worker.files import Reports, replace_file

Send: TypeAlias = Callable[[], Awaitable[object]]

_CONTENT_BYTES_MAX = 1_000_000
_KEY_MAX = 200
_DRAFTS = "drafts"
_ITEMS = "outputs.jsonl"


class _Staged(msgspec.Struct, frozen=True):
    """An output that was not published yet: where its report lies, or how it is sent."""

    output: Output
    draft: Path | None = None
    path: Path | None = None
    send: Send | None = None


class HandedOver:
    """One tick's outputs. Written only by that tick's task.

    With checks in the config, nothing leaves before all of it was judged: reports lie in the
    tick's own folder under `reports/drafts/`, and what is to be sent waits. What is not published
    stays there.
    """

    def __init__(
        self,
        checks: Checks,
        reports: Reports,
        records: ToolRecords,
        *,
        database: Database,
        now: Callable[[], datetime],
    ) -> None:
        self._checks = checks
        self._reports = reports
        self._records = records
        self._database = database
        self._now = now
        self._staged: list[_Staged] = []
        self.is_sending = False
        self.published: list[Remembered] = []
        self.event: GuardrailOutput | None = None

    @property
    def remembered_max(self) -> int:
        """How many of the worker's outputs are remembered."""
        return self._checks.remembered_max

    @property
    def is_waiting(self) -> bool:
        """Whether something was handed over that a crash would lose: it waits to be published."""
        return any(staged.path is None or staged.draft is not None for staged in self._staged)

    def publish(self, content: object, *, key: str, at: datetime | None, send: Send | None) -> None:
        """Take an output; see `Context.publish`."""
        try:
            encoded = msgspec.json.encode(content, order="sorted")
        except (TypeError, ValueError, RecursionError) as error:
            raise _refused(
                f"is no JSON: {error}", "hand over texts, numbers, lists, dicts"
            ) from error
        if len(encoded) > _CONTENT_BYTES_MAX or len(key) > _KEY_MAX:
            fix = f"at most {_CONTENT_BYTES_MAX} bytes, and a key of {_KEY_MAX} characters"
            raise _refused(f"has {len(encoded)} bytes and a key of {len(key)}", fix)
        text = content if isinstance(content, str) else encoded.decode()
        plain = msgspec.json.decode(encoded)
        output = Output(content=plain, text=storable(text), key=storable(key), at=_aware(at))
        self._take(_Staged(output, send=send))

    def report(self, title: str, markdown: str, *, name: str | None, at: datetime | None) -> Path:
        """Write a report, or its draft; return where it is or will be."""
        day = iso(self._now())[:10]
        taken = {staged.path for staged in self._staged}
        path = self._reports.place(title, name=name, day=day, taken=taken)
        text = self._reports.render(title, markdown)
        output = Output(
            content=markdown, text=storable(markdown), key=path.stem, at=_aware(at), is_report=True
        )
        draft = self._folder / path.name if self._checks.names else None
        self._take(_Staged(output, draft=draft, path=path))
        replace_file(draft or path, text)
        return path

    def _take(self, staged: _Staged) -> None:
        if self.is_sending:
            raise _refused(
                "came while others were sent", "hand everything over before the tick ends"
            )
        if len(self._staged) >= self._checks.outputs_max:
            fix = "hand over less, or raise outputs_max of [worker.NAME.output]"
            raise _refused(f"is more than outputs_max = {self._checks.outputs_max}", fix)
        if staged.path is not None:
            self._staged = [other for other in self._staged if other.path != staged.path]
        self._staged.append(staged)

    @property
    def _folder(self) -> Path:
        tick = self._records.tick
        return self._reports.folder / _DRAFTS / f"{tick.worker}-{tick.number:08d}"

    async def conclude(self, outcome: Outcome) -> None:
        """Judge all of it, then publish it; what a failed unit handed over stays a draft.

        Raises:
            OutputRejected: a check found something; nothing was published.
            Exception: whatever sending raised; what comes after it was not sent.
        """
        if outcome is Outcome.FAILED or not (self._staged or self._checks.names):
            return
        await self._judge(is_noop=outcome is Outcome.NOOP)
        self.is_sending = True
        while self._staged:
            await self._publish(self._staged[0])
            del self._staged[0]
        if self._folder.exists():
            shutil.rmtree(self._folder)

    async def _judge(self, *, is_noop: bool) -> None:
        tick, rows_max = self._records.tick, self._checks.remembered_max
        known: list[Remembered] = []
        if rows_max and self._staged:
            known = await self._database.read(known_outputs, tick.worker, rows_max)
        outputs = [staged.output for staged in self._staged]
        unit = Unit(outputs=outputs, now=self._now(), known=known, is_noop=is_noop)
        try:
            await self._checks.judge(unit)
        except OutputRejected as rejected:
            self.event = GuardrailOutput(
                worker=tick.worker,
                tick=tick.number,
                check=rejected.check,
                why=rejected.what,
                outputs=len(outputs),
                drafts=f"reports/{_DRAFTS}/{self._folder.name}" if outputs else "",
            )
            raise

    async def _publish(self, staged: _Staged) -> None:
        output = staged.output
        remembered = Remembered(fingerprint=output.fingerprint, key=output.key)
        if staged.send is not None:
            await self._send(staged.send, output, remembered)
            return
        if staged.draft is not None and staged.path is not None:
            # Renamed inside one folder's tree: a reader sees all of it or nothing.
            staged.draft.replace(staged.path)
        self.published.append(remembered)

    async def _send(self, send: Send, output: Output, remembered: Remembered) -> None:
        """Put it on record and remember it, then send it.

        It is remembered first: after a crash in between, nobody knows whether it went out, and it
        is not sent again unseen.
        """
        tick, use_id = self._records.tick, self._records.next_id("o")
        event = OutputPublished(
            worker=tick.worker, output=use_id, fingerprint=output.fingerprint, key=output.key
        )
        await self._records.begin(use_id, event, self._remembering(remembered))
        try:
            await send()
        except Refusal:
            # A gate or a rule said no, so that nothing went out.
            forgetting = self._database.write(forget_output, tick.worker, remembered)
            with anyio.CancelScope(shield=True):
                await forgetting
            raise

    def _remembering(self, output: Remembered) -> Callable[[Transaction], None]:
        worker, rows_max, now = self._records.tick.worker, self._checks.remembered_max, self._now()

        def remember(tx: Transaction) -> None:
            remember_outputs(tx, worker, [output], at=now, rows_max=rows_max)

        return remember

    def keep_drafts(self) -> None:
        """Write what was handed over and not published beside the drafts of reports."""
        items = [staged.output for staged in self._staged if staged.path is None]
        if items:
            lines = [
                msgspec.json.encode({"key": o.key, "at": o.at, "content": o.content}).decode()
                for o in items
            ]
            cleaned = [REDACTION.text(line) for line in lines]
            replace_file(self._folder / _ITEMS, "\n".join(cleaned) + "\n")
        if self._staged:
            self._staged.clear()
            self._drop_old_drafts()

    def _drop_old_drafts(self) -> None:
        worker = self._records.tick.worker
        drafts = self._reports.folder / _DRAFTS
        mine = sorted(p for p in drafts.glob(f"{worker}-{'[0-9]' * 8}") if p.is_dir())
        for old in mine[: -self._checks.drafts_keep]:
            shutil.rmtree(old, ignore_errors=True)


def _aware(at: datetime | None) -> datetime | None:
    if at is not None and at.tzinfo is None:
        raise _refused("tells of a moment without a timezone", "give at= with one, such as UTC")
    return at


def _refused(what: str, fix: str) -> InputRefused:
    return InputRefused(subject="output", what=what, fix=fix)
