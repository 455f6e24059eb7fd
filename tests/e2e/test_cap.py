"""The cap against a server that counts what it bills."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from tests.e2e.billing_server import CALL_MICRO_USD, BillingServer, running_billing_server
from tests.e2e.daemon_process import Installation, RunningDaemon, Tables, installed, wait_until

CAP_MICRO_USD = 1_000_000
CALLERS = 32


def callers(
    billing: BillingServer,
    *,
    cap_usd: float = 1.0,
    number: int = CALLERS,
    run: str = "agents:calls_until_refused",
) -> Tables:
    """Return a config whose worker calls from many tasks at once, until it is refused."""
    agent = {
        "run": run,
        "model": "paid/model",
        "every_s": 3600.0,
        "options": {"callers": number},
    }
    return {
        "spend": {"daily_cap_usd": cap_usd},
        "providers": {"paid": billing.provider()},
        "worker": {"agent": agent},
    }


def one_call(
    billing: BillingServer,
    *,
    cap_usd: float,
    on_cap: str = "wait",
    every_s: float = 0.05,
    workers: Sequence[str] = ("agent",),
) -> Tables:
    """Return a config whose workers make a call each tick, many ticks a second."""
    worker = {"run": "agents:calls_once", "model": "paid/model", "every_s": every_s}
    return {
        "spend": {"daily_cap_usd": cap_usd, "on_cap": on_cap},
        "providers": {"paid": billing.provider()},
        "worker": dict.fromkeys(workers, worker),
    }


@dataclass(frozen=True, kw_only=True)
class Spent:
    """A day whose cap many callers have used up."""

    site: Installation
    billing: BillingServer
    metrics_held_usd: float
    metrics_today_usd: float

    def refusals(self) -> list[dict[str, str]]:
        path = self.site.state_dir / "workers" / "agent" / "refusals-1.json"
        refusals = json.loads(path.read_text())
        assert isinstance(refusals, list)
        return refusals


@pytest.fixture(scope="module")
def spent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spent]:
    folder = tmp_path_factory.mktemp("spent")
    with running_billing_server(folder) as billing, installed(folder / "site") as site:
        billing.script({"latency_s": 0.02})
        # With the breakers that a user has: a burst up to the cap is the cap's to stop.
        site.configure(callers(billing))
        daemon = site.start_ready()
        wait_until(lambda: site.outcomes("agent") == ["ok"], what="every caller was refused")
        held, today = daemon.metric("supervisor_spend_held_usd"), today_usd(daemon)
        assert daemon.stop() == 0
        yield Spent(site=site, billing=billing, metrics_held_usd=held, metrics_today_usd=today)


def today_usd(daemon: RunningDaemon) -> float:
    return daemon.metric("supervisor_spend_today_usd")


def test_concurrent_callers_are_billed_exactly_the_cap(spent: Spent) -> None:
    assert spent.billing.billed_micro_usd() == CAP_MICRO_USD
    assert len(spent.billing.bills()) == CAP_MICRO_USD // CALL_MICRO_USD
    assert spent.site.settled_today() == CAP_MICRO_USD
    assert spent.metrics_today_usd == 1.0


def test_every_refusal_names_the_account(spent: Spent) -> None:
    ((account,),) = spent.site.rows("SELECT id FROM accounts WHERE period = 'day'")
    assert len(spent.refusals()) == CALLERS
    for refusal in spent.refusals():
        assert refusal["code"] == "budget_exceeded"
        assert str(account) in refusal["text"]


def test_nothing_is_held_after_the_last_call(spent: Spent) -> None:
    assert spent.site.rows("SELECT id, held FROM accounts WHERE held <> 0") == []
    assert spent.metrics_held_usd == 0


def test_one_warning_and_one_exhaustion_for_an_account_and_a_period(spent: Spent) -> None:
    day = [event for event in spent.site.events("budget_warning") if "/day/" in str(event)]
    assert len(day) == 1
    assert day[0]["used"] == 0.8 * CAP_MICRO_USD
    assert len(spent.site.events("budget_exhausted")) == 1


def test_the_record_proves_the_balances(spent: Spent) -> None:
    spent.site.check_audit()


def test_cap_of_0_blocks_every_paid_call(
    installation: Installation, billing: BillingServer
) -> None:
    installation.configure(callers(billing, cap_usd=0.0))
    daemon = installation.start_ready()
    wait_until(lambda: installation.outcomes("agent")[-1:] == ["ok"], what="all were refused")
    assert billing.bills() == []
    assert daemon.stop() == 0
    installation.check_audit()


def test_refusal_that_nobody_catches_in_a_task_group_is_no_crash(
    installation: Installation, billing: BillingServer
) -> None:
    run = "agents:calls_in_a_group"
    installation.configure(callers(billing, cap_usd=0.05, number=8, run=run))
    daemon = installation.start_ready()
    wait_until(lambda: installation.outcomes("agent")[:1] not in ([], [None]), what="tick 1 ended")
    assert installation.outcomes("agent")[0] == "refused"
    assert installation.events("worker_crashed") == []
    assert daemon.stop() == 0


def test_worker_that_waits_for_the_next_period_does_not_turn_in_circles(
    installation: Installation, billing: BillingServer
) -> None:
    installation.configure(one_call(billing, cap_usd=0.02))
    daemon = installation.start_ready()
    wait_until(lambda: "skipped" in installation.outcomes("agent"), what="the cap was met")
    time.sleep(1.0)
    assert installation.outcomes("agent") == ["ok", "ok", "skipped"]
    assert daemon.is_ready()
    assert daemon.stop() == 0


def test_account_that_is_used_up_to_the_last_cent_is_reported_once(
    installation: Installation, billing: BillingServer
) -> None:
    installation.configure(one_call(billing, cap_usd=0.02))
    first = installation.start_ready()
    wait_until(lambda: "skipped" in installation.outcomes("agent"), what="the cap was met")
    assert first.stop() == 0
    second = installation.start_ready()
    wait_until(lambda: len(installation.outcomes("agent")) == 4, what="it was met again")
    assert second.stop() == 0
    assert installation.outcomes("agent") == ["ok", "ok", "skipped", "skipped"]
    assert installation.settled_today() == 20_000
    assert len(installation.events("budget_exhausted")) == 1


def test_last_call_is_cut_to_what_the_budget_still_buys(
    installation: Installation, billing: BillingServer
) -> None:
    installation.configure(one_call(billing, cap_usd=0.0175))
    daemon = installation.start_ready()
    wait_until(lambda: "skipped" in installation.outcomes("agent"), what="the cap was met")
    assert [bill["micro_usd"] for bill in billing.bills()] == [10_000, 7_500]
    assert installation.settled_today() == 17_500
    assert daemon.stop() == 0
    installation.check_audit()


def test_cap_that_only_calls_in_flight_fill_does_not_stop_the_daemon(
    installation: Installation, billing: BillingServer
) -> None:
    # The first holds the whole cap and will be turned away: nothing of it is ever spent.
    billing.script({"does": "rate_limited", "latency_s": 1.0}, {})
    workers = ("one", "two")
    installation.configure(
        one_call(billing, cap_usd=0.01, on_cap="stop", every_s=0.3, workers=workers)
    )
    daemon = installation.start_ready()
    wait_until(lambda: len(billing.bills()) == 2, what="the second call was made", within_s=5)
    assert daemon.wait() == 0
    assert billing.billed_micro_usd() == installation.settled_today() == 10_000


@pytest.mark.parametrize("limits", [{"max_cost_usd": 0.02}, {"max_actions": 2}])
def test_worker_goes_on_in_its_next_session_when_one_is_used_up(
    installation: Installation, billing: BillingServer, limits: dict[str, float]
) -> None:
    tables = one_call(billing, cap_usd=1.0)
    installation.configure({**tables, "session": {"window": "2s", **limits}})
    daemon = installation.start_ready()
    by_session = (
        "SELECT session_id, count(*) FROM holds WHERE status = 'settled' GROUP BY session_id"
    )
    wait_until(lambda: len(installation.rows(by_session)) == 4, what="four sessions spent")
    assert daemon.stop() == 0
    counts = [count for _, count in installation.rows(by_session)]
    # A window in which the worker woke late, or the test stopped, may have room for one call only.
    assert 2 in counts
    assert all(count in (1, 2) for count in counts)
    # Neither a busy loop nor a skipped window.
    assert installation.outcomes("agent").count("skipped") <= 2 * len(counts)
    installation.check_audit()


def test_on_cap_stop_ends_the_daemon_with_exit_0(
    installation: Installation, billing: BillingServer
) -> None:
    installation.configure(one_call(billing, cap_usd=0.02, on_cap="stop"))
    daemon = installation.start()
    assert daemon.wait() == 0
    assert billing.billed_micro_usd() == 20_000
    (line,) = installation.log_lines("stopping")
    assert "on_cap" in str(line["why"])
    assert "system/day/" in str(line["why"])
    installation.check_audit()


def test_on_cap_ask_pauses_the_session_until_a_person_resumes_it(
    installation: Installation, billing: BillingServer
) -> None:
    installation.configure(one_call(billing, cap_usd=0.02, on_cap="ask"))
    first = installation.start_ready()
    paused = "SELECT id FROM sessions WHERE worker = 'agent' AND status = 'paused'"
    ((session,),) = wait_until(lambda: installation.rows(paused), what="the session is paused")
    assert first.stop() == 0
    # Money alone does not wake it, nor does a restart.
    installation.configure(one_call(billing, cap_usd=0.05, on_cap="ask"))
    second = installation.start_ready()
    wait_until(lambda: len(installation.outcomes("agent")) > 3, what="the worker was looked at")
    assert set(installation.outcomes("agent")[2:]) == {"skipped"}
    resumed = installation.supervisor("sessions", "resume", str(session), "--why", "more money")
    assert resumed.returncode == 0, resumed.stderr
    wait_until(lambda: billing.billed_micro_usd() == 50_000, what="it went on to the new cap")
    assert second.stop() == 0
    installation.check_audit()
