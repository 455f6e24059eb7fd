"""What every kind of event is."""

from __future__ import annotations

from typing import ClassVar

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A past-tense fact. A state-bearing one fails closed: no record, no change of state."""

    kind: ClassVar[str]
    state_bearing: ClassVar[bool] = True
