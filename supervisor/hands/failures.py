"""What can go wrong with a request, in the words of its rules."""

from __future__ import annotations

import httpcore

from supervisor.errors import HttpFailed
from supervisor.hands.rules import HttpRules
from supervisor.redaction import REDACTION

_WHAT_MAX = 300
_FIXES = {
    "timeout": "try again later, or raise the span",
    "too_large": "ask for less, or raise the bound",
    "unreachable": "see whether the host is up, and its name right",
    "rate_limited": "call it less often: raise host_every_s",
    "redirects": "give the URL where it leads to, or raise the number",
    "broken": "try again later; if it stays so, the host is at fault",
}


def failed(url: str, reason: str, what: str, *, retry_after_s: float | None = None) -> HttpFailed:
    """Return the failure of the request to `url`; `reason` is one of its words."""
    return HttpFailed(
        subject=f"request {url}",
        reason=reason,
        what=REDACTION.text(what)[:_WHAT_MAX],
        fix=_FIXES[reason],
        retry_after_s=retry_after_s,
    )


def oversized(rules: HttpRules, url: str) -> HttpFailed:
    """Return the failure of a body that is too large."""
    what = f"its body is above body_max_bytes = {rules.body_max_bytes} of {rules.section}"
    return failed(url, "too_large", what)


def timed_out(rules: HttpRules, url: str, error: BaseException | None = None) -> HttpFailed:
    """Return the failure of a request that took too long; `error` is what noticed it."""
    match error:
        case httpcore.ConnectTimeout():
            key, span_s = "connect_timeout_s", rules.connect_timeout_s
        case httpcore.TimeoutException():
            key, span_s = "read_timeout_s", rules.read_timeout_s
        case _:
            key, span_s = "total_timeout_s", rules.total_timeout_s
    return failed(url, "timeout", f"it took longer than {key} = {span_s:g} of {rules.section}")


def late(rules: HttpRules, url: str, wait_s: float, *, why: str) -> HttpFailed:
    """Return the failure of a request that would have had to wait beyond its total span."""
    what = f"{why} in {wait_s:.0f} s, beyond total_timeout_s = {rules.total_timeout_s:g}"
    return failed(url, "rate_limited", what, retry_after_s=wait_s)
