"""What an HTTP failure means: was work done, is another try worth it, what to do."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import httpx
import msgspec

from supervisor.errors import ProviderFailed
from supervisor.redaction import REDACTION

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises on JSON from outside: wrong form, bad UTF-8, or nested too deeply."""

RETRY_AFTER_MAX_S = 3600.0
"""A longer wish is a quota, which retries of one call don't outlast."""

_EXCERPT_CHARS_MAX = 200
_NOT_CONNECTED = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH})
_RETRYABLE_4XX = frozenset({408, 409, 425, 429})
_PASSING_TROUBLES = frozenset(
    {"api_error", "overloaded_error", "rate_limit_error", "server_error", "timeout_error"}
)
_SECONDS = re.compile(r"\d+(\.\d+)?", re.ASCII)

# The cure by status; any other 4xx gets the text of 400.
_CURES = {
    400: "the request does not suit this model or server: see its message",
    401: "check the key that api_key_env of [providers.{name}] names",
    402: "add credit at the provider",
    403: "check what the key of [providers.{name}] may do",
    404: "check the model's name, and base_url in [providers.{name}]",
    408: "try again",
    409: "try again",
    413: "send less text",
    425: "try again",
    429: "slow down, or raise the limit at the provider",
}


class _Trouble(msgspec.Struct):
    """The error object that OpenAI's and Anthropic's APIs share."""

    message: str | None = None
    type: str | None = None


class _TroubleBody(msgspec.Struct):
    """The bodies seen in the wild: `{"error": {...}}`, `{"error": TEXT}`, `{"detail": TEXT}`."""

    error: _Trouble | str | None = None
    message: str | None = None
    detail: str | None = None


def transport_failure(
    name: str, error: httpx.HTTPError | httpx.InvalidURL, *, timeout: httpx.Timeout, secret: str
) -> ProviderFailed:
    """Return what `error`, raised in place of an answer or of its rest, means for provider `name`.

    Only a connection that was never made proves that no work was done.
    """
    # 1. No request can be made until the config is mended.
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return ProviderFailed(
            subject=f"provider {name}",
            what=f"its base_url is no HTTP address ({excerpt(str(error), secret=secret)})",
            fix=f"correct base_url in [providers.{name}]",
            was_refused=True,
        )
    # 2. The request never left: there was no connection to send it on.
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return ProviderFailed(
            subject=f"provider {name}",
            what=f"no connection ({_connect_text(error, timeout=timeout, secret=secret)})",
            fix=f"see that the server runs and that base_url in [providers.{name}] points to it",
            was_refused=True,
            is_retryable=True,
        )
    # 3. An answer came and could not be unpacked.
    if isinstance(error, httpx.DecodingError):
        return garbage_failure(name, "a body that does not unpack")
    # 4. Cut off between the first byte sent and the last one due: nobody knows what was done.
    what = f"no byte for {timeout.read:g} s" if isinstance(error, httpx.ReadTimeout) else "cut off"
    kind = type(error).__name__
    return ProviderFailed(
        subject=f"provider {name}",
        what=f"{what} ({kind}) with the request on its way; what was billed is unknown",
        fix="try again; if it lasts, see the provider's status page or the server's log",
        is_retryable=not isinstance(error, httpx.LocalProtocolError),
    )


def status_failure(
    name: str, *, status: int, said: str = "", retry_after_s: float | None = None
) -> ProviderFailed:
    """Return what an HTTP status other than 2xx means; `said` is an excerpt of the body."""
    words = f": {said}" if said else ""
    wish = ""
    if retry_after_s:
        least = " or more" if retry_after_s >= RETRY_AFTER_MAX_S else ""
        wish = f" (it asks to wait {retry_after_s:g} s{least})"
    return ProviderFailed(
        subject=f"provider {name}",
        what=f"HTTP {status}{words}{wish}",
        fix=_cure(name, status),
        was_refused=httpx.codes.is_client_error(status),
        is_retryable=httpx.codes.is_server_error(status) or status in _RETRYABLE_4XX,
        retry_after_s=retry_after_s,
    )


