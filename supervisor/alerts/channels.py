"""Where alerts go: a webhook, or any service that apprise knows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import anyio
import msgspec

from supervisor.alerts.record import Message
from supervisor.redaction import REDACTION

if TYPE_CHECKING:
    import httpx

_TIMEOUT_S = 10.0
_RETRY_AFTER_MAX_S = 300.0
_ERROR_MAX = 200
_NOTIFY_TYPES = {"info": "info", "warning": "warning", "critical": "failure"}


class NotDelivered(Exception):
    """A channel did not take a message; `retry_after_s` is what it asked for, 0 for nothing."""

    def __init__(self, why: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(why[:_ERROR_MAX])
        self.retry_after_s = retry_after_s


class Channel(Protocol):
    """One place where somebody reads."""

    async def send(self, message: Message) -> None:
        """Send a message, which has arrived when this returns.

        Raises:
            NotDelivered: nobody said that it arrived.
        """
        ...

    async def close(self) -> None:
        """Let go of its connections."""
        ...


class Webhook:
    """Posts each message as JSON; only an answer of 2xx is an arrival.

    `Idempotency-Key` is the message's id: a message whose answer was lost comes again with it.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: httpx.AsyncClient | None = None

    async def send(self, message: Message) -> None:
        """Post the message.

        Raises:
            NotDelivered: there was no answer, or another one than 2xx.
        """
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(timeout=_TIMEOUT_S)
        headers = {"Content-Type": "application/json", "Idempotency-Key": message.id}
        content = REDACTION.text(msgspec.json.encode(message).decode())
        try:
            with anyio.fail_after(_TIMEOUT_S):
                answer = await self._client.post(self._url, content=content, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as error:
            raise NotDelivered(f"{type(error).__name__}: no answer") from error
        if not answer.is_success:
            wait_s = _retry_after_s(answer.headers.get("Retry-After", ""))
            raise NotDelivered(f"it answered {answer.status_code}", retry_after_s=wait_s)

    async def close(self) -> None:
        """Close the client."""
        if self._client is not None:
            await self._client.aclose()


class AppriseService:
    """Discord, Slack, ntfy, e-mail and the others that apprise has a URL for.

    https://github.com/caronc/apprise/wiki (read 2026-11-21). It blocks, so it has a thread.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    async def send(self, message: Message) -> None:
        """Send the message as text.

        Raises:
            NotDelivered: apprise says no, or nothing for a while.
        """
        try:
            with anyio.fail_after(3 * _TIMEOUT_S):
                has_arrived = await anyio.to_thread.run_sync(
                    self._notify, message, abandon_on_cancel=True
                )
        except TimeoutError as error:
            raise NotDelivered("it did not answer in time") from error
        except Exception as error:
            raise NotDelivered(f"apprise raised {type(error).__name__}") from error
        if not has_arrived:
            raise NotDelivered("the service did not take it")

    def _notify(self, message: Message) -> bool:
        import apprise

        service = apprise.Apprise()
        if not service.add(self._url):
            return False
        notify_type = "success" if message.kind == "resolved" else _NOTIFY_TYPES[message.severity]
        return bool(
            service.notify(
                title=title_of(message),
                body=REDACTION.text(text_of_message(message)),
                notify_type=apprise.NotifyType(notify_type),
            )
        )

    async def close(self) -> None:
        """Do nothing: each notification has connections of its own."""


def title_of(message: Message) -> str:
    """Return a message's first line: what it is, and how bad."""
    word = {"raised": message.severity.upper(), "reminder": "STILL", "resolved": "OVER"}
    return f"[{word.get(message.kind, message.kind.upper())}] {message.title}"


def text_of_message(message: Message) -> str:
    """Return a message for a person: what broke, what was done about it, and what to do."""
    lines = [message.what]
    if message.done:
        lines.append(f"Done about it: {message.done}")
    if message.command:
        lines.append(f"To do: {message.command}")
    often = f", seen {message.count} times" if message.count > 1 else ""
    lines.append(f"Since {message.since}{often} (alert {message.alert})")
    return "\n".join(lines)


def _retry_after_s(text: str) -> float:
    try:
        wait_s = float(text)
    except ValueError:
        return 0.0
    return min(max(wait_s, 0.0), _RETRY_AFTER_MAX_S) if math.isfinite(wait_s) else 0.0
