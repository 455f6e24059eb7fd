"""How often in a row a worker made the same call and got the same result."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from supervisor.providers.provider import Message

_HASH_BYTES = 16


class Streak(msgspec.Struct, frozen=True, kw_only=True):
    """The worker's last call with its result, as a hash, and how often it came in a row."""

    call: str = ""
    repeats: int = 0

    def then(self, call: str) -> Streak:
        """Return the streak after one more call."""
        return Streak(call=call, repeats=self.repeats + 1 if call == self.call else 1)


def fingerprint(model: str, messages: Sequence[Message], text: str) -> str:
    """Return a hash of a call and its result: equal ones mean that nothing has changed."""
    content = msgspec.json.encode((model, messages, text))
    return hashlib.blake2b(content, digest_size=_HASH_BYTES).hexdigest()
