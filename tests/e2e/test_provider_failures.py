"""What a provider's failures do to a hold, between a real daemon and a real server."""

from __future__ import annotations

import pytest

from tests.e2e.billing_server import CALL_MICRO_USD, BillingServer, Does, Step
from tests.e2e.daemon_process import Installation, RunningDaemon, Tables, wait_until

SETTLED = ("settled", CALL_MICRO_USD)
FORFEITED = ("forfeited", CALL_MICRO_USD)
RELEASED = ("released", 0)


def one_tick(
    billing: BillingServer,
    *,
    cap_usd: float = 1.0,
    attempts_max: int = 1,
    tick_timeout_s: float = 20.0,
    every_s: float = 3600.0,
) -> Tables:
    provider = billing.provider(attempts_max=attempts_max, retry_delay_s=0.05)
    agent = {
        "run": "agents:calls_once",
        "model": "paid/model",
        "every_s": every_s,
        "tick_timeout_s": tick_timeout_s,
    }
    return {
        "spend": {"daily_cap_usd": cap_usd},
        "providers": {"paid": provider},
        "worker": {"agent": agent},
    }


def run_first_tick(site: Installation, tables: Tables) -> RunningDaemon:
    site.configure(tables)
    daemon = site.start_ready()
    wait_until(
        lambda: site.outcomes("agent")[:1] not in ([], [None]), what="the first tick has ended"
    )
    return daemon


@pytest.mark.parametrize(
    ("does", "outcome"),
    [("no_usage", "ok"), ("garbage", "failed"), ("closed", "failed"), ("server_error", "failed")],
)
def test_answer_whose_cost_is_unknown_is_forfeited(
    installation: Installation, billing: BillingServer, does: Does, outcome: str
) -> None:
    billing.script({"does": does})  # from a table
    daemon = run_first_tick(installation, one_tick(billing))
    assert installation.outcomes("agent") == [outcome]
    assert installation.holds() == [FORFEITED]
    assert installation.settled_today() == billing.billed_micro_usd() == CALL_MICRO_USD
    assert installation.events("worker_crashed") == []
    assert len(installation.log_lines("hold_forfeited")) == 1
    assert daemon.stop() == 0
    installation.check_audit()


def test_provider_that_hangs_ends_with_the_tick_and_is_forfeited(
    installation: Installation, billing: BillingServer
) -> None:
    billing.script({"does": "hang"})
    daemon = run_first_tick(installation, one_tick(billing, tick_timeout_s=0.5))
    assert installation.outcomes("agent") == ["timed_out"]
    assert installation.holds() == [FORFEITED]
    assert daemon.metric("supervisor_ticks_total", worker="agent", outcome="timed_out") == 1
    assert daemon.stop() == 0
    installation.check_audit()


def test_provider_that_is_silent_for_too_long_is_forfeited(
    installation: Installation, billing: BillingServer
) -> None:
    billing.script({"does": "hang"})
    tables = one_tick(billing)
    provider = billing.provider(read_timeout_s=0.5)
    daemon = run_first_tick(installation, {**tables, "providers": {"paid": provider}})
    assert installation.outcomes("agent") == ["failed"]
    assert installation.holds() == [FORFEITED]
    assert daemon.stop() == 0
    installation.check_audit()


def test_model_without_a_price_is_refused_and_nothing_is_sent(
    installation: Installation, billing: BillingServer
) -> None:
    tables = one_tick(billing)
    provider = {"kind": "openai", "base_url": billing.base_url}
    daemon = run_first_tick(installation, {**tables, "providers": {"paid": provider}})
    assert installation.outcomes("agent") == ["refused"]
    assert billing.bills() == []
    (refused,) = installation.events("call_refused")
    assert refused["code"] == "price_unknown"
    assert "input_usd_per_mtok" in str(refused["why"])
    assert "[providers.paid]" in str(refused["why"])
    assert daemon.stop() == 0


