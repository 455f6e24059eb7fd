"""Which models may be used on whose behalf: pure, from the config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase

import msgspec

from supervisor.errors import InputRefused, ModelAccessDenied
from supervisor.governance.policy import Tier
from supervisor.identity import NOBODY, Identity


class ModelTier(StrEnum):
    """How dear or dangerous a model is; a model that stands nowhere is restricted."""

    STANDARD = "standard"
    PREMIUM = "premium"
    RESTRICTED = "restricted"


class ModelRule(msgspec.Struct, frozen=True, kw_only=True):
    """The tiers that may be used on behalf of whoever `identity` covers."""

    allow: tuple[ModelTier, ...]
    identity: Identity = NOBODY


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """The only models, by name or pattern, for whoever `identity` covers."""

    models: tuple[str, ...]
    identity: Identity = NOBODY

    def has(self, model: str) -> bool:
        """Return whether the model is one of them."""
        return _matches(model, self.models)


class ModelAccess(msgspec.Struct, frozen=True, kw_only=True):
    """What was found about a model for an identity; `why` says it where it is denied.

    `is_override` says that an override has decided, one way or the other.
    """

    model: str
    identity: Identity
    tier: ModelTier
    why: str = ""
    fix: str = ""
    is_override: bool = False

    @property
    def is_allowed(self) -> bool:
        return not self.why

    @property
    def refusal(self) -> ModelAccessDenied | None:
        """The refusal, None where it is allowed."""
        if self.is_allowed:
            return None
        return ModelAccessDenied(
            model=self.model,
            what=self.why,
            fix=self.fix,
            tier=self.tier,
            identity=str(self.identity),
        )


class ModelGovernor:
    """The rules of [models] and the lists of [[token_budget]], in memory; changes nothing.

    Without `tiers` only the lists bind. With them, even if they are empty, a model that stands in
    none is restricted, and only a rule or an override gives it to anybody (governance.md).
    """

    def __init__(
        self,
        *,
        tiers: Mapping[ModelTier, Sequence[str]] | None = None,
        allow: Sequence[ModelTier] = (ModelTier.STANDARD,),
        actions: Mapping[str, Sequence[ModelTier]] | None = None,
        rules: Sequence[ModelRule] = (),
        overrides: Sequence[ModelList] = (),
        lists: Sequence[ModelList] = (),
    ) -> None:
        self._tiers = None if tiers is None else dict(tiers)
        self._allow = tuple(allow)
        self._actions = dict(actions or {})
        self._rules = tuple(rules)
        self._overrides = tuple(overrides)
        self._lists = tuple(lists)

    def tier_of(self, model: str) -> ModelTier:
        """Return the strictest tier that names the model; restricted where none does."""
        tiers = self._tiers or {}
        for tier in (ModelTier.RESTRICTED, ModelTier.PREMIUM, ModelTier.STANDARD):
            if _matches(model, tiers.get(tier, ())):
                return tier
        return ModelTier.RESTRICTED

    def check_access(
        self, identity: Identity, model: str, action_tier: str = Tier.DEFAULT
    ) -> ModelAccess:
        """Return whether the model may be used on behalf of `identity` for such an action.

        In this order: every list of a token budget that covers the identity must have the model.
        Overrides that cover it are an exclusive list, which beats the rules. Every rule that
        covers it must allow the model's tier; `allow` counts where none does. The tier of the
        action must allow it too, where it is told.

        Raises:
            InputRefused: `action_tier` is no tier of an action.
        """
        check_action_tier(action_tier)
        access = ModelAccess(model=model, identity=identity, tier=self.tier_of(model))
        if any(one.identity.covers(identity) and not one.has(model) for one in self._lists):
            why = f"is not among the allowed_models of a token budget of {identity}"
            return _denied(access, why, "add it to allowed_models there, or ask for another model")
        overrides = [one for one in self._overrides if one.identity.covers(identity)]
        if overrides:
            access = msgspec.structs.replace(access, is_override=True)
            if all(one.has(model) for one in overrides):
                return access
            why = f"is not in the override of {identity}, which is exclusive"
            return _denied(access, why, "add it to models of [[models.override]]")
        return access if self._tiers is None else self._by_tier(access, action_tier)

    def _by_tier(self, access: ModelAccess, action_tier: str) -> ModelAccess:
        rules = [rule for rule in self._rules if rule.identity.covers(access.identity)]
        allowed = [rule.allow for rule in rules] or [self._allow]
        named = "" if _matches(access.model, self._named) else ", as [models] does not name it"
        if not all(access.tier in tiers for tiers in allowed):
            why = f"is {access.tier}{named}, which {access.identity} may not use"
            return _denied(access, why, "put it into another tier of [models], or allow the tier")
        by_action = self._actions.get(action_tier)
        if by_action is not None and access.tier not in by_action:
            why = f"is {access.tier}{named}, which an action of tier {action_tier} may not use"
            return _denied(access, why, f"allow the tier in [models.actions] {action_tier}")
        return access

    @property
    def _named(self) -> list[str]:
        return [pattern for patterns in (self._tiers or {}).values() for pattern in patterns]


def check_action_tier(word: str) -> None:
    """Check that a word is the tier of an action, as [policy] has them.

    Raises:
        InputRefused: it is none.
    """
    if word not in list(Tier):
        fix = f"give one of {', '.join(Tier)}"
        raise InputRefused(subject=f"action tier {str(word)[:80]!r}", what="is none", fix=fix)


def _denied(access: ModelAccess, why: str, fix: str) -> ModelAccess:
    return msgspec.structs.replace(access, why=why, fix=fix)


def _matches(model: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(model, pattern) for pattern in patterns)
