"""Alerts whose cause the store shows to be gone, though no single event says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from supervisor.alerts.facts import DEAD_LETTERS, EFFECT_UNKNOWN, Over
from supervisor.alerts.record import Alert, open_alerts
from supervisor.governance.job_facts import queue_counts
from supervisor.jobs.effects import EffectState, find_effect
from supervisor.jobs.job import JobState
from supervisor.storage.database import Transaction


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The alerts that are open, and those of them whose cause is gone."""

    known: Sequence[Alert]
    over: Sequence[Over]


def read_standing(tx: Transaction) -> Standing:
    """Look at every open alert, and for some at what it is about."""
    known = open_alerts(tx)
    return Standing(known=known, over=[*_without_dead(tx, known), *_known_effects(tx, known)])


def _without_dead(tx: Transaction, known: Sequence[Alert]) -> Iterator[Over]:
    """Yield the alerts of queues of which no job is dead any more."""
    told = [alert for alert in known if alert.key.startswith(DEAD_LETTERS)]
    dead = {one.queue for one in queue_counts(tx) if one.state == JobState.DEAD} if told else ()
    for alert in told:
        if alert.key.removeprefix(DEAD_LETTERS) not in dead:
            yield Over(key=alert.key, why="none of its jobs is dead any more")


def _known_effects(tx: Transaction, known: Sequence[Alert]) -> Iterator[Over]:
    for alert in known:
        if not alert.key.startswith(EFFECT_UNKNOWN):
            continue
        # No name of a worker or a queue has a slash.
        scope, _, key = alert.key.removeprefix(EFFECT_UNKNOWN).partition("/")
        effect = find_effect(tx, scope, key)
        if effect is None or effect.state != EffectState.UNKNOWN:
            was = "not done" if effect is None else effect.state
            yield Over(key=alert.key, why=f"it is known by now: {was}")
