"""What a case of an operation with a command id is, and how a person's is sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import msgspec

from supervisor.events.log import Origin
from tests.contract.policy_bench import PolicyBench

Content: TypeAlias = msgspec.Struct
Send: TypeAlias = Callable[[str, Content], Awaitable[object]]


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """How an operation is sent with a command id and its content.

    `others` has another value for each field of the content. `named` is how the error calls a
    field where that is not its name.
    """

    send: Send
    content: Content
    others: Mapping[str, object]
    named: Mapping[str, str] = {}
    #: What is no content: the command id itself, which life sends it, of which kind its sender is.
    left_out: frozenset[str] = frozenset()


def origin_of(bench: PolicyBench, command_id: str) -> Origin:
    return Origin(at=bench.clock.now(), actor="ann", command_id=command_id)


def sender(bench: PolicyBench, operation: Callable[..., object], *rest: object) -> Send:
    """Return how a command of a person is sent: content and origin, and what it needs besides."""

    async def send(command_id: str, content: Content) -> object:
        return await bench.store.write(operation, content, origin_of(bench, command_id), *rest)

    return send