def told_failure(name: str, body: bytes, *, secret: str) -> ProviderFailed:
    """Return what an error inside a 200 answer or stream means: the outcome is unknown."""
    trouble = _trouble(body)
    return ProviderFailed(
        subject=f"provider {name}",
        what=f"an error in place of the answer: {vendor_words(body, secret=secret)}",
        fix="see its message; what was billed is unknown",
        is_retryable=trouble.type in _PASSING_TROUBLES,
    )


def garbage_failure(name: str, what: str) -> ProviderFailed:
    """Return the failure for an answer that came and can't be used: another try costs as much."""
    return ProviderFailed(
        subject=f"provider {name}",
        what=f"answered with {what}",
        fix=f"check that base_url in [providers.{name}] points to an API of its kind",
    )


def broken_stream(name: str) -> ProviderFailed:
    """Return the failure for a stream that ended without its end mark."""
    return ProviderFailed(
        subject=f"provider {name}",
        what="the stream ended before the answer did; what was billed is unknown",
        fix="try again; if it lasts, see the provider's status page or the server's log",
        is_retryable=True,
    )


def oversized_failure(name: str, *, bytes_max: int) -> ProviderFailed:
    """Return the failure for an answer above its bound (requirement Q3)."""
    return ProviderFailed(
        subject=f"provider {name}",
        what=f"its answer is above {bytes_max} bytes and was cut off",
        fix="ask for fewer tokens, or raise the limit of an answer's bytes",
    )


def retry_after_s(headers: Mapping[str, str], *, max_s: float = RETRY_AFTER_MAX_S) -> float | None:
    """Return the seconds that Retry-After asks for, 0 to `max_s`, or None.

    Source: RFC 9110, section 10.2.3. A date is measured from the answer's own Date header, so that
    neither clock's error counts; where that header is missing the wish is unknown.
    """
    wish = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(wish):
        return min(float(wish), max_s)
    try:
        span = parsedate_to_datetime(wish) - parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(span.total_seconds(), 0.0), max_s)


def vendor_words(body: bytes, *, secret: str) -> str:
    """Return a short excerpt of the error message in `body`, or of `body` as it is."""
    trouble = _trouble(body)
    return excerpt(trouble.message or body.decode(errors="replace"), secret=secret)


def excerpt(text: str, *, secret: str) -> str:
    """Return the start of `text` on one line, without `secret`: it comes before the cut."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if secret:
        line = line.replace(secret, "[api key]")
    line = REDACTION.text(line)
    return line if len(line) <= _EXCERPT_CHARS_MAX else f"{line[:_EXCERPT_CHARS_MAX]}..."


def _trouble(body: bytes) -> _Trouble:
    try:
        told = msgspec.json.decode(body, type=_TroubleBody)
    except UNREADABLE:
        return _Trouble()
    if isinstance(told.error, _Trouble):
        return told.error
    return _Trouble(message=told.error or told.message or told.detail)


def _connect_text(error: httpx.TransportError, *, timeout: httpx.Timeout, secret: str) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return f"none within {timeout.connect:g} s"
    if isinstance(error, httpx.PoolTimeout):
        return f"none free within {timeout.pool:g} s"
    refused = _system_error(error)
    if refused is not None and refused.errno is not None:
        # The layers between say no more than that no attempt succeeded.
        return os.strerror(refused.errno).lower()
    return excerpt(str(error), secret=secret)


def _system_error(error: BaseException | None) -> OSError | None:
    """Return what the system said of a connection: refused, no route, unreachable."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NOT_CONNECTED:
            return error
        if isinstance(error, BaseExceptionGroup):
            # An address for each attempt: the last one is as good as any.
            error = error.exceptions[-1]
        else:
            error = error.__cause__ or error.__context__
    return None


def _cure(name: str, status: int) -> str:
    if httpx.codes.is_redirect(status):
        return f"base_url in [providers.{name}] must be the address that it redirects to"
    if not httpx.codes.is_client_error(status):
        return "try again later; if it lasts, see the provider's status page or the server's log"
    return _CURES.get(status, _CURES[400]).format(name=name)
