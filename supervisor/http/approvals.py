"""The routes of tickets: which wait, and a person's decision."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from supervisor.governance.approvals import DecideCommand
from supervisor.governance.session_grants import Scope
from supervisor.http.access import Access
from supervisor.http.answers import Answers
from supervisor.http.wire import json_answer, read_body
from supervisor.money import limit_micro_usd

_FORM = (
    '{"why": TEXT, "actor": NAME, "command_id": ID}, and to approve for the session'
    ' "for_session": {"resources": [PATTERN], "count": N, "cost_usd": USD, "expires_s": S}'
)


class _ForSession(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    resources: tuple[str, ...] = ()
    count: Annotated[int, Meta(ge=1, le=10**9)] | None = None
    cost_usd: Annotated[float, Meta(ge=0, le=1e9)] | None = None
    expires_s: Annotated[float, Meta(gt=0, le=366 * 86_400)] | None = None

    @property
    def scope(self) -> Scope:
        return Scope(
            resources=self.resources,
            count_max=self.count,
            cost_max=None if self.cost_usd is None else limit_micro_usd(self.cost_usd),
            expires_s=self.expires_s,
        )


class _Decision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    why: str = ""
    actor: str = "http"
    command_id: str = ""
    for_session: _ForSession | None = None


class ApprovalRoutes:
    """Approving loosens, as a release does: it needs a token. Denying does not."""

    def __init__(self, answers: Answers, access: Access) -> None:
        self._answers = answers
        self._access = access

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/approvals", self.list),
            Route("/approvals/{ticket}/approve", self.approve, methods=["POST"]),
            Route("/approvals/{ticket}/deny", self.deny, methods=["POST"]),
        ]

    async def list(self, _request: Request) -> Response:
        """Answer which tickets wait."""
        return json_answer(await self._answers.tickets())

    async def approve(self, request: Request) -> Response:
        """Approve a ticket."""
        return await self._decide(request, is_approval=True)

    async def deny(self, request: Request) -> Response:
        """Deny a ticket."""
        return await self._decide(request, is_approval=False)

    async def _decide(self, request: Request, *, is_approval: bool) -> Response:
        self._access.check(request.headers, is_loosening=is_approval)
        body = await read_body(request, _Decision, form=_FORM)
        command = DecideCommand(
            ticket=request.path_params["ticket"],
            why=body.why,
            for_session=None if body.for_session is None else body.for_session.scope,
        )
        return json_answer(
            await self._answers.decide(
                command, is_approval=is_approval, actor=body.actor, command_id=body.command_id
            )
        )
