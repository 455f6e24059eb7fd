"""Every error and refusal of the daemon, each with a stable code."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from supervisor.clock import iso
from supervisor.money import usd_text


class SupervisorError(Exception):
    """Something that a person can act on: a subject, what happened, and what to do."""

    code: ClassVar[str] = "internal"

    def __init__(self, *, subject: str, what: str, fix: str) -> None:
        super().__init__(f"{subject}: {what}; {fix}")
        self.subject = subject
        self.what = what
        self.fix = fix


class ConfigError(SupervisorError):
    """The configuration can't be used; the daemon exits 78 and is not to be restarted."""

    code = "config"


class UsageError(SupervisorError):
    """A command was called with words that it does not know; exits 64."""

    code = "usage"


class NotFound(SupervisorError):
    """Something that was named does not exist."""

    code = "not_found"


class AlreadyRunning(SupervisorError):
    """Another daemon holds the state directory; exits 73."""

    code = "already_running"


class StoreUnavailable(SupervisorError):
    """The store did not take a write or answer a read; nothing was done."""

    code = "store_unavailable"


class StoreDamaged(StoreUnavailable):
    """The store is not a healthy database of ours; it was left as it is."""

    code = "store_damaged"


class StoreTooNew(StoreUnavailable):
    """The store was written by a newer version; this one leaves it alone."""

    code = "store_too_new"


class RowDamaged(SupervisorError):
    """A row of the store is not as we write it: somebody, or a fault, has changed it."""

    code = "row_damaged"

    def __init__(self, *, subject: str, why: str) -> None:
        super().__init__(
            subject=subject,
            what=f"its row can't be read: {why}; nothing was done",
            fix="`supervisor audit` says what is wrong with it; restore a backup, or ask for help",
        )


class CommandConflict(SupervisorError):
    """A command id was used before, for another operation or with other content."""

    code = "command_conflict"


class IllegalMove(SupervisorError):
    """A state machine was asked for a move that its present state does not allow."""

    code = "illegal_move"


class PermanentFailure(SupervisorError):
    """A worker says of its job that no further attempt can help; raised by workers."""

    code = "permanent_failure"

    def __init__(self, why: str) -> None:
        super().__init__(
            subject="job",
            what=why,
            fix="mend the cause, then `supervisor dead requeue ID`, or discard it",
        )
        self.why = why


