"""Breakers: opened by what ends badly, probed when their cooldown is over, and durable."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from supervisor.clock import to_us
from supervisor.events import kinds
from supervisor.events.log import Journal
from supervisor.governance.breaker import (
    SYSTEM_BREAKER,
    Asker,
    Breaker,
    BreakerRules,
    BreakerState,
    Cause,
    find_breaker,
    provider_breaker,
    worker_breaker,
)
from supervisor.outcome import Outcome
from supervisor.storage.database import Transaction

_FAILED = frozenset({Outcome.FAILED, Outcome.TIMED_OUT})
_WHY_MAX = 500
_SUCCEEDED = frozenset({Outcome.OK, Outcome.NOOP})


class Fault(StrEnum):
    """Whose fault the end of a call was."""

    NONE = ""
    CALL = "call"
    PROVIDER = "provider"


class CallReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a call ended, for the breakers.

    `is_watched` says that one of them was not closed, or counted failures, when the call began:
    where it is False a good end is nobody's news, and costs no statement. `repeats` is how often
    in a row the worker made the same call with the same result, this one included.
    """

    worker: str
    hold: str
    provider: str = ""
    is_answered: bool = True
    is_within_hold: bool = True
    is_watched: bool = True
    fault: Fault = Fault.NONE
    why: str = ""
    repeats: int = 0


class TickReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a tick ended, for the breakers; `is_watched` as for a call.

    One that crashed is no failure of theirs: crashes have a limit of their own, after which their
    worker is left stopped (requirement D1), and a breaker that held it would keep it from that.
    """

    worker: str
    tick: int
    outcome: Outcome
    is_crash: bool = False
    why: str = ""
    is_watched: bool = True


def begin_probe(
    tx: Transaction, journal: Journal, taken: Iterable[Breaker], asker: Asker, *, hold: str = ""
) -> None:
    """Half-open breakers whose cooldown is over, for the tick or the call that is their probe.

    One that is half-open already, because its last probe ended without a verdict, gets a new one.
    """
    for breaker in taken:
        probed = msgspec.structs.replace(
            breaker,
            state=BreakerState.HALF_OPEN,
            probe_worker=asker.worker,
            probe_tick=asker.tick,
            probe_hold=hold,
        )
        if breaker.state is BreakerState.HALF_OPEN:
            _keep(tx, probed)
            if breaker.is_probed_by(asker.worker, asker.tick):
                continue
        else:
            _keep(tx, msgspec.structs.replace(probed, changed_at=to_us(journal.origin.at)))
        journal.add(kinds.BreakerHalfOpened(name=breaker.name, probe=probed.probe))


def report_call(tx: Transaction, journal: Journal, report: CallReport, rules: BreakerRules) -> None:
    """Let the breakers learn how a call ended.

    A call that costs more than its worst case means that the worst case was wrong, so that no
    cap is safe until somebody has looked (requirement L3): it opens the worker's breaker at once,
    as does the same call with the same result, repeated.
    """
    cause, why = _alarm(report, rules)
    if cause is not Cause.NONE:
        name = worker_breaker(report.worker)
        _open(tx, journal, _found(tx, name), rules, cause=cause, why=why)
    if report.fault is Fault.NONE and not report.is_watched:
        return
    for name in (worker_breaker(report.worker), SYSTEM_BREAKER):
        breaker = find_breaker(tx, name)
        if breaker is not None and _is_probe(breaker, report):
            _conclude(tx, journal, breaker, report, rules)
    if report.provider:
        _report_provider(tx, journal, _found(tx, provider_breaker(report.provider)), report, rules)


def _alarm(report: CallReport, rules: BreakerRules) -> tuple[Cause, str]:
    if not report.is_within_hold:
        return Cause.OVERRUN, "a call cost more than its hold"
    if rules.repeats_max and report.repeats >= rules.repeats_max:
        why = f"the same call had the same result {report.repeats} times in a row"
        return Cause.NO_PROGRESS, why
    return Cause.NONE, ""


def _is_probe(breaker: Breaker, report: CallReport) -> bool:
    return breaker.state is BreakerState.HALF_OPEN and breaker.probe_hold == report.hold


def _conclude(
    tx: Transaction, journal: Journal, breaker: Breaker, report: CallReport, rules: BreakerRules
) -> None:
    """End a probe by the end of its call; one without a verdict leaves it to its tick."""
    if report.fault is not Fault.NONE:
        why = f"its probe failed: {report.why}"
        _open(tx, journal, breaker, rules, cause=breaker.cause, why=why)
    elif report.is_answered:
        # One failure more opens it again: that its call went well says little of its tick.
        failures_max = rules.failures_max_of(breaker.name)
        failures = min(breaker.failures, max(failures_max - 1, 0))
        _close(tx, journal, breaker, failures=failures, why=f"{report.hold} went well")


def _report_provider(
    tx: Transaction, journal: Journal, breaker: Breaker, report: CallReport, rules: BreakerRules
) -> None:
    if _is_probe(breaker, report):
        if report.fault is Fault.PROVIDER:
            why = f"its probe failed: {report.why}"
            _open(tx, journal, breaker, rules, cause=breaker.cause, why=why)
        elif report.is_answered and report.fault is Fault.NONE:
            _close(tx, journal, breaker, failures=0, why=f"{report.hold} went well")
    elif report.fault is Fault.PROVIDER:
        _count(tx, journal, breaker, rules, what="calls", why=report.why)
    elif report.is_answered and report.fault is Fault.NONE:
        _forget(tx, breaker)


def report_tick(tx: Transaction, journal: Journal, report: TickReport, rules: BreakerRules) -> None:
    """Let the breakers learn how a tick ended.

    One that was refused or cancelled says nothing: as a probe it leaves its place to the next.
    """
    has_failed, has_succeeded = report.outcome in _FAILED, report.outcome in _SUCCEEDED
    if not has_failed and not report.is_watched:
        return
    for name in (worker_breaker(report.worker), SYSTEM_BREAKER):
        breaker = _found(tx, name)
        is_half_open = breaker.state is BreakerState.HALF_OPEN
        if is_half_open and breaker.is_probed_by(report.worker, report.tick):
            what = f"{report.worker}#{report.tick}"
            if has_failed:
                why = f"its probe {what} failed: {report.why}"
                _open(tx, journal, breaker, rules, cause=breaker.cause, why=why)
            elif has_succeeded:
                _close(tx, journal, breaker, failures=0, why=f"{what} went well")
        elif has_failed and not report.is_crash:
            _count(tx, journal, breaker, rules, what="ticks", why=report.why)
        elif has_succeeded:
            _forget(tx, breaker)


def trip(
    tx: Transaction, journal: Journal, name: str, rules: BreakerRules, *, cause: Cause, why: str
) -> bool:
    """Open a breaker that is closed, and return whether that changed it."""
    breaker = _found(tx, name)
    if breaker.state is not BreakerState.CLOSED:
        return False
    _open(tx, journal, breaker, rules, cause=cause, why=why)
    return True


def _found(tx: Transaction, name: str) -> Breaker:
    return find_breaker(tx, name) or Breaker(name=name)


def _count(
    tx: Transaction,
    journal: Journal,
    breaker: Breaker,
    rules: BreakerRules,
    *,
    what: str,
    why: str,
) -> None:
    failures_max = rules.failures_max_of(breaker.name)
    if not failures_max:
        return
    counted = msgspec.structs.replace(breaker, failures=breaker.failures + 1)
    if breaker.state is BreakerState.CLOSED and counted.failures >= failures_max:
        why = f"{counted.failures} {what} in a row failed, at last: {why}"
        _open(tx, journal, counted, rules, cause=Cause.FAILURES, why=why)
    else:
        _keep(tx, counted)


def _forget(tx: Transaction, breaker: Breaker) -> None:
    if breaker.failures:
        _keep(tx, msgspec.structs.replace(breaker, failures=0))


def _open(
    tx: Transaction,
    journal: Journal,
    breaker: Breaker,
    rules: BreakerRules,
    *,
    cause: Cause,
    why: str,
) -> None:
    """Open it, for longer each time that it has not stayed closed for the longest cooldown."""
    if breaker.state is BreakerState.OPEN:
        return
    now = journal.origin.at
    calm_us = round(rules.cooldown_max_s * 1_000_000)
    was_calm = breaker.state is BreakerState.CLOSED and (
        not 0 <= to_us(now) - breaker.changed_at < calm_us
    )
    openings = 1 if was_calm else breaker.openings + 1
    retry_at = to_us(now + rules.cooldown_of(openings))
    opened = msgspec.structs.replace(
        breaker, cause=cause, why=why[:_WHY_MAX], retry_at=retry_at, openings=openings
    )
    reopen(tx, journal, opened)


def reopen(tx: Transaction, journal: Journal, breaker: Breaker) -> None:
    """Keep a breaker open until its `retry_at`; no probe of it runs any more."""
    _keep(
        tx,
        Breaker(
            name=breaker.name,
            state=BreakerState.OPEN,
            cause=breaker.cause,
            why=breaker.why,
            changed_at=to_us(journal.origin.at),
            retry_at=breaker.retry_at,
            openings=breaker.openings,
            failures=breaker.failures,
        ),
    )
    journal.add(
        kinds.BreakerOpened(
            name=breaker.name,
            why=breaker.why,
            retry_at=breaker.retry_at,
            cause=breaker.cause,
            openings=breaker.openings,
        )
    )


def _close(tx: Transaction, journal: Journal, breaker: Breaker, *, failures: int, why: str) -> None:
    _keep(
        tx,
        Breaker(
            name=breaker.name,
            changed_at=to_us(journal.origin.at),
            openings=breaker.openings,
            failures=failures,
        ),
    )
    journal.add(kinds.BreakerClosed(name=breaker.name, why=why))


def close_by_hand(tx: Transaction, journal: Journal, breaker: Breaker, *, why: str) -> None:
    """Close a breaker as if it had never opened: who does it says that its cause is gone.

    One that is closed already forgets the failures that it has counted, and nothing of which an
    event tells.
    """
    if breaker.state is BreakerState.CLOSED:
        _forget(tx, breaker)
        return
    _keep(tx, Breaker(name=breaker.name, changed_at=to_us(journal.origin.at)))
    journal.add(kinds.BreakerClosed(name=breaker.name, why=why, is_by_hand=True))


def _keep(tx: Transaction, breaker: Breaker) -> None:
    tx.run(
        "governance.set_breaker",
        name=breaker.name,
        state=breaker.state,
        cause=breaker.cause,
        why=breaker.why,
        changed_at=breaker.changed_at,
        retry_at=breaker.retry_at,
        openings=breaker.openings,
        failures=breaker.failures,
        probe_worker=breaker.probe_worker,
        probe_tick=breaker.probe_tick,
        probe_hold=breaker.probe_hold,
    )
