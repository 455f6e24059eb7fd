"""How much input a call and a session may have."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Self, TypeAlias

import msgspec

from supervisor.errors import ContextExceeded
from supervisor.events import model_kinds
from supervisor.events.counters import Counters
from supervisor.events.log import Journal, Origin
from supervisor.governance.session import SessionWithTotals
from supervisor.providers.provider import Message, ModelRequest
from supervisor.storage.database import Database, Transaction
from supervisor.worker.models import Model
from supervisor.worker.prompts import Prompt, parse_prompt

#: A worker's own way to make a conversation shorter: it is given the messages and how many tokens
#: they may have at most, by the provider's bound, and returns others.
Compact: TypeAlias = "Callable[[Sequence[Message], int], Awaitable[Prompt]]"


class ContextLimits(msgspec.Struct, frozen=True, kw_only=True):
    """[context]: bounds of input in tokens, None for none."""

    call_tokens_max: int | None = None
    session_tokens_max: int | None = None


class ContextBudget:
    """The input of one tick's session. Written only by that tick's task.

    A session has one tick at a time, so that nobody else adds to it meanwhile: what it has used
    before is read once.
    """

    def __init__(self, database: Database, limits: ContextLimits, session_id: str) -> None:
        self.is_on = limits != ContextLimits()
        self._database = database
        self._limits = limits
        self._session_id = session_id
        self._used: int | None = None
        self._taken: dict[str, int] = {}
        self._asked = itertools.count()

    async def room(self) -> tuple[int, str]:
        """Return how much input the next call may have, and which limit says so."""
        per_call, per_session = self._limits.call_tokens_max, self._limits.session_tokens_max
        found: list[tuple[int, str]] = []
        if per_session is not None:
            if self._used is None:
                self._begin(await self._database.read(_context_of, self._session_id))
            free = per_session - (self._used or 0) - sum(self._taken.values())
            found.append((max(free, 0), "session_tokens_max"))
        if per_call is not None:
            found.append((per_call, "call_tokens_max"))
        return min(found)

    def _begin(self, before: int) -> None:
        """Count on from what the session has used, unless another call has begun meanwhile."""
        if self._used is None:
            self._used = before

    def taking(self, tokens: int) -> Taking:
        """Count a call's bound while its hold is placed, and until that ends once it is named."""
        return Taking(self._taken, f"asked:{next(self._asked)}", tokens)

    def end(self, hold_id: str, tokens: int | None) -> None:
        """Count what a call has had instead of its bound; all of that where nobody knows."""
        bound = self._taken.pop(hold_id, None)
        if bound is not None and self._used is not None:
            self._used += bound if tokens is None else tokens


class Taking:
    """A block in which room is taken for a call; what was not named by its end is given back."""

    __slots__ = ("_key", "_taken")

    def __init__(self, taken: dict[str, int], key: str, tokens: int) -> None:
        self._taken = taken
        self._key = key
        taken[key] = tokens

    def __enter__(self) -> Self:
        return self

    def name(self, hold_id: str) -> None:
        """Count it until the end of this hold."""
        self._taken[hold_id] = self._taken.pop(self._key)

    def __exit__(self, *_: object) -> None:
        self._taken.pop(self._key, None)


async def fit(
    budget: ContextBudget, model: Model, asked: ModelRequest, compact: Compact | None
) -> tuple[ModelRequest, int, int]:
    """Return the request as it fits, and the bounds of its input before and after.

    Whoever takes the room does it before awaiting anything.

    Where it does not fit, the worker's own `compact` is asked once for a shorter one.

    Raises:
        ContextExceeded: it does not fit.
    """
    before = bound = model.provider.input_tokens_max(asked)
    room, limit = await budget.room()
    if bound > room and compact is not None:
        messages = parse_prompt(await compact(asked.messages, room))
        asked = msgspec.structs.replace(asked, messages=messages)
        bound = model.provider.input_tokens_max(asked)
        # The hook has awaited: another call may have taken the room.
        room, limit = await budget.room()
    if bound > room:
        raise ContextExceeded(limit=limit, needed=bound, free=room)
    return asked, before, bound


def record_compaction(
    tx: Transaction, session_id: str, event: model_kinds.ContextCompacted, origin: Origin
) -> None:
    """Record that a worker has made a call's input shorter."""
    with Journal(tx, session_id, origin) as journal:
        journal.add(event)


def _context_of(tx: Transaction, session_id: str) -> int:
    session = tx.row("sessions.with_totals", SessionWithTotals, id=session_id)
    assert session is not None, f"session {session_id} is gone"
    return msgspec.json.decode(session.counters, type=Counters).context
