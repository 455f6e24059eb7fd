"""Token budgets for code that calls models itself: ask before, report after."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypedDict, Unpack
from zoneinfo import ZoneInfo

from supervisor.clock import Clock, SystemClock
from supervisor.errors import InputRefused, StoreUnavailable, TokenBudgetExhausted
from supervisor.events.log import Origin
from supervisor.governance.identities import checked_name, parse_identity
from supervisor.governance.model_governor import ModelGovernor, ModelList, check_action_tier
from supervisor.governance.token_budgets import (
    TOKENS_MAX,
    BudgetCheck,
    Party,
    TokenBudgetConfig,
    Usage,
    UsageRecord,
    check_budget,
    record_usage,
)
from supervisor.identity import Identity
from supervisor.ids import IdSource, RandomIds
from supervisor.ledger.accounts import Amounts, Budgets
from supervisor.money import USD_MAX, micro_usd
from supervisor.storage.database import Database

_COMMAND_MAX = 200


class PartyWords(TypedDict, total=False):
    """Whose usage it is, beside the identity: each of them may be left out."""

    conversation: str
    worker: str
    session_id: str
    action_tier: str


class TokenBudgetTracker:
    """Checks and charges budgets in the ledger of the daemon, with the daemon up or down.

    `budgets` and `governor` are the config's, `configs` come on top. It keeps nothing in memory.
    A model call of a worker needs none of it: `ctx.model` holds its worst case beforehand.
    """

    def __init__(
        self,
        database: Database,
        configs: Sequence[TokenBudgetConfig] = (),
        *,
        budgets: Budgets | None = None,
        governor: ModelGovernor | None = None,
        clock: Clock | None = None,
        party: Party | None = None,
    ) -> None:
        """Begin; `party` is what a usage is taken for where it does not say."""
        self._database = database
        known = budgets or Budgets((), timezone=ZoneInfo("UTC"), warn_ratio=0.8)
        self._budgets = known.with_more([one for config in configs for one in config.budgets()])
        self._governor = governor if governor is not None else governor_of(configs)
        self._clock = clock or SystemClock()
        self._party = party or Party()
        self._ids: IdSource = RandomIds()

    async def check_budget(
        self,
        identity: Identity | Mapping[str, str] | None = None,
        *,
        model: str = "",
        tokens: int = 0,
        cost_usd: float = 0.0,
        **words: Unpack[PartyWords],
    ) -> BudgetCheck:
        """Return whether so much more may be used on behalf of `identity`.

        It is a look: whoever else looks at the same moment gets the same answer. A store that
        can't be read answers no, with the reason.

        Raises:
            InputRefused: an amount is negative, or a name can't be kept.
        """
        party = self._party_of(identity, model, words)
        wanted = _amounts(tokens, 0, cost_usd)
        try:
            return await self._database.read(
                check_budget, party, wanted, self._budgets, self._governor, self._clock.now()
            )
        except StoreUnavailable as error:
            return BudgetCheck(allowed=False, reasons=(f"{error.code}: {error}",))

    async def record_usage(
        self,
        identity: Identity | Mapping[str, str] | None = None,
        *,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cost_usd: float = 0.0,
        model: str = "",
        command_id: str = "",
        **words: Unpack[PartyWords],
    ) -> UsageRecord:
        """Charge a call that was made already; it is durable when this returns or raises.

        Send it again with the same `command_id` where the answer was lost: it counts once.

        Raises:
            TokenBudgetExhausted: it is recorded, and a budget is above its limit now.
            StoreUnavailable: it may not be recorded; send it again with its `command_id`.
            InputRefused: an amount is negative, or a name can't be kept; nothing was recorded.
            CommandConflict: the command id was used for other usage; nothing was recorded.
        """
        party = self._party_of(identity, model, words)
        amounts = _amounts(input_tokens, output_tokens, cost_usd)
        usage = Usage(
            id=_checked_command(command_id or self._ids.new("use")),
            party=party,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cost=amounts.cost,
        )
        actor = f"worker:{party.worker}" if party.worker else "reported"
        origin = Origin(at=self._clock.now(), actor=actor, command_id=usage.id)
        timezone = self._budgets.timezone
        record = await self._database.write(record_usage, usage, self._budgets, timezone, origin)
        if record.exceeded:
            raise TokenBudgetExhausted(
                identity=str(party.identity), usage=record.hold, reasons=record.exceeded
            )
        return record

    def _party_of(
        self, identity: Identity | Mapping[str, str] | None, model: str, words: PartyWords
    ) -> Party:
        own = self._party
        action_tier = words.get("action_tier", own.action_tier)
        check_action_tier(action_tier)
        conversation = words.get("conversation", own.conversation)
        return Party(
            identity=parse_identity(identity).within(own.identity),
            model=checked_name("model", model) if model else "",
            conversation=checked_name("conversation", conversation) if conversation else "",
            worker=words.get("worker", own.worker),
            session_id=words.get("session_id", own.session_id),
            action_tier=action_tier,
        )


def governor_of(configs: Sequence[TokenBudgetConfig]) -> ModelGovernor | None:
    """Return what the configs' lists of models say, None where none has one."""
    lists = [
        ModelList(models=tuple(config.allowed_models), identity=config.identity)
        for config in configs
        if config.allowed_models is not None
    ]
    return ModelGovernor(lists=lists) if lists else None


def _amounts(input_tokens: int, output_tokens: int, cost_usd: float) -> Amounts:
    numbers = (input_tokens, output_tokens, cost_usd)
    is_known = math.isfinite(cost_usd) and cost_usd <= USD_MAX
    if not is_known or min(numbers) < 0 or max(input_tokens, output_tokens) > TOKENS_MAX:
        raise InputRefused(
            subject="usage",
            what=f"{input_tokens} and {output_tokens} tokens and {cost_usd} USD are no amounts",
            fix="give what was used: 0 or more",
        )
    tokens = input_tokens + output_tokens
    return Amounts(cost=micro_usd(cost_usd), tokens=tokens)


def _checked_command(command_id: str) -> str:
    if len(command_id) > _COMMAND_MAX or not command_id.isprintable():
        fix = f"give up to {_COMMAND_MAX} characters that can be printed"
        raise InputRefused(subject="command_id", what="can't be kept", fix=fix)
    return command_id
