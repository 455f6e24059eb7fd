"""The daemon's alerts: finding facts as they are committed, and telling every channel of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import anyio
import msgspec
from structlog.typing import FilteringBoundLogger

from supervisor.alerts.channels import Channel, NotDelivered
from supervisor.alerts.delivery import Delivery
from supervisor.alerts.facts import WATCHED, Fact, Over, Said, Severity
from supervisor.alerts.failing import WorkerNews, failing
from supervisor.alerts.rates import Rates, read_past
from supervisor.alerts.record import (
    SEEN,
    Alert,
    Message,
    has_news,
    is_reminder_due,
    note_seen,
    take_in,
)
from supervisor.alerts.recovered import read_standing
from supervisor.alerts.settings import Settings
from supervisor.clock import Clock, iso, to_us
from supervisor.errors import StoreUnavailable
from supervisor.events.log import Origin, Recorded
from supervisor.governance.backlog import read_backlog
from supervisor.storage.database import Database, Transaction

_LOOK_EVERY_S = 30.0
_OUTAGE = "the store did not answer"
_WORKER_FAILED = "worker_failed:"
_WELL = ("ok", "noop")


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon sees of itself: sentences, and its configured workers by name."""

    stuck: Callable[[], Sequence[str]]
    degradations: Callable[[], Sequence[str]]
    workers: Callable[[], Mapping[str, WorkerNews]]


class Configured(msgspec.Struct, frozen=True, kw_only=True):
    """What the config says now: who is told of what, and the open channels by name."""

    settings: Callable[[], Settings]
    channels: Callable[[], Mapping[str, Channel]]


