"""A server on a real loopback socket, in front of answers that a test scripts."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import cast

import anyio
import httpx
import msgspec
import pytest

from supervisor.errors import StoreUnavailable, SupervisorError
from supervisor.governance.kill_switch import KillCommand, Latched
from supervisor.http.access import Access
from supervisor.http.answers import Answers
from supervisor.http.app import build_app
from supervisor.http.server import HttpServer, address_of, bind

TOKEN = "correct-horse-battery-staple"  # noqa: S105 - of a test
TOKEN_ENV = "SUPERVISOR_TOKEN"  # noqa: S105 - a name


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One state change that was asked for."""

    what: str
    scope: str
    why: str
    actor: str
    command_id: str


class ScriptedAnswers:
    """Stands in for the daemon: remembers what it was asked and answers as it was told."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.not_ready = ""
        self.error: SupervisorError | None = None
        self.is_hanging = False

    async def why_not_ready(self) -> str:
        return self.not_ready

    async def scrape(self) -> bytes:
        return b"# HELP x An x.\n# TYPE x counter\nx_total 1.0\n"

    async def status(self) -> object:
        if self.is_hanging:
            await anyio.sleep(60)
        if self.error is not None:
            raise self.error
        return {"daemon": {"state": "running"}}

    async def kill(self, command: KillCommand, *, actor: str, command_id: str) -> Latched:
        return self._note("kill", command, actor, command_id)

    async def release(self, command: KillCommand, *, actor: str, command_id: str) -> Latched:
        return self._note("release", command, actor, command_id)

    def stop(self, *, actor: str, why: str) -> Path:
        self._note("stop", KillCommand(scope="system", why=why), actor, "")
        return Path("STOP")

    def _note(self, what: str, command: KillCommand, actor: str, command_id: str) -> Latched:
        if self.error is not None:
            raise self.error
        self.asked.append(
            Asked(
                what=what,
                scope=command.scope,
                why=command.why,
                actor=actor,
                command_id=command_id,
            )
        )
        return Latched(scope=command.scope, is_engaged=what == "kill", changed=True)


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A server that answers, and a client of it."""

    server: HttpServer
    client: httpx.AsyncClient
    address: str

    @property
    def host_and_port(self) -> tuple[str, int]:
        host, _, port = self.address.rpartition(":")
        return host, int(port)


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture
def answers() -> ScriptedAnswers:
    return ScriptedAnswers()


@pytest.fixture
def serve(answers: ScriptedAnswers) -> Serve:
    """Serve on loopback; with `token`, state changes need it."""

    @asynccontextmanager
    async def serve(
        *, token: str | None = None, listening: socket.socket | None = None
    ) -> AsyncIterator[Served]:
        listening = listening or bind("127.0.0.1:0")
        address = address_of(listening)
        access = Access(token=token, token_env=TOKEN_ENV, address="127.0.0.1")
        server = HttpServer(build_app(cast("Answers", answers), access), listening)
        async with (
            anyio.create_task_group() as tasks,
            httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as client,
        ):
            tasks.start_soon(server.run_until_stopped)
            yield Served(server=server, client=client, address=address)
            server.stop()

    return serve


@pytest.fixture
def store_down() -> StoreUnavailable:
    return StoreUnavailable(subject="store /x", what="was locked", fix="end what holds it")
