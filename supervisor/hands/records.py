"""Recording what a worker does with its tools: the gates before, and an event for each use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import anyio
import msgspec

from supervisor.errors import Refusal, storable
from supervisor.events import hands_kinds, kinds
from supervisor.events.event import Event
from supervisor.events.log import Journal, Origin
from supervisor.governance.breaker import Asker
from supervisor.governance.gates import first_refusal, look
from supervisor.redaction import REDACTION
from supervisor.storage.database import Database, Transaction

_TARGET_MAX = 300
_WHY_MAX = 500


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """Whose tools these are."""

    worker: str
    number: int
    session_id: str


Also: TypeAlias = Callable[[Transaction], None]


def _nothing(_: Transaction) -> None:
    return


def use_tool(
    tx: Transaction, tick: Tick, event: Event, origin: Origin, also: Also = _nothing
) -> Refusal | None:
    """Pass the gates and record a use of a tool that is about to begin, or the gates' no.

    `also` is done in the same transaction, where they say yes.
    """
    refusal = first_refusal(look(tx, Asker(worker=tick.worker, tick=tick.number), now=origin.at))
    with Journal(tx, tick.session_id, origin) as journal:
        if refusal is None:
            also(tx)
            journal.add(event)
        else:
            why = str(refusal)
            journal.add(kinds.CallRefused(worker=tick.worker, model="", code=refusal.code, why=why))
    return refusal


def record(tx: Transaction, session_id: str, event: Event, origin: Origin) -> None:
    """Record what has happened with a tool."""
    with Journal(tx, session_id, origin) as journal:
        journal.add(event)


class ToolRecords:
    """Records the uses of tools of one tick. Written only by that tick's tasks.

    `keep` takes a write that nobody waits for now: the tick's end does.
    """

    def __init__(
        self,
        tick: Tick,
        *,
        database: Database,
        origin: Callable[[str], Origin],
        keep: Callable[[Awaitable[object]], None],
    ) -> None:
        self.tick = tick
        self._database = database
        self._origin = origin
        self._keep = keep
        self._count = 0

    def next_id(self, letter: str) -> str:
        """Return an id for one more use of a tool, which is its command id."""
        self._count += 1
        return f"{self.tick.worker}#{self.tick.number}.{letter}{self._count}"

    async def begin(self, use_id: str, event: Event, also: Also = _nothing) -> None:
        """Pass the gates and put a use on record before it begins; `also` is done with it.

        Raises:
            Refusal: a gate said no.
            StoreUnavailable: it could not be recorded, so it does not begin.
        """
        # Shielded: what is on record as begun is known to its tick, which records its end.
        with anyio.CancelScope(shield=True):
            refusal = await self._database.write(
                use_tool, self.tick, event, self._origin(use_id), also
            )
        if refusal is not None:
            raise refusal

    def end(self, use_id: str, event: Event) -> None:
        """Put the end of a use on record; durable when the tick ends."""
        origin = self._origin(use_id)
        self._keep(self._database.write(record, self.tick.session_id, event, origin))

    def refused(self, tool: str, target: str, refusal: Refusal) -> None:
        """Put on record that the worker asked for what it may not have."""
        event = hands_kinds.GuardrailTool(
            worker=self.tick.worker,
            tool=tool,
            target=REDACTION.text(storable(target))[:_TARGET_MAX],
            code=refusal.code,
            why=REDACTION.text(storable(str(refusal)))[:_WHY_MAX],
        )
        self.end(self.next_id("g"), event)