class Alerts:
    """Finds facts and tells them: each alert reaches each channel, whatever is down meanwhile.

    What was found and what a channel has taken are in the store. Where the store itself does not
    answer, channels are told of that directly.
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        log: FilteringBoundLogger,
        configured: Configured,
        watched: Watched,
        chance: random.Random,
    ) -> None:
        self._database = database
        self._clock = clock
        self._log = log
        self._settings = settings = configured.settings
        self._open_channels = configured.channels
        self._watched = watched
        self._delivery = Delivery(database, clock, log, settings=settings, chance=chance)
        self._rates = Rates(lambda: settings().rates, clock)
        self._changed = anyio.Event()
        self._asked = anyio.Event()
        self._outage_since: datetime | None = None
        self._outage_untold: set[str] = set()

    def follow(self, facts: Sequence[object]) -> None:
        """Look at once where a commit tells of something that somebody should know."""
        self._rates.follow(facts)
        if any(isinstance(fact, Recorded) and fact.event.kind in WATCHED for fact in facts):
            self._asked.set()

    def look_soon(self) -> None:
        """Look at once: another process has committed, or the daemon's own state has changed."""
        self._asked.set()

    def reconfigure(self) -> None:
        """Take up the channels of a changed config."""
        self._changed.set()

    async def run(self) -> None:
        """Find and tell until cancelled."""
        while True:
            self._changed = anyio.Event()
            channels = self._open_channels()
            self._outage_untold &= channels.keys()
            try:
                await self._serve(channels)
            finally:
                with anyio.CancelScope(shield=True):
                    await _close(channels)

    async def _serve(self, channels: Mapping[str, Channel]) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._look_on_schedule, channels)
            for name, channel in channels.items():
                tasks.start_soon(self._delivery.run, name, channel)
            await self._changed.wait()
            tasks.cancel_scope.cancel()

    async def _look_on_schedule(self, channels: Mapping[str, Channel]) -> None:
        while True:
            self._asked = anyio.Event()
            try:
                await self.look()
            except StoreUnavailable as error:
                await self._tell_of_outage(channels, str(error))
            self._delivery.look()
            with anyio.move_on_after(_LOOK_EVERY_S):
                await self._asked.wait()

    async def look(self) -> None:
        """Look once: at the record, at the daemon itself, and for reminders that are due.

        Raises:
            StoreUnavailable: the store failed; what was found stays found.
        """
        terms = self._settings().terms
        # Reads first: most of the time there is nothing, and a write costs a sync.
        while await self._database.read(has_news):
            if not await self._database.write(take_in, terms, self._origin()):
                break
        now = self._clock.now()
        if rules := self._rates.unknown:
            self._rates.begin(rules, await self._database.read(read_past, rules, now))
        standing = await self._database.read(read_standing)
        known = standing.known
        seen = [*self._seen(), *await self._database.read(self._seen_in_store, now)]
        seen += failing(self._watched.workers(), known, now)
        if self._outage_since is not None:
            seen.append(_outage(self._outage_since, now))
        over = [*self._over(known), *standing.over]
        if self._is_new(known, seen, over, to_us(now)):
            await self._database.write(note_seen, seen, over, terms, self._origin())
        self._outage_since = None

    def _is_new(
        self, known: Sequence[Alert], seen: Sequence[Fact], over: Sequence[Over], now: int
    ) -> bool:
        seen_keys, known_keys = {fact.key for fact in seen}, {alert.key for alert in known}
        has_ended = any(
            (alert.key.startswith(SEEN) and alert.key not in seen_keys)
            or (alert.until_at is not None and alert.until_at <= now)
            or is_reminder_due(alert, now)
            for alert in known
        )
        return has_ended or bool(over) or bool(seen_keys - known_keys)

    def _seen(self) -> list[Fact]:
        found = [
            Fact(
                key=f"{SEEN}stuck:{sentence}",
                severity=Severity.CRITICAL,
                title=sentence,
                what="its tick has outlived its timeout: it makes no progress",
                done="it was cancelled and does not end; the other workers go on",
                command="`supervisor status`; a restart of the daemon ends it",
            )
            for sentence in self._watched.stuck()
        ]
        degradations = self._watched.degradations()
        if degradations:
            found.append(
                Fact(
                    key=f"{SEEN}degraded",
                    severity=Severity.CRITICAL,
                    title="the daemon is degraded",
                    what="; ".join(degradations),
                    done="what needs it is refused; it goes on by itself where the cause ends",
                    command="`supervisor doctor`",
                )
            )
        return found + self._rates.found()

    def _seen_in_store(self, tx: Transaction, now: datetime) -> list[Fact]:
        backlog = read_backlog(tx)
        age_s = backlog.oldest_age_s(now)
        if age_s <= self._settings().approvals_age_s:
            return []
        return [
            Fact(
                key=f"{SEEN}approvals_ageing",
                severity=Severity.WARNING,
                title="tickets wait for a decision",
                what=f"{backlog.pending} wait, the oldest for {age_s / 60:.0f} min",
                done="each is denied at its deadline",
                command="`supervisor approvals`",
            )
        ]

    def _over(self, known: Sequence[Alert]) -> list[Over]:
        """Return the alerts of failed workers that have ticked well since, or are gone."""
        workers = self._watched.workers()
        found = []
        for alert in known:
            if not alert.key.startswith(_WORKER_FAILED):
                continue
            news = workers.get(alert.key.removeprefix(_WORKER_FAILED))
            if news is None:
                found.append(Over(key=alert.key, why="the worker is not configured any more"))
            elif _is_well_since(news, alert.last_at):
                found.append(Over(key=alert.key, why="it has ticked well since"))
        return found

    def _origin(self) -> Origin:
        return Origin(at=self._clock.now(), actor="alerts")

    async def _tell_of_outage(self, channels: Mapping[str, Channel], error: str) -> None:
        """Tell every channel once that the store does not answer, from memory alone."""
        now = self._clock.now()
        if self._outage_since is None:
            self._log.error("alerts_not_stored", error=error)
            self._outage_since, self._outage_untold = now, set(channels)
        message = _outage_message(self._outage_since, now, error)
        for name in sorted(self._outage_untold):
            try:
                await channels[name].send(message)
            except NotDelivered as failed:
                self._log.warning("alert_not_delivered", channel=name, error=str(failed))
            else:
                self._outage_untold.discard(name)


async def _close(channels: Mapping[str, Channel]) -> None:
    for channel in channels.values():
        await channel.close()


def _is_well_since(news: WorkerNews, moment_us: int) -> bool:
    has_ticked = news.progress_at is not None and to_us(news.progress_at) > moment_us
    return has_ticked and news.outcome in _WELL and news.life != "failed"


def _outage(since: datetime, until: datetime) -> Fact:
    return Fact(
        key=f"store_outage:{iso(since)}",
        severity=Severity.CRITICAL,
        title=_OUTAGE,
        what=f"from {iso(since)} to {iso(until)}; it does again",
        done="every call was refused meanwhile",
        command="`supervisor doctor`",
        said=Said.ONCE,
    )


def _outage_message(since: datetime, now: datetime, error: str) -> Message:
    return Message(
        id=f"store_outage:{iso(since)}",
        alert="",
        kind="raised",
        severity=Severity.CRITICAL,
        title=_OUTAGE,
        what=error,
        done="every call is refused until it does again",
        command="`supervisor doctor`",
        count=1,
        since=iso(since),
        at=iso(now),
    )
