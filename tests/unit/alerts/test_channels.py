"""A webhook against a real server on loopback, and apprise against the same."""

from __future__ import annotations

import msgspec
import pytest

from supervisor.alerts.channels import AppriseService, NotDelivered, Webhook, text_of_message
from supervisor.alerts.facts import Severity
from supervisor.alerts.record import Message
from tests.unit.providers.loopback_server import answering, serving

MESSAGE = Message(
    id="a-1:raised:ops",
    alert="a-1",
    kind="raised",
    severity=Severity.CRITICAL,
    title="worker a has failed",
    what="it crashed 11 times",
    done="it is left stopped",
    command="`supervisor status`",
    count=3,
    since="2026-06-01T00:00:00Z",
    at="2026-06-01T00:00:00Z",
)
CLOSE = "Connection: close\r\n"


async def test_a_webhook_is_posted_the_message_with_its_id() -> None:
    channel = Webhook("")
    async with serving(answering(b"", headers=CLOSE)) as server:
        channel = Webhook(f"{server.base_url}/hook")
        await channel.send(MESSAGE)
        await channel.close()
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /hook ")
    assert b"idempotency-key: a-1:raised:ops" in head.lower()
    assert msgspec.json.decode(body, type=Message) == MESSAGE


@pytest.mark.parametrize("status", ["301 Moved", "400 Bad Request", "404 Not Found", "500 Error"])
async def test_any_other_answer_than_2xx_is_no_arrival(status: str) -> None:
    async with serving(answering(b"", status=status, headers=CLOSE)) as server:
        channel = Webhook(server.base_url)
        with pytest.raises(NotDelivered, match=status[:3]):
            await channel.send(MESSAGE)
        await channel.close()


@pytest.mark.parametrize(
    ("header", "wait_s"), [("7", 7.0), ("86400", 300.0), ("soon", 0.0), ("nan", 0.0), ("-5", 0.0)]
)
async def test_what_it_asks_for_is_waited_but_not_for_ever(header: str, wait_s: float) -> None:
    headers = f"{CLOSE}Retry-After: {header}\r\n"
    async with serving(answering(b"", status="429 Slow Down", headers=headers)) as server:
        channel = Webhook(server.base_url)
        with pytest.raises(NotDelivered) as failed:
            await channel.send(MESSAGE)
        await channel.close()
    assert failed.value.retry_after_s == wait_s


async def test_where_nobody_listens_it_is_not_delivered() -> None:
    channel = Webhook("http://127.0.0.1:1/hook")
    with pytest.raises(NotDelivered):
        await channel.send(MESSAGE)
    await channel.close()


@pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")
async def test_apprise_takes_it_to_the_services_that_it_knows() -> None:
    pytest.importorskip("apprise", reason="the extra `apprise` is not installed")
    async with serving(answering(b"", headers=CLOSE)) as server:
        host = server.base_url.removeprefix("http://")
        await AppriseService(f"json://{host}/notify").send(MESSAGE)
    body = msgspec.json.decode(server.requests[0].partition(b"\r\n\r\n")[2])
    assert "worker a has failed" in body["title"]
    assert "`supervisor status`" in body["message"]


@pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")
async def test_apprise_says_where_it_could_not_be_told() -> None:
    pytest.importorskip("apprise", reason="the extra `apprise` is not installed")
    with pytest.raises(NotDelivered):
        await AppriseService("json://127.0.0.1:1/notify").send(MESSAGE)
    with pytest.raises(NotDelivered):
        await AppriseService("no-such-service://x").send(MESSAGE)


def test_a_message_for_a_person_has_what_broke_what_was_done_and_what_to_do() -> None:
    text = text_of_message(MESSAGE)
    assert "it crashed 11 times" in text
    assert "Done about it: it is left stopped" in text
    assert "To do: `supervisor status`" in text
    assert "seen 3 times" in text
