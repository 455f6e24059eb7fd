"""The routes of tickets, on a real store behind a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import httpx
import pytest

from supervisor.clock import VirtualClock
from supervisor.config import Loaded
from supervisor.config.sections import Config, SpendSection
from supervisor.governance.session_grants import find_grant
from supervisor.http.access import Access
from supervisor.http.answers import Answers
from supervisor.http.app import build_app
from supervisor.http.server import HttpServer, address_of, bind
from supervisor.ids import SequentialIds
from supervisor.storage.database import Database
from supervisor.worker.context import Context
from tests.contract.policy_bench import SURE, PolicyBench
from tests.unit.http.conftest import TOKEN, TOKEN_ENV

RIGHT = {"Authorization": f"Bearer {TOKEN}"}


class Desk:
    """A daemon's answers about the tickets of a store, and what a client asks."""

    def __init__(self, store: Database, clock: VirtualClock, folder: Path) -> None:
        self.bench = PolicyBench(store, clock, folder)
        self.called = 0
        config = Config(spend=SpendSection(daily_cap_usd=1.0))
        loaded = Loaded(config=config, path=folder / "config.toml")
        # Only what these routes need; the rest of a daemon has nothing to do with them.
        none = cast("Any", None)
        self.answers = Answers(
            database=store,
            clock=clock,
            ids=SequentialIds(),
            kernel=self.bench.kernel,
            loaded=lambda: loaded,
            is_ready=lambda: True,
            on_decision=self._call,
            metrics=none,
            vitals=none,
            heartbeat=none,
            kill_watch=none,
            loop_lag=none,
            telemetry=none,
        )

    def _call(self) -> None:
        self.called += 1

    async def ticket(self) -> str:
        async def ask(ctx: Context) -> None:
            await ctx.propose("merge", reasoning="tests pass", **SURE)

        await self.bench.tick_end(ask)
        events = await self.bench.events("approval_requested")
        return str(events[-1]["ticket"])

    @asynccontextmanager
    async def client(self, *, token: str | None = TOKEN) -> AsyncIterator[httpx.AsyncClient]:
        listening = bind("127.0.0.1:0")
        access = Access(token=token, token_env=TOKEN_ENV, address="127.0.0.1")
        server = HttpServer(build_app(self.answers, access), listening)
        url = f"http://{address_of(listening)}"
        async with (
            anyio.create_task_group() as tasks,
            httpx.AsyncClient(base_url=url, trust_env=False) as client,
        ):
            tasks.start_soon(server.run_until_stopped)
            yield client
            server.stop()


@pytest.fixture
def desk(store: Database, clock: VirtualClock, tmp_path: Path) -> Desk:
    return Desk(store, clock, tmp_path)


async def test_the_tickets_that_wait_are_listed_with_what_they_are_about(desk: Desk) -> None:
    ticket = await desk.ticket()
    async with desk.client() as client:
        listed = (await client.get("/approvals")).json()
    assert listed["is_complete"] is True
    (one,) = listed["approvals"]
    told = (one["id"], one["status"], one["action"], one["resource"], one["reasoning"])
    assert told == (ticket, "pending", "merge", "issue:7", "tests pass")


async def test_a_person_with_the_token_approves_once_and_the_worker_is_called(desk: Desk) -> None:
    ticket = await desk.ticket()
    body = {"why": "looked at it", "actor": "ann", "command_id": "c-1"}
    async with desk.client() as client:
        path = f"/approvals/{ticket}/approve"
        first = await client.post(path, json=body, headers=RIGHT)
        again = await client.post(path, json=body, headers=RIGHT)
        other = await client.post(path, json={**body, "why": "x"}, headers=RIGHT)
        late = await client.post(path, json={"actor": "bob"}, headers=RIGHT)
    assert (first.status_code, first.json()["status"]) == (200, "approved")
    assert again.json() == first.json()
    assert (other.status_code, other.json()["error"]["code"]) == (409, "command_conflict")
    assert "why" in other.json()["error"]["message"]
    assert (late.status_code, late.json()["error"]["code"]) == (409, "illegal_move")
    (granted,) = await desk.bench.events("approval_granted")
    assert granted["by"] == "ann"
    assert desk.called > 0


async def test_an_approval_for_the_session_has_its_limits(desk: Desk) -> None:
    ticket = await desk.ticket()
    scope = {"resources": ["issue:*"], "count": 3, "cost_usd": 0.5, "expires_s": 60}
    async with desk.client() as client:
        body = {"for_session": scope}
        answer = await client.post(f"/approvals/{ticket}/approve", json=body, headers=RIGHT)
    assert answer.status_code == 200
    grant = await desk.bench.store.read(find_grant, ticket)
    assert grant is not None
    assert (grant.count_max, grant.cost_max) == (3, 500_000)
    assert grant.resources == '["issue:*"]'


async def test_approving_needs_a_token_and_denying_is_as_free_as_a_stop(desk: Desk) -> None:
    ticket = await desk.ticket()
    async with desk.client(token=None) as client:
        refused = await client.post(f"/approvals/{ticket}/approve", json={})
        denied = await client.post(f"/approvals/{ticket}/deny", json={"actor": "ann"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "access_denied")
    assert (denied.status_code, denied.json()["status"]) == (200, "denied")
    other = await desk.ticket()
    async with desk.client() as client:
        for act in ("approve", "deny"):
            answer = await client.post(f"/approvals/{other}/{act}", json={})
            assert answer.status_code == 401
            foreign = {**RIGHT, "Origin": "https://evil.example"}
            answer = await client.post(f"/approvals/{other}/{act}", json={}, headers=foreign)
            assert answer.status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {"scope": "system"},
        {"for_session": {"count": 0}},
        {"for_session": {"cost_usd": -1}},
        {"for_session": {"hours": 1}},
        {"why": "x" * 501},
        {"why": "x" * 70_000},
    ],
)
async def test_a_body_that_is_not_of_the_form_decides_nothing(
    desk: Desk, body: dict[str, object]
) -> None:
    ticket = await desk.ticket()
    async with desk.client() as client:
        answer = await client.post(f"/approvals/{ticket}/approve", json=body, headers=RIGHT)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "usage")
    assert (await desk.bench.ticket(ticket)).status == "pending"


async def test_a_ticket_that_is_not_there_is_not_found(desk: Desk) -> None:
    async with desk.client() as client:
        answer = await client.post("/approvals/t-none/approve", json={}, headers=RIGHT)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