class ProviderFailed(SupervisorError):
    """A model provider did not answer as it should.

    `was_refused` is true only where it is known that the provider did no work: the request never
    left this machine, or it was turned away with a 4xx. Then its hold is released; else the
    outcome is unknown, and the hold is forfeited (requirement L3).
    `retry_after_s` is what the provider asked for, in seconds, or None.
    """

    code = "provider_failed"

    def __init__(
        self,
        *,
        subject: str,
        what: str,
        fix: str,
        was_refused: bool = False,
        is_retryable: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(subject=subject, what=what, fix=fix)
        self.was_refused = was_refused
        self.is_retryable = is_retryable
        self.retry_after_s = retry_after_s


class HttpFailed(SupervisorError):
    """A request of `ctx.http` had no whole answer within its bounds.

    `reason` is one word: timeout, too_large, unreachable, rate_limited, redirects, broken.
    `retry_after_s` is for how long the host asked not to be called, or None.
    """

    code = "http_failed"

    def __init__(
        self, *, subject: str, reason: str, what: str, fix: str, retry_after_s: float | None = None
    ) -> None:
        super().__init__(subject=subject, what=what, fix=fix)
        self.reason = reason
        self.retry_after_s = retry_after_s


class OutputRejected(SupervisorError):
    """What a unit of work handed over did not pass a check, so that it failed.

    `check` is the check's name in the config.
    """

    code = "output_rejected"

    def __init__(self, *, check: str, what: str) -> None:
        super().__init__(
            subject=f"check {check}",
            what=what,
            fix="nothing was published; see the drafts, and mend the worker or its checks",
        )
        self.check = check


class Refusal(SupervisorError):
    """An expected no of a gate: a value inside the daemon, raised only into a worker's code."""

    code = "refused"


class BudgetExceeded(Refusal):
    """A hold did not fit under an account's limit, so the call was not made.

    `unit` is `micro_usd`, `tokens` or `actions`; `needed` and `free` are in that unit.
    `resets_at` is the end of the account's period, None for one that does not end by the clock.
    `may_free_up` says that the hold would fit if the calls in flight turn out to cost nothing.
    """

    code = "budget_exceeded"

    def __init__(
        self,
        *,
        account: str,
        unit: str,
        needed: int,
        free: int,
        resets_at: datetime | None,
        may_free_up: bool = False,
    ) -> None:
        until = f" until {iso(resets_at)}" if resets_at else ""
        wait = " or wait" if resets_at else ""
        super().__init__(
            subject=f"account {account}",
            what=f"hold of {amount_text(needed, unit)} refused, "
            f"{amount_text(max(free, 0), unit)} free{until}",
            fix=f"raise its limit in the config (see `supervisor spend`){wait}",
        )
        self.account = account
        self.unit = unit
        self.needed = needed
        self.free = free
        self.resets_at = resets_at
        self.may_free_up = may_free_up


class KillSwitchEngaged(Refusal):
    """A kill is latched for this scope; only a release by a named actor clears it."""

    code = "kill_switch_engaged"

    def __init__(self, *, scope: str, actor: str, why: str) -> None:
        kind, _, name = scope.partition(":")
        flag = f"--{kind} {name}".rstrip()
        super().__init__(
            subject=f"kill switch {scope}",
            what=f"engaged by {actor}: {why}",
            fix=f"`supervisor release {flag} --why TEXT` clears it",
        )
        self.scope = scope


class BreakerOpen(Refusal):
    """A breaker is open; `retry_at` is when it lets one probe through, or when to look again.

    `probe` is the tick or the hold that probes it now, empty where none does.
    """

    code = "breaker_open"

    def __init__(self, *, name: str, why: str, retry_at: datetime, probe: str = "") -> None:
        when = f"it lets one probe through at {iso(retry_at)}"
        super().__init__(
            subject=f"breaker {name}",
            what=f"open: {why}",
            fix=(f"its probe {probe} is under way" if probe else when)
            + f"; mend the cause, then wait, or `supervisor breakers close {name} --why TEXT`",
        )
        self.name = name
        self.retry_at = retry_at
        self.probe = probe


class SessionNotActive(Refusal):
    """The worker's session is paused or aborted, so that nothing may run in it."""

    code = "session_not_active"

    def __init__(self, *, session_id: str, status: str, why: str, fix: str = "") -> None:
        resume = f"`supervisor sessions resume {session_id}` lets the worker go on"
        super().__init__(
            subject=f"session {session_id}", what=f"{status}: {why}", fix=fix or resume
        )
        self.session_id = session_id
        self.status = status


class ModelAccessDenied(Refusal):
    """A call asked for a model that the config does not give it.

    `tier` is the model's and `identity` on whose behalf it was asked, where these have decided.
    """

    code = "model_access_denied"

    def __init__(
        self, *, model: str, what: str, fix: str, tier: str = "", identity: str = ""
    ) -> None:
        super().__init__(subject=f"model {model}", what=what, fix=fix)
        self.model = model
        self.tier = tier
        self.identity = identity


class TokenBudgetExhausted(Refusal):
    """Usage was recorded, and with it a budget of its identity is above its limit.

    `reasons` are the accounts that are, in words; `usage` is what was recorded, by its id.
    """

    code = "token_budget_exhausted"

    def __init__(self, *, identity: str, usage: str, reasons: tuple[str, ...]) -> None:
        super().__init__(
            subject=f"token budget of {identity}",
            what=f"{usage} is recorded, and {'; '.join(reasons)}",
            fix="stop calling on its behalf until then, or raise the limit in the config",
        )
        self.identity = identity
        self.usage = usage
        self.reasons = reasons


class PriceUnknown(Refusal):
    """Nobody has said what the model costs, so that no worst case can be held."""

    code = "price_unknown"

    def __init__(self, *, model: str, fix: str) -> None:
        super().__init__(subject=f"model {model}", what="its price is unknown", fix=fix)
        self.model = model


class InputRefused(Refusal):
    """A call's input can't be bounded or is above its bound, so that it was not sent."""

    code = "input_refused"


class RequestRefused(Refusal):
    """A request of `ctx.http` may not be sent by the worker's rules, so that it was not.

    `reason` is one word: scheme, host, address, robots, count.
    """

    code = "request_refused"

    def __init__(self, *, subject: str, reason: str, what: str, fix: str) -> None:
        super().__init__(subject=subject, what=what, fix=fix)
        self.reason = reason


class AccessDenied(Refusal):
    """A worker asked for what is another's or was not granted to it: memory, or a secret."""

    code = "access_denied"


class ContextExceeded(Refusal):
    """A call's input is above a context budget; `needed` and `free` in tokens, by their bound.

    `limit` is the key of [context] that says so.
    """

    code = "context_exceeded"

    def __init__(self, *, limit: str, needed: int, free: int) -> None:
        super().__init__(
            subject=f"context budget {limit}",
            what=f"input of up to {needed} tokens refused, {free} free",
            fix="send less, give ctx.model.complete a compact= that shortens it, or raise "
            f"[context] {limit}",
        )
        self.limit = limit
        self.needed = needed
        self.free = free


class ApprovalRequired(Refusal):
    """An action may not be executed yet: a person has to decide, or guidance was given instead."""

    code = "approval_required"

    def __init__(self, *, action: str, what: str, fix: str, ticket: str = "") -> None:
        super().__init__(subject=f"action {action}", what=what, fix=fix)
        self.action = action
        self.ticket = ticket


class ActionDenied(Refusal):
    """An action may not be executed: by the policy, by a person, or because nobody decided.

    `reason` is one word: blocked, evaluator, high_risk, person, expired, executed, failed.
    """

    code = "action_denied"

    def __init__(self, *, action: str, reason: str, what: str, fix: str) -> None:
        super().__init__(subject=f"action {action}", what=what, fix=fix)
        self.action = action
        self.reason = reason


def amount_text(amount: int, unit: str) -> str:
    """Return an amount with its unit: `0.35 USD`, `1200 tokens`, `3 actions`."""
    return usd_text(amount) if unit == "micro_usd" else f"{amount} {unit}"


def text_of(error: BaseException) -> str:
    """Return what an error says, or its type's name where it says nothing or can't."""
    try:
        return str(error) or type(error).__name__
    except Exception:  # noqa: BLE001 - somebody else's __str__
        return f"{type(error).__name__}, whose text can't be had"


def cause_of(error: BaseException) -> str:
    """Return what a person is told of an error: with its type where it says a key or number."""
    said = text_of(error)
    is_bare = isinstance(error, KeyError | SystemExit) and said != type(error).__name__
    return f"{type(error).__name__}: {said}" if is_bare else said


def storable(text: str) -> str:
    """Return `text` with what has no UTF-8 form (half of a surrogate pair) spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()
