"""SIGHUP: a changed config is taken up, an invalid one is not, and no cent is refunded."""

from __future__ import annotations

import signal

from tests.e2e.billing_server import CALL_MICRO_USD, BillingServer
from tests.e2e.daemon_process import Installation, RunningDaemon, Tables, wait_until


def one_call(billing: BillingServer, *, cap_usd: float) -> Tables:
    return {
        "spend": {"daily_cap_usd": cap_usd},
        "providers": {"paid": billing.provider()},
        "worker": {"agent": {"run": "agents:calls_once", "model": "paid/model", "every_s": 0.05}},
    }


def run_to_cap(site: Installation, billing: BillingServer) -> RunningDaemon:
    """Start with a cap of two calls and wait until it is met."""
    site.configure(one_call(billing, cap_usd=0.02))
    daemon = site.start_ready()
    wait_until(lambda: "skipped" in site.outcomes("agent"), what="the cap is met")
    return daemon


def reload(site: Installation, daemon: RunningDaemon, said: str, *, times: int = 1) -> None:
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: len(site.log_lines(said)) >= times, what=f"the log says {said}")


def test_raised_cap_lets_a_waiting_worker_go_on_without_a_restart(
    installation: Installation, billing: BillingServer
) -> None:
    daemon = run_to_cap(installation, billing)
    installation.configure(one_call(billing, cap_usd=0.05))
    reload(installation, daemon, "reloaded")
    wait_until(lambda: len(billing.bills()) == 5, what="it calls up to the new cap", within_s=5)
    wait_until(lambda: installation.outcomes("agent")[-1] == "skipped", what="the cap is met")
    assert billing.billed_micro_usd() == installation.settled_today() == 5 * CALL_MICRO_USD
    assert installation.number("SELECT count(*) FROM daemons") == 1
    (changed,) = installation.events("configuration_changed")
    assert changed["changes"] == ["spend.daily_cap_usd"]
    assert daemon.stop() == 0
    installation.check_audit()


def test_lowered_cap_refunds_nothing_and_stops_what_follows(
    installation: Installation, billing: BillingServer
) -> None:
    daemon = run_to_cap(installation, billing)
    installation.configure(one_call(billing, cap_usd=0.01))
    reload(installation, daemon, "reloaded")
    assert installation.settled_today() == 2 * CALL_MICRO_USD
    (overrun,) = installation.events("account_overrun")
    assert overrun["overrun"] == CALL_MICRO_USD
    installation.configure(one_call(billing, cap_usd=0.03))
    reload(installation, daemon, "reloaded", times=2)
    wait_until(lambda: len(billing.bills()) == 3, what="one call more is allowed", within_s=5)
    wait_until(lambda: installation.outcomes("agent")[-1] == "skipped", what="the cap is met")
    assert billing.billed_micro_usd() == installation.settled_today() == 3 * CALL_MICRO_USD
    assert daemon.stop() == 0
    installation.check_audit()


def test_invalid_file_keeps_the_old_config_and_says_why(
    installation: Installation, billing: BillingServer
) -> None:
    daemon = run_to_cap(installation, billing)
    good = installation.config.read_text()
    installation.config.write_text(good.replace("daily_cap_usd", "daily_cap"))
    reload(installation, daemon, "reload_refused")
    (line,) = installation.log_lines("reload_refused")
    assert "spend.daily_cap" in str(line["error"])
    assert "daily_cap_usd" in str(line["error"])
    installation.config.write_text("[spend\n")
    reload(installation, daemon, "reload_refused", times=2)
    installation.config.unlink()
    reload(installation, daemon, "reload_refused", times=3)
    assert daemon.is_ready()
    assert billing.billed_micro_usd() == 2 * CALL_MICRO_USD
    assert installation.events("configuration_changed") == []
    installation.config.write_text(good)
    assert daemon.stop() == 0


