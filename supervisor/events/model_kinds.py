"""Events of who uses which model, and of what of it counts where."""

from __future__ import annotations

from supervisor.events.event import Event


class ModelAccessDenied(Event, frozen=True, kw_only=True):
    """A call asked for a model that the config does not give it; the call was not made."""

    kind = "model_access_denied"
    worker: str
    model: str
    why: str
    tier: str = ""
    identity: str = ""


class ModelOverrideUsed(Event, frozen=True, kw_only=True):
    """A call used a model because an override gives it to its identity; once for each call."""

    kind = "model_override_used"
    worker: str
    model: str
    tier: str
    identity: str


class TokenUsageRecorded(Event, frozen=True, kw_only=True):
    """Somebody reported a call that was made outside the daemon; `hold` is its row."""

    kind = "token_usage_recorded"
    hold: str
    worker: str
    model: str
    identity: str
    input_tokens: int
    output_tokens: int
    cost: int


class ModelRouted(Event, frozen=True, kw_only=True):
    """A call asked for a class and uses a model of `use`: by rule, or as asked where it is 0.

    `best` is the model that always-best would have used; `hold_settled` says what was saved.
    """

    kind = "model_routed"
    worker: str
    asked: str
    use: str
    model: str
    rule: int = 0
    best: str = ""


class ModelFellBack(Event, frozen=True, kw_only=True):
    """Another model is asked than `asked`, as [worker.NAME] fallback says; `why` it, not that one.

    It stands with the hold of the call to `model`; `code` is the refusal's or the error's.
    """

    kind = "model_fell_back"
    worker: str
    asked: str
    model: str
    code: str
    why: str


class ContextCompacted(Event, frozen=True, kw_only=True):
    """A worker made its input shorter, as it was above a context budget; bounds in tokens."""

    kind = "context_compacted"
    worker: str
    model: str
    before: int
    after: int


class HoldJoined(Event, frozen=True, kw_only=True):
    """A hold that was placed before also counts on an account whose limit came later."""

    kind = "hold_joined"
    hold: str
    account: str
