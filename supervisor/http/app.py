"""The routes: health, metrics, status, and the kill switch."""

from __future__ import annotations

import socket

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from supervisor.config import Loaded
from supervisor.errors import (
    CommandConflict,
    IllegalMove,
    KillSwitchEngaged,
    NotFound,
    StoreUnavailable,
    SupervisorError,
    UsageError,
)
from supervisor.governance.kill_switch import KillCommand
from supervisor.http.access import Access, AccessDenied
from supervisor.http.answers import Answers
from supervisor.http.approvals import ApprovalRoutes
from supervisor.http.server import HttpServer
from supervisor.http.wire import json_answer, read_body

_FORM = '{"scope": "system", "why": TEXT, "command_id": ID}'
_STATUSES: dict[type[SupervisorError], int] = {
    UsageError: 400,
    NotFound: 404,
    CommandConflict: 409,
    IllegalMove: 409,
    KillSwitchEngaged: 409,
    StoreUnavailable: 503,
}


class StopAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What POST /stop answers."""

    stopping: bool
    why: str


class _Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    scope: str = "system"
    why: str = ""
    command_id: str = ""
    actor: str = "http"


class _Routes:
    def __init__(self, answers: Answers, access: Access) -> None:
        self._answers = answers
        self._access = access

    async def healthz(self, _request: Request) -> Response:
        return json_answer({"alive": True})

    async def readyz(self, _request: Request) -> Response:
        reason = await self._answers.why_not_ready()
        return json_answer({"ready": not reason, "why": reason}, status=503 if reason else 200)

    async def metrics(self, _request: Request) -> Response:
        media_type = "text/plain; version=0.0.4; charset=utf-8"
        return Response(await self._answers.scrape(), media_type=media_type)

    async def status(self, _request: Request) -> Response:
        return json_answer(await self._answers.status())

    async def kill(self, request: Request) -> Response:
        body = await self._body(request, is_loosening=False)
        command = KillCommand(scope=body.scope, why=body.why)
        return json_answer(
            await self._answers.kill(command, actor=body.actor, command_id=body.command_id)
        )

    async def release(self, request: Request) -> Response:
        body = await self._body(request, is_loosening=True)
        command = KillCommand(scope=body.scope, why=body.why)
        return json_answer(
            await self._answers.release(command, actor=body.actor, command_id=body.command_id)
        )

    async def stop(self, request: Request) -> Response:
        body = await self._body(request, is_loosening=False)
        if body.scope != "system":
            raise UsageError(
                subject=f"scope {body.scope[:80]!r}",
                what="can't be stopped: a stop ends the whole daemon",
                fix="POST /kill for less than that",
            )
        self._answers.stop(actor=body.actor, why=body.why)
        return json_answer(StopAnswer(stopping=True, why=body.why), status=202)

    async def _body(self, request: Request, *, is_loosening: bool) -> _Body:
        self._access.check(request.headers, is_loosening=is_loosening)
        return await read_body(request, _Body, form=_FORM)


def serve(answers: Answers, loaded: Loaded, listening: socket.socket) -> HttpServer:
    """Return a server of the daemon's routes on a socket that listens already."""
    section = loaded.config.http
    access = Access(
        token=loaded.secret(section.token_env),
        token_env=section.token_env,
        address=section.listen.rpartition(":")[0],
    )
    return HttpServer(build_app(answers, access), listening)


def build_app(answers: Answers, access: Access) -> Starlette:
    """Return the application."""
    routes = _Routes(answers, access)
    return Starlette(
        routes=[
            Route("/healthz", routes.healthz),
            Route("/readyz", routes.readyz),
            Route("/metrics", routes.metrics),
            Route("/status", routes.status),
            Route("/kill", routes.kill, methods=["POST"]),
            Route("/release", routes.release, methods=["POST"]),
            Route("/stop", routes.stop, methods=["POST"]),
            *ApprovalRoutes(answers, access).routes(),
        ],
        exception_handlers={
            SupervisorError: _refused,
            HTTPException: _unknown,
            Exception: _broken,
        },
    )


def _error(status: int, code: str, message: str, fix: str) -> Response:
    return json_answer({"error": {"code": code, "message": message, "fix": fix}}, status=status)


def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, SupervisorError), f"registered for another class: {error!r}"
    if isinstance(error, AccessDenied):
        status = error.status
    else:
        known = (status for kind, status in _STATUSES.items() if isinstance(error, kind))
        status = next(known, 500)
    return _error(status, error.code, f"{error.subject}: {error.what}", error.fix)


def _unknown(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    what = f"{request.method} {request.url.path} is not a route"
    fix = "GET /healthz /readyz /metrics /status /approvals; POST /kill /release /stop"
    return _error(status, "not_found", what, fix)


def _broken(_request: Request, error: Exception) -> Response:
    # Starlette raises it again behind this answer, so that the server logs where it came from.
    what = f"{type(error).__name__}: this is a bug of the daemon"
    return _error(500, SupervisorError.code, what, "report it with the daemon's standard error")
