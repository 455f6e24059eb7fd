"""A paid provider goes away in the middle of the day, and comes back: work and caps go on."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.billing_server import CALL_MICRO_USD, running_billing_server
from tests.e2e.daemon_process import Installation, Tables, wait_until

CALLS_MAX = 8


def config(paid_url: str, local_url: str) -> Tables:
    price = {"input_usd_per_mtok": 0.0, "output_usd_per_mtok": 100.0}
    paid = {"kind": "openai", "base_url": paid_url, "price": price, "attempts_max": 2}
    return {
        "spend": {"daily_cap_usd": CALLS_MAX * CALL_MICRO_USD / 1e6, "min_output_tokens": 100},
        "breakers": {"provider_failures_max": 4, "cooldown_s": 1.0, "cooldown_max_s": 1.0},
        "providers": {
            "paid": {**paid, "retry_delay_s": 0.01},
            "local": {"kind": "openai", "base_url": local_url, "price": "free"},
        },
        "worker": {
            "agent": {
                "run": "agents:calls_once",
                "model": "paid/model",
                "fallback": ["local/model"],
                "every_s": 0.1,
            }
        },
    }


def settled_models(site: Installation) -> list[str]:
    """Return the models that answered, in the order of their calls."""
    rows = site.rows("SELECT model FROM holds WHERE status = 'settled' ORDER BY placed_at, id")
    return [str(model) for (model,) in rows]


def fell_by(site: Installation, code: str) -> int:
    """Return how often a call fell to another model for this reason."""
    return sum(fell["code"] == code for fell in site.events("model_fell_back"))


def test_a_provider_that_goes_away_and_comes_back_costs_no_tick_and_no_cent_too_much(
    installation: Installation, tmp_path: Path
) -> None:
    site = installation
    paid_folder, local_folder = tmp_path / "paid", tmp_path / "local"
    paid_folder.mkdir()
    local_folder.mkdir()
    with running_billing_server(local_folder) as local:
        with running_billing_server(paid_folder) as paid:
            site.configure(config(paid.base_url, local.base_url))
            daemon = site.start_ready()
            wait_until(lambda: len(paid.bills()) >= 2, what="the paid model answers")
        # It is gone: every call is answered all the same, and soon nobody tries it any more.
        wait_until(lambda: len(local.bills()) >= 4, what="the local model answers")
        wait_until(lambda: site.events("breaker_opened"), what="its breaker opens")
        wait_until(lambda: fell_by(site, "breaker_open"), what="nobody waits for it any more")
        assert not fell_by(site, "budget_exceeded")
        port = int(paid.base_url.partition("127.0.0.1:")[2].partition("/")[0])
        with running_billing_server(paid_folder, port=port) as again:
            before = len(again.bills())
            wait_until(lambda: len(again.bills()) > before, what="a probe brings it back")
            # Then its money is spent: the local model goes on, and not a cent more is paid.
            wait_until(lambda: fell_by(site, "budget_exceeded"), what="the cap is spent")
            served = len(local.bills())
            wait_until(lambda: len(local.bills()) > served + 3, what="the local one goes on")
            assert daemon.metric("supervisor_ticks_total", worker="agent", outcome="failed") == 0
            assert daemon.stop() == 0
            # A call that the server's end cut off before its bill counts as spent.
            cap = CALLS_MAX * CALL_MICRO_USD
            assert cap - CALL_MICRO_USD <= again.billed_micro_usd() <= site.settled_today() == cap
    outcomes = site.outcomes("agent")
    assert set(outcomes) == {"ok"}, outcomes
    models = settled_models(site)
    assert len(models) == len(outcomes)
    assert models[0] == "paid/model"
    assert models[-1] == "local/model"
    fell = site.events("model_fell_back")
    assert len(fell) == models.count("local/model")
    assert fell[-1]["code"] == "budget_exceeded"
    assert site.rows("SELECT DISTINCT cost_settled FROM holds WHERE status = 'released'") == [(0,)]
    told = json.loads(site.supervisor("spend", "--by", "model", "--json").stdout)
    assert "local/model" in json.dumps(told)
    site.check_audit()
