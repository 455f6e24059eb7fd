"""Keys of outside effects: taken before, kept with the result after, unknown in between."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from supervisor.clock import to_us
from supervisor.errors import InputRefused, Refusal, RowDamaged
from supervisor.events import effect_kinds as kinds
from supervisor.events.log import Journal
from supervisor.storage.database import Transaction
from supervisor.storage.readable import readable_rows

_KEY_MAX = 256
RESULT_BYTES_MAX = 65_536
_ASKED_EVERY_US = 86_400_000_000


class EffectUnknown(Refusal):
    """Nobody knows whether an outside effect was done, so that it is not repeated."""

    code = "effect_unknown"

    def __init__(self, *, name: str) -> None:
        super().__init__(
            subject=f"effect {name}",
            what="was begun, and nobody knows whether it was done",
            fix=f"look outside, then `supervisor jobs resolve {name} --done` or --not-done",
        )
        self.name = name


class EffectInFlight(Refusal):
    """Another tick is at the same outside effect right now."""

    code = "effect_in_flight"

    def __init__(self, *, name: str, worker: str, tick: int) -> None:
        super().__init__(
            subject=f"effect {name}",
            what=f"is being done by tick {tick} of {worker}",
            fix="wait until that has ended",
        )
        self.name = name


class EffectState(StrEnum):
    """Where an effect is; `unknown`: its key was taken, and nobody knows whether it was done."""

    TAKEN = "taken"
    DONE = "done"
    UNKNOWN = "unknown"


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """A row of an effect; `result` is JSON, `job` empty outside of jobs."""

    scope: str
    effect_key: str
    state: EffectState
    result: str
    boot_id: str
    worker: str
    tick: int
    job: str

    @property
    def name(self) -> str:
        """The effect as commands name it."""
        return f"{self.scope}/{self.effect_key}"


class Taking(msgspec.Struct, frozen=True, kw_only=True):
    """A tick that wants to do something outside, once."""

    scope: str
    key: str
    boot_id: str
    worker: str
    tick: int
    job: str


def check_key(key: str) -> None:
    """Check a key.

    Raises:
        InputRefused: it is none.
    """
    if not 0 < len(key) <= _KEY_MAX or not key.isprintable():
        fix = f"use 1 to {_KEY_MAX} printable signs"
        raise InputRefused(subject=f"effect {key[:_KEY_MAX]!r}", what="has no usable key", fix=fix)


def take(tx: Transaction, journal: Journal, taking: Taking) -> Effect | None:
    """Take a key; None where it is now the caller's, else the effect that has it."""
    is_new = tx.run(
        "effects.take",
        scope=taking.scope,
        effect_key=taking.key,
        boot_id=taking.boot_id,
        worker=taking.worker,
        tick=taking.tick,
        job=taking.job,
        now=to_us(journal.origin.at),
    )
    if not is_new:
        now = to_us(journal.origin.at)
        # Once a day is enough: it guards for many of them.
        before = now - _ASKED_EVERY_US
        tx.run("effects.asked", scope=taking.scope, effect_key=taking.key, now=now, before=before)
        return find_effect(tx, taking.scope, taking.key)
    journal.add(
        kinds.EffectTaken(
            scope=taking.scope,
            key=taking.key,
            worker=taking.worker,
            tick=taking.tick,
            job=taking.job,
        )
    )
    return None


def find_effect(tx: Transaction, scope: str, key: str) -> Effect | None:
    """Return an effect by its key.

    Raises:
        RowDamaged: its row can't be read, so that nobody knows whether it was done.
    """
    try:
        return tx.row("effects.by_key", Effect, scope=scope, effect_key=key)
    except msgspec.ValidationError as error:
        raise RowDamaged(subject=f"effect {scope}/{key}", why=str(error)) from error


def keep(tx: Transaction, journal: Journal, effect: Effect, result: str) -> bool:
    """Keep the result of an effect that was done; False where it is not as it was any more."""
    changed = tx.run(
        "effects.done",
        scope=effect.scope,
        effect_key=effect.effect_key,
        before=effect.state,
        worker=effect.worker,
        tick=effect.tick,
        result=result,
        now=to_us(journal.origin.at),
    )
    if changed:
        journal.add(kinds.EffectDone(scope=effect.scope, key=effect.effect_key))
    return bool(changed)


def release(tx: Transaction, journal: Journal, effect: Effect, *, why: str) -> bool:
    """Free the key of an effect that is known not to have been done; False as for `keep`."""
    changed = tx.run(
        "effects.free",
        scope=effect.scope,
        effect_key=effect.effect_key,
        before=effect.state,
        worker=effect.worker,
        tick=effect.tick,
    )
    if changed:
        journal.add(kinds.EffectReleased(scope=effect.scope, key=effect.effect_key, why=why))
    return bool(changed)


def lose(tx: Transaction, journal: Journal, effect: Effect, *, why: str) -> bool:
    """Say that nobody knows whether an effect was done; False where it has ended."""
    changed = tx.run(
        "effects.lose",
        scope=effect.scope,
        effect_key=effect.effect_key,
        worker=effect.worker,
        tick=effect.tick,
    )
    if changed:
        journal.add(
            kinds.EffectUnknown(scope=effect.scope, key=effect.effect_key, why=why, job=effect.job)
        )
    return bool(changed)


def orphaned(tx: Transaction, rows_max: int) -> list[Effect]:
    """Return effects whose tick has ended, and left their outcome open."""
    return readable_rows(tx, "effects.orphaned", Effect, rows_max=rows_max)


def unknown_effects(tx: Transaction, rows_max: int) -> list[Effect]:
    """Return what waits for somebody to find out, the oldest first."""
    return readable_rows(tx, "effects.unknown", Effect, rows_max=rows_max)


def unknown_of_job(tx: Transaction, job_id: str) -> list[Effect]:
    """Return the effects of a job that nobody knows the outcome of."""
    return tx.rows("effects.unknown_of_job", Effect, job=job_id)
