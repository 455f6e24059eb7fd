"""A worker that sends one request, and what became of it."""

from __future__ import annotations

from typing import Any

from supervisor.errors import SupervisorError
from supervisor.hands.rules import HttpRules
from supervisor.host_rules import parse_host_rule, parse_network
from supervisor.outcome import Outcome
from supervisor.worker.context import Context
from supervisor.worker.tick import run_tick
from tests.unit.worker.conftest import Bench
from tests.unit.worker.hostile_server import HostileServer

BODY_BYTES_MAX = 1_000_000


def rules_for(*allow: str, private: tuple[str, ...] = (), **bounds: Any) -> HttpRules:
    """Return rules whose bounds suit a test: no waiting between requests, no robots.txt."""
    quick: dict[str, Any] = {
        "robots": False,
        "host_every_s": 0.0,
        "total_timeout_s": 5.0,
        "body_max_bytes": BODY_BYTES_MAX,
        "retry_after_max_s": 0.01,
    }
    return HttpRules(
        worker="w",
        user_agent="test-bot/1",
        allow=tuple(parse_host_rule(text) for text in allow),
        private=tuple(parse_network(text) for text in private),
        **quick | bounds,
    )


def rules_of(site: HostileServer, **bounds: Any) -> HttpRules:
    """Return rules that allow the test's server."""
    return rules_for(f"{site.address}:{site.port}", **bounds)


async def fetch(bench: Bench, url: str, rules: HttpRules, method: str = "GET") -> Any:
    """Return the answer's body as text, or the error that the request ended with."""
    seen: list[Any] = []

    async def run(ctx: Context) -> Outcome:
        try:
            response = await ctx.http.request(method, url)
        except SupervisorError as error:
            seen.append(error)
        else:
            seen.append((response.status_code, response.text))
        return Outcome.OK

    await run_tick(bench.kernel, await bench.plan(run, http=rules))
    return seen[0]