def test_provider_that_is_gone_is_released(
    installation: Installation, billing: BillingServer
) -> None:
    tables = one_tick(billing)
    provider = {**billing.provider(), "base_url": "http://127.0.0.1:1/v1"}
    daemon = run_first_tick(installation, {**tables, "providers": {"paid": provider}})
    assert installation.outcomes("agent") == ["failed"]
    assert installation.holds() == [RELEASED]
    assert daemon.stop() == 0
    installation.check_audit()


@pytest.mark.parametrize(
    ("first", "ended"),
    [
        ({"does": "rate_limited", "retry_after_s": 0.5}, RELEASED),
        ({"does": "server_error"}, FORFEITED),
        ({"does": "closed"}, FORFEITED),
    ],
    ids=["429", "500", "closed"],
)
def test_each_attempt_has_a_hold_of_its_own(
    installation: Installation, billing: BillingServer, first: Step, ended: tuple[str, int]
) -> None:
    billing.script(first, {})
    daemon = run_first_tick(installation, one_tick(billing, attempts_max=3))
    assert installation.outcomes("agent") == ["ok"]
    assert installation.holds() == [ended, SETTLED]
    assert installation.settled_today() == billing.billed_micro_usd()
    begun, again = billing.bills()
    assert again["at"] - begun["at"] >= first.get("retry_after_s", 0.02)
    assert daemon.stop() == 0
    installation.check_audit()


def test_attempts_end_with_their_number(installation: Installation, billing: BillingServer) -> None:
    billing.script({"does": "server_error"})
    daemon = run_first_tick(installation, one_tick(billing, attempts_max=3))
    assert installation.outcomes("agent") == ["failed"]
    assert installation.holds() == [FORFEITED] * 3
    assert len(billing.bills()) == 3
    assert daemon.stop() == 0
    installation.check_audit()


def test_attempts_end_with_the_cap(installation: Installation, billing: BillingServer) -> None:
    billing.script({"does": "server_error"})
    daemon = run_first_tick(installation, one_tick(billing, attempts_max=5, cap_usd=0.02))
    assert installation.outcomes("agent")[0] == "refused"
    assert billing.billed_micro_usd() == installation.settled_today() == 20_000
    assert daemon.stop() == 0
    installation.check_audit()


def test_usage_above_the_hold_is_recorded_in_full_and_opens_the_breaker(
    installation: Installation, billing: BillingServer
) -> None:
    billing.script({"does": "above_max_tokens", "extra_tokens": 50})
    daemon = run_first_tick(installation, one_tick(billing, every_s=0.05))
    wait_until(lambda: len(installation.outcomes("agent")) > 1, what="the next tick was looked at")
    assert installation.outcomes("agent")[:2] == ["ok", "skipped"]
    assert installation.events("cycle_skipped")[0]["code"] == "breaker_open"
    assert len(installation.events("breaker_opened")) == 1
    assert installation.events("account_overrun") == []
    assert installation.settled_today() == billing.billed_micro_usd() == 15_000
    state = {"name": "worker:agent", "state": "open"}
    assert daemon.metric("supervisor_breaker_state", **state) == 1
    assert daemon.stop() == 0
    # A restart does not close it, and asks for nothing.
    ticks = len(installation.outcomes("agent"))
    again = installation.start_ready()
    wait_until(lambda: len(installation.outcomes("agent")) > ticks, what="it was looked at")
    assert set(installation.outcomes("agent")[1:]) == {"skipped"}
    assert len(billing.bills()) == 1
    assert again.stop() == 0
    installation.check_audit()


def test_usage_above_the_limit_is_named_by_an_overrun(
    installation: Installation, billing: BillingServer
) -> None:
    billing.script({"does": "above_max_tokens", "extra_tokens": 50})
    daemon = run_first_tick(installation, one_tick(billing, cap_usd=0.01, every_s=0.05))
    wait_until(lambda: "skipped" in installation.outcomes("agent"), what="the next was skipped")
    (overrun,) = installation.events("account_overrun")
    assert "/day/" in str(overrun["account"])
    assert overrun["overrun"] == 5_000
    assert installation.settled_today() == billing.billed_micro_usd() == 15_000
    assert len(billing.bills()) == 1
    assert daemon.stop() == 0
    installation.check_audit()