def test_reload_never_loses_a_call_in_flight(
    installation: Installation, billing: BillingServer
) -> None:
    billing.script({"latency_s": 1.0}, {})
    installation.configure(one_call(billing, cap_usd=0.02))
    daemon = installation.start_ready()
    wait_until(billing.bills, what="a call is in flight")
    installation.configure(one_call(billing, cap_usd=0.03))
    reload(installation, daemon, "reloaded")
    wait_until(lambda: "skipped" in installation.outcomes("agent"), what="the cap is met")
    assert installation.holds() == [("settled", CALL_MICRO_USD)] * 3
    assert installation.outcomes("agent") == ["ok", "ok", "ok", "skipped"]
    assert daemon.stop() == 0
    installation.check_audit()


def test_reload_during_a_drain_starts_no_new_work(
    installation: Installation, billing: BillingServer
) -> None:
    billing.script({"latency_s": 2.0}, {})
    tables = one_call(billing, cap_usd=0.02)
    installation.configure(tables)
    daemon = installation.start_ready()
    wait_until(billing.bills, what="a call is in flight")
    daemon.signal(signal.SIGTERM)
    wait_until(lambda: installation.log_lines("stopping"), what="the daemon drains")
    counts = {"run": "agents:counts", "every_s": 0.05}
    installation.configure({**tables, "worker": {**tables["worker"], "new": counts}})
    daemon.signal(signal.SIGHUP)
    assert daemon.wait() == 0
    assert installation.outcomes("agent") == ["ok"]
    assert installation.outcomes("new") == []


def test_stop_over_http_works_after_a_reload_that_names_another_state_directory(
    installation: Installation, billing: BillingServer
) -> None:
    tables = one_call(billing, cap_usd=0.02)
    installation.configure(tables)
    daemon = installation.start_ready()
    (installation.folder / "elsewhere").mkdir()
    installation.configure({**tables, "supervisor": {"state_dir": "elsewhere"}})
    reload(installation, daemon, "reload_needs_restart")
    wait_until(lambda: installation.log_lines("reloaded"), what="it is reloaded")
    assert daemon.post("/stop", {"why": "a test"}).status_code == 202
    assert daemon.wait(5) == 0


def test_signals_are_obeyed_while_a_reload_waits_for_the_tick_of_a_worker_that_is_gone(
    installation: Installation, billing: BillingServer
) -> None:
    billing.script({"latency_s": 60.0})
    tables = {**one_call(billing, cap_usd=0.02), "supervisor": {"grace_s": 60.0}}
    installation.configure(tables)
    daemon = installation.start_ready()
    wait_until(billing.bills, what="a call is in flight")
    installation.configure({**tables, "worker": {}})
    reload(installation, daemon, "configuration_changed")
    daemon.signal(signal.SIGTERM)
    wait_until(lambda: installation.log_lines("stopping"), what="it drains", within_s=5)
    daemon.signal(signal.SIGTERM)
    assert daemon.wait(5) == 0
    assert installation.outcomes("agent") == ["cancelled"]


def test_workers_come_and_go_with_a_reload(
    installation: Installation, billing: BillingServer
) -> None:
    counts = {"run": "agents:counts", "every_s": 0.05}
    installation.configure({"worker": {"old": counts, "kept": counts}})
    daemon = installation.start_ready()
    wait_until(lambda: len(installation.outcomes("old")) > 2, what="the old one ticks")
    installation.configure({"worker": {"new": counts, "kept": counts}})
    reload(installation, daemon, "reloaded")
    wait_until(lambda: len(installation.outcomes("new")) > 2, what="the new one ticks")
    ticks_of_old, ticks_of_kept = (len(installation.outcomes(name)) for name in ("old", "kept"))
    wait_until(lambda: len(installation.outcomes("kept")) > ticks_of_kept + 3, what="it goes on")
    assert len(installation.outcomes("old")) == ticks_of_old
    assert set(installation.outcomes("old")) == {"ok"}
    assert daemon.stop() == 0
    installation.check_audit()
