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


class Streaks:
    """A worker's streaks: of what it pays for, over ticks, and of what is free, within this one.

    Whoever pays for the same answer again and again gets nowhere, at whatever pace. A call that
    costs nothing may be made anew by each tick: so does whoever polls a model of his own. But no
    tick has a reason to make it again and again.

    A call that runs beside another one repeats nothing: who asks the same many times at once wants
    many answers, and has not seen the first when it asks for the second.
    """

    __slots__ = ("_beside", "_free", "_running", "paid")

    def __init__(self, paid: Streak) -> None:
        self.paid = paid
        self._free = Streak()
        self._running: set[str] = set()
        self._beside: set[str] = set()

    def begin(self, hold_id: str) -> None:
        """Note that a call has begun."""
        self._running.add(hold_id)
        if len(self._running) > 1:
            self._beside |= self._running

    def end(self, hold_id: str) -> None:
        """Note that a call has ended."""
        self._running.discard(hold_id)
        self._beside.discard(hold_id)

    def add(self, hold_id: str, call: str, *, is_free: bool) -> int:
        """Note the result of a call that runs, and return how often both came in a row."""
        before = self._free if is_free else self.paid
        after = Streak() if hold_id in self._beside else before.then(call)
        if is_free:
            self._free = after
        else:
            self.paid = after
        return after.repeats


def fingerprint(model: str, messages: Sequence[Message], text: str) -> str:
    """Return a hash of a call and its result: equal ones mean that nothing has changed."""
    content = msgspec.json.encode((model, messages, text))
    return hashlib.blake2b(content, digest_size=_HASH_BYTES).hexdigest()
