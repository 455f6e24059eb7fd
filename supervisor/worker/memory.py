"""A worker's memory: JSON values by key, durable at once, and nobody else's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import cast

import msgspec

from supervisor.clock import to_us
from supervisor.errors import AccessDenied, InputRefused, storable
from supervisor.events.hands_kinds import MemoryChanged
from supervisor.hands.records import ToolRecords
from supervisor.redaction import REDACTION
from supervisor.storage.database import Database, Transaction
from supervisor.worker.state import Json

_KEY_MAX = 200
_VALUE_BYTES_MAX = 1_000_000
#: What an entry counts as beside its key and value, so that tiny ones are bounded too.
_ENTRY_BYTES = 64
_KEYS_MAX = 1_000


class _Value(msgspec.Struct, frozen=True):
    value: str


class _Key(msgspec.Struct, frozen=True):
    key: str


class _Size(msgspec.Struct, frozen=True):
    size: int


class Memory:
    """The worker's own values: read at any time, changed through the gates, one commit each.

    Unlike `ctx.state` it is read by key, and a change stays whatever becomes of the tick.
    """

    def __init__(
        self,
        records: ToolRecords,
        *,
        database: Database,
        now: Callable[[], datetime],
        bytes_max: int,
    ) -> None:
        self._records = records
        self._worker = records.tick.worker
        self._database = database
        self._now = now
        self._bytes_max = bytes_max

    async def get(self, key: str, default: Json = None, *, worker: str | None = None) -> Json:
        """Return what is remembered under `key`, or `default`.

        Raises:
            AccessDenied: `worker` is another one.
        """
        self._check_owner(key, worker)
        row = await self._database.read(_find, self._worker, _key(key))
        return default if row is None else cast("Json", msgspec.json.decode(row.value))

    async def keys(
        self, prefix: str = "", *, after: str = "", worker: str | None = None
    ) -> list[str]:
        """Return at most 1,000 keys that begin with `prefix`, in order, those after `after`.

        Raises:
            AccessDenied: `worker` is another one.
        """
        self._check_owner(prefix, worker)
        prefix, after = storable(prefix), storable(after)
        rows = await self._database.read(_find_keys, self._worker, prefix, after)
        return [row.key for row in rows]

    async def set(self, key: str, value: Json, *, worker: str | None = None) -> None:
        """Remember a JSON value of at most 1 MB under a key of at most 200 characters.

        Raises:
            AccessDenied: `worker` is another one.
            InputRefused: it is no JSON, too large, or the memory is full.
            Refusal: a gate said no.
        """
        self._check_owner(key, worker)
        await self._change(_key(key), _encode(key, value))

    async def delete(self, key: str, *, worker: str | None = None) -> None:
        """Forget what is remembered under `key`, if anything is.

        Raises:
            AccessDenied: `worker` is another one.
            Refusal: a gate said no.
        """
        self._check_owner(key, worker)
        await self._change(_key(key), None)

    async def _change(self, key: str, value: str | None) -> None:
        def write(tx: Transaction) -> None:
            _write(tx, self._worker, key, value, bytes_max=self._bytes_max, at=self._now())

        event = MemoryChanged(
            worker=self._worker,
            key=key,
            value_bytes=0 if value is None else len(value.encode()),
            value_sha256="" if value is None else hashlib.sha256(value.encode()).hexdigest(),
        )
        await self._records.begin(self._records.next_id("m"), event, write)

    def _check_owner(self, key: str, worker: str | None) -> None:
        if worker is None or worker == self._worker:
            return
        denied = AccessDenied(
            subject=f"memory of worker {worker}",
            what=f"is not that of {self._worker}",
            fix="let that worker write a report or hand a note over",
        )
        self._records.refused("memory", f"{worker}: {key}", denied)
        raise denied


def _find(tx: Transaction, worker: str, key: str) -> _Value | None:
    return tx.row("memories.get", _Value, worker=worker, key=key)


def _find_keys(tx: Transaction, worker: str, prefix: str, after: str) -> list[_Key]:
    return tx.rows(
        "memories.keys",
        _Key,
        worker=worker,
        prefix=prefix,
        prefix_chars=len(prefix),
        after=after,
        rows_max=_KEYS_MAX,
    )


def _write(
    tx: Transaction, worker: str, key: str, value: str | None, *, bytes_max: int, at: datetime
) -> None:
    before = tx.row("memories.size", _Size, worker=worker, key=key)
    size = 0 if value is None else len(value.encode()) + len(key.encode()) + _ENTRY_BYTES
    difference = size - (before.size if before else 0)
    total = tx.row("memories.total", _Size, worker=worker)
    after = (total.size if total else 0) + difference
    if difference > 0 and after > bytes_max:
        raise InputRefused(
            subject=f"memory of worker {worker}",
            what=f"{key!r} would make it {after} bytes, above memory_max_bytes = {bytes_max}",
            fix=f"delete what is not needed, or raise memory_max_bytes of [worker.{worker}]",
        )
    if value is None:
        tx.run("memories.remove", worker=worker, key=key)
    else:
        tx.run("memories.put", worker=worker, key=key, value=value, value_bytes=size, now=to_us(at))
    tx.run("memories.put_total", worker=worker, total=after)


def _key(key: str) -> str:
    if not 0 < len(key) <= _KEY_MAX:
        raise InputRefused(
            subject=f"memory key {key[:80]!r}",
            what=f"has {len(key)} characters",
            fix=f"give 1 to {_KEY_MAX}",
        )
    return REDACTION.text(storable(key))


def _encode(key: str, value: Json) -> str:
    try:
        encoded = msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InputRefused(
            subject=f"memory {key!r}", what=f"is no JSON: {error}", fix="give plain JSON"
        ) from error
    if len(encoded.encode()) > _VALUE_BYTES_MAX:
        raise InputRefused(
            subject=f"memory {key!r}",
            what=f"has more than {_VALUE_BYTES_MAX} bytes",
            fix="put large things into ctx.files",
        )
    return REDACTION.text(encoded)
