"""Whose claim still lives: renewals, and who has seen none for a lease's length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import msgspec

from supervisor.jobs.endings import Held
from supervisor.storage.database import Transaction
from supervisor.storage.readable import readable_rows

#: Longer than the looks of a daemon are apart while others have claims.
_BLIND_S = 2.0


class _Token(msgspec.Struct, frozen=True):
    token: int


class CancelAsked(msgspec.Struct, frozen=True):
    """A running job that a person wants to end."""

    id: str
    token: int


def renew(tx: Transaction, boot_id: str) -> list[int]:
    """Renew every lease of a life, and return the tokens of the claims that it still has."""
    return [row.token for row in tx.rows("jobs.renew", _Token, boot_id=boot_id)]


def claims_of_others(tx: Transaction, boot_id: str) -> list[Held]:
    """Return the claims of other lives."""
    return readable_rows(tx, "jobs.claims_of_others", Held, boot_id=boot_id)


def cancels_asked(tx: Transaction, boot_id: str) -> list[CancelAsked]:
    """Return the jobs of a life that are to end."""
    return tx.rows("jobs.cancels", CancelAsked, boot_id=boot_id)


class LeaseWatch:
    """Tells which claims of others are silent, by this host's monotonic clock alone.

    So clocks that differ, or are set, take nobody's jobs away. Nor does a store that was away: who
    could not look saw no silence. Written only by `expired`.
    """

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, float]] = {}
        self._looked_s = -math.inf

    def expired(self, claims: Sequence[Held], now_s: float) -> list[Held]:
        """Return those that were not renewed for their whole lease, as far as was seen."""
        is_blind = now_s - self._looked_s > _BLIND_S
        seen, self._seen = {} if is_blind else self._seen, {}
        self._looked_s = now_s
        for held in claims:
            beats, since_s = seen.get(held.token, (held.beats, now_s))
            self._seen[held.token] = (held.beats, since_s if beats == held.beats else now_s)
        return [one for one in claims if self._left_s(one, now_s) <= 0]

    def next_end_s(self, claims: Sequence[Held], now_s: float) -> float:
        """Return the seconds until the first lease is over of those that are not; else infinity."""
        left_s = (self._left_s(one, now_s) for one in claims)
        return min((left for left in left_s if left > 0), default=math.inf)

    def _left_s(self, held: Held, now_s: float) -> float:
        _, since_s = self._seen[held.token]
        return since_s + held.lease_us / 1e6 - now_s


class Holder(Protocol):
    """A tick with a claim, which can be told of it."""

    def lose(self) -> None:
        """End the job that runs: somebody else has the claim."""
        ...

    def cancel(self, job_id: str) -> None:
        """End this job, if it is the one that runs."""
        ...


class InHand:
    """The claims of this process, by their tokens. Written only in the event loop."""

    def __init__(self) -> None:
        self._holders: dict[int, Holder] = {}

    def hold(self, token: int, holder: Holder) -> None:
        """Note that a tick has a claim."""
        self._holders[token] = holder

    def drop(self, token: int) -> None:
        """Note that the claim has ended."""
        self._holders.pop(token, None)

    def tokens(self) -> frozenset[int]:
        """Return what is in hand; also from another thread."""
        return frozenset(self._holders.copy())

    def lose(self, token: int) -> None:
        """Tell the holder that its claim was taken away."""
        if token in self._holders:
            self._holders[token].lose()

    def cancel(self, asked: CancelAsked) -> None:
        """Tell the holder that a person wants its job to end."""
        if asked.token in self._holders:
            self._holders[asked.token].cancel(asked.id)
