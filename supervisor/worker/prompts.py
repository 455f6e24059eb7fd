"""A worker's prompt as the conversation that it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from supervisor.errors import InputRefused
from supervisor.providers.provider import Message

_MESSAGES_MAX = 1_000

Prompt = str | Sequence[Message | Mapping[str, str]]


def parse_prompt(prompt: Prompt) -> tuple[Message, ...]:
    """Return the conversation that `prompt` is.

    Raises:
        InputRefused: it is empty, or holds anything but text.
    """
    if isinstance(prompt, str):
        return (Message(role="user", content=prompt),)
    try:
        messages = msgspec.convert(list(prompt), list[Message], from_attributes=True)
    except (msgspec.ValidationError, TypeError) as error:
        raise InputRefused(
            subject="prompt",
            what=f"is not a text or a list of messages: {error}",
            fix='give {"role": "user", "content": TEXT}; images and files can\'t be bounded yet',
        ) from error
    if not 0 < len(messages) <= _MESSAGES_MAX:
        raise InputRefused(
            subject="prompt",
            what=f"has {len(messages)} messages",
            fix=f"give 1 to {_MESSAGES_MAX}",
        )
    return tuple(messages)
