"""On whose behalf a call is made, as a worker says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import msgspec

from supervisor.governance.identities import checked_name, parse_identity
from supervisor.governance.model_governor import check_action_tier
from supervisor.governance.policy import Tier
from supervisor.identity import NOBODY, Identity


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Whose call it is, in which conversation (empty for none), and for which tier of action."""

    identity: Identity = NOBODY
    conversation: str = ""
    action_tier: str = Tier.DEFAULT


class CallerWords(TypedDict, total=False):
    """How a worker says it; `identity` is an `Identity`, or a mapping of org, team and user.

    `action_tier` is that of the action for which a model is asked, as [policy] has it.
    """

    identity: Identity | Mapping[str, str] | None
    conversation: str
    action_tier: str


def parse_caller(words: CallerWords, default: Caller) -> Caller:
    """Return whose call it is; what the identity leaves out is the worker's own.

    Raises:
        InputRefused: a name can't be kept, or there is no such tier.
    """
    if not words.keys() & CallerWords.__annotations__.keys():
        return default
    identity = parse_identity(words.get("identity"))
    conversation = words.get("conversation", "")
    if conversation:
        checked_name("conversation", conversation)
    action_tier = words.get("action_tier", default.action_tier)
    check_action_tier(action_tier)
    return Caller(
        identity=identity.within(default.identity),
        conversation=conversation,
        action_tier=action_tier,
    )
