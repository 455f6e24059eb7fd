"""From a world whose month is over to its scorecard."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from supervisor.clock import iso
from supervisor.errors import PriceUnknown, Refusal
from supervisor.simulation.scorecard import DaySpend, Scorecard

if TYPE_CHECKING:
    from supervisor.simulation.world import World


def scorecard_of(world: World) -> Scorecard:
    """Return what the month came to; `wall_s` is the caller's to say."""
    settings, rules = world.settings, world.rules
    totals = rules.figures.totals()
    return Scorecard(
        **msgspec.structs.asdict(totals),
        seed=settings.seed,
        days=settings.days,
        has_faults=settings.has_faults,
        began_at=iso(world.clock.start),
        ended_at=iso(world.clock.now()),
        spend=_spend(world),
        recovered_ticks=totals.recoveries,
        faults=_sorted(world.fortune.struck),
        audits=rules.audits,
        checks=_sorted(rules.checks.by_rule),
        notes=_notes(world),
        digest=_digest(world),
        failure=world.failure,
        wall_s=0.0,
    )


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return {str(name): counts[name] for name in sorted(counts) if counts[name]}


def _spend(world: World) -> list[DaySpend]:
    return [
        DaySpend(
            day=account.id.split("/")[2],
            limit=account.limit,
            settled=account.settled,
            billed=account.billed,
            overrun=account.overrun,
            slack=account.slack,
        )
        for account in world.rules.money.days()
    ]


def _digest(world: World) -> str:
    """Return the hash of the whole log: the same seed gives the same one."""
    digest = hashlib.sha256()
    for (row_hash,) in world.disk.query("SELECT hash FROM events ORDER BY position"):
        assert isinstance(row_hash, bytes), row_hash
        digest.update(row_hash)
    return digest.hexdigest()


def _notes(world: World) -> list[str]:
    """Return what makes the month say less than it could: models that no call can be made to."""
    notes: list[str] = []
    for plan in world.plans:
        if not plan.model:
            continue
        try:
            world.models.resolve(plan.model, world.clock.start)
        except PriceUnknown as unknown:
            notes.append(f"worker {plan.name}: every call of its model is refused: {unknown}")
        except Refusal as refusal:
            notes.append(f"worker {plan.name}: {refusal}")
    return notes
