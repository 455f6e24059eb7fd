"""What a worker asks of a model."""

from __future__ import annotations

import msgspec

from supervisor.events import model_kinds
from supervisor.ledger.holds import Hold
from supervisor.providers.provider import Message, ModelRequest
from supervisor.worker.callers import Caller
from supervisor.worker.context_budget import Compact
from supervisor.worker.models import Model


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker asks of a model, and on whose behalf.

    `routed` says how its class became the model, and `best` what the best one would have been.
    """

    model: Model
    messages: tuple[Message, ...]
    max_tokens: int
    purpose: str
    caller: Caller
    compact: Compact | None = None
    routed: model_kinds.ModelRouted | None = None
    best: Model | None = None


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A question that is under its hold and on its way; `began_s` by the monotonic clock."""

    model: Model
    hold: Hold
    request: ModelRequest
    best: Model | None
    began_s: float
