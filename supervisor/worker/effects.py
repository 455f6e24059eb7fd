"""`ctx.once`: something outside is done once, however often its tick or job is repeated."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import anyio
import msgspec

from supervisor.errors import (
    InputRefused,
    ProviderFailed,
    Refusal,
)
from supervisor.events.log import Journal, Origin
from supervisor.governance.breaker import Asker
from supervisor.governance.gates import first_refusal, look
from supervisor.jobs import effects
from supervisor.jobs.effects import (
    RESULT_BYTES_MAX,
    EffectInFlight,
    EffectState,
    EffectUnknown,
    Taking,
)
from supervisor.storage.database import Transaction
from supervisor.worker.calls import Calls
from supervisor.worker.plan import Kernel
from supervisor.worker.state import Json

#: What a probe returns for an effect that was not done.
NOT_DONE = object()

Probe: TypeAlias = Callable[[], Awaitable[object]]


class Effect:
    """An effect while its block does it; `is_new` says whether there is anything to do."""

    def __init__(self, result: Json = None, *, is_new: bool) -> None:
        self.is_new = is_new
        self.result = result
        self.is_released = False

    def record(self, result: Json) -> None:
        """Say that it was done, and what came of it; durable when the block ends."""
        _encode(result)
        self.result = result

    def release(self) -> None:
        """Say that nothing was done, so that it may be tried again."""
        self.is_released = True


class Effects:
    """One tick's effects. Written only by that tick's task."""

    def __init__(self, kernel: Kernel, calls: Calls, taking: Taking, *, session_id: str) -> None:
        """`taking` names the tick; its key is that of none yet."""
        self._kernel = kernel
        self._calls = calls
        self._taking = taking
        self._session_id = session_id

    @asynccontextmanager
    async def once(self, key: str, probe: Probe | None) -> AsyncIterator[Effect]:
        """Take the key, let the block do it, and keep the result; see `Context.once`."""
        effects.check_key(key)
        taking = msgspec.structs.replace(self._taking, key=key)
        first = await self._take(taking)
        if first is not None and first.state is EffectState.UNKNOWN and probe is not None:
            first = await self._ask(first, await probe())
            if first is None:
                first = await self._take(taking)
        if first is None:
            async with self._doing(taking) as effect:
                yield effect
            return
        if first.state is EffectState.TAKEN:
            raise EffectInFlight(name=first.name, worker=first.worker, tick=first.tick)
        if first.state is EffectState.UNKNOWN:
            raise EffectUnknown(name=first.name)
        yield Effect(msgspec.json.decode(first.result), is_new=False)

    async def _take(self, taking: Taking) -> effects.Effect | None:
        # Shielded: a cancel in between would leave a key of which nobody knows.
        with anyio.CancelScope(shield=True):
            found = await self._kernel.database.write(
                _take, taking, self._session_id, self._calls.origin()
            )
        if isinstance(found, Refusal):
            raise found
        return found

    async def _ask(self, unknown: effects.Effect, found: object) -> effects.Effect | None:
        """Take up what a probe has found; None where it was not done, and the key is free."""
        origin, session_id = self._calls.origin(), self._session_id
        if found is NOT_DONE:
            await self._kernel.database.write(_release, unknown, session_id, origin)
            return None
        if found is None:
            return unknown
        result = _encode(found)
        await self._kernel.database.write(_keep, unknown, result, session_id, origin)
        return msgspec.structs.replace(unknown, state=EffectState.DONE, result=result)

    @asynccontextmanager
    async def _doing(self, taking: Taking) -> AsyncIterator[Effect]:
        taken = effects.Effect(
            scope=taking.scope,
            effect_key=taking.key,
            state=EffectState.TAKEN,
            result="null",
            boot_id=taking.boot_id,
            worker=taking.worker,
            tick=taking.tick,
            job=taking.job,
        )
        effect = Effect(is_new=True)
        database, session_id = self._kernel.database, self._session_id
        try:
            yield effect
        except BaseException as error:
            was_refused = isinstance(error, ProviderFailed) and error.was_refused
            with anyio.CancelScope(shield=True):
                origin = self._calls.origin()
                if effect.is_released or was_refused:
                    await database.write(_release, taken, session_id, origin)
                else:
                    await database.write(_lose, taken, session_id, origin)
            raise
        with anyio.CancelScope(shield=True):
            origin = self._calls.origin()
            if effect.is_released:
                await database.write(_release, taken, session_id, origin)
            else:
                result = _encode(effect.result)
                await database.write(_keep, taken, result, session_id, origin)


def _take(
    tx: Transaction, taking: Taking, session_id: str, origin: Origin
) -> effects.Effect | Refusal | None:
    asker = Asker(worker=taking.worker, tick=taking.tick)
    refusal = first_refusal(look(tx, asker, now=origin.at))
    if refusal is not None:
        return refusal
    with Journal(tx, session_id, origin) as journal:
        return effects.take(tx, journal, taking)


def _keep(
    tx: Transaction, effect: effects.Effect, result: str, session_id: str, origin: Origin
) -> None:
    with Journal(tx, session_id, origin) as journal:
        effects.keep(tx, journal, effect, result)


def _release(tx: Transaction, effect: effects.Effect, session_id: str, origin: Origin) -> None:
    with Journal(tx, session_id, origin) as journal:
        effects.release(tx, journal, effect, why="it is known that nothing was done")


def _lose(tx: Transaction, effect: effects.Effect, session_id: str, origin: Origin) -> None:
    with Journal(tx, session_id, origin) as journal:
        effects.lose(tx, journal, effect, why="its block was left by an exception")


def _encode(result: object) -> str:
    try:
        encoded = msgspec.json.encode(result)
    except (TypeError, ValueError, RecursionError) as error:
        fix = "record texts, numbers, truths, None, lists and dicts of them"
        raise InputRefused(
            subject="effect", what=f"its result is not JSON: {error}", fix=fix
        ) from error
    if len(encoded) > RESULT_BYTES_MAX:
        raise InputRefused(
            subject="effect",
            what=f"its result has {len(encoded)} bytes, at most {RESULT_BYTES_MAX} are kept",
            fix="record where the result lies",
        )
    return encoded.decode()
