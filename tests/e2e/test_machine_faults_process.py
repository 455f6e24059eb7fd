"""A process that harms itself: its loop blocked, the interpreter held, its memory grown."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.billing_server import BillingServer
from tests.e2e.daemon_process import Installation, Tables, wait_until
from tests.e2e.ping_receiver import PingReceiver, receiving_pings

EXIT_RESTART = 75
#: The interpreter's own timer knows no other code; a service manager restarts on it too.
EXIT_BY_TIMER = 1
LONG_S = 60
WORKERS = Path(__file__).with_name("fault_workers.py")


@pytest.fixture
def pings() -> Iterator[PingReceiver]:
    with receiving_pings() as receiver:
        yield receiver


@pytest.fixture
def site(installation: Installation) -> Installation:
    shutil.copy(WORKERS, installation.folder / "faults.py")
    return installation


def one_worker(function: str, *, model: bool = False, **supervisor: object) -> Tables:
    worker: dict[str, object] = {
        "run": f"faults:{function}",
        "every_s": 0.1,
        "options": {"seconds": LONG_S, "megabytes": 150},
    }
    return {
        "supervisor": {"loop_block_warn_s": 0.3, "loop_block_abort_s": 2.0, **supervisor},
        "worker": {"harmful": worker | ({"model": "paid/model"} if model else {})},
    }


def test_loop_that_is_blocked_too_long_ends_the_process_which_recovers(
    site: Installation, billing: BillingServer, pings: PingReceiver
) -> None:
    tables = one_worker("calls_and_blocks", model=True, heartbeat_ping_url=pings.url)
    site.configure({**tables, "providers": {"paid": billing.provider()}})
    billing.script({"does": "answer", "latency_s": 1.5}, {"does": "answer"})
    daemon = site.start()
    assert daemon.wait() == EXIT_RESTART
    # Both lines name the worker and the line of code, the second one every thread.
    # A busy machine may have blocked the loop before any tick ran.
    blocks = site.log_lines("loop_is_blocked")
    (warned,) = [line for line in blocks if line["worker"] == "harmful"]
    assert "time.sleep(_seconds(ctx))" in str(warned["stack"])
    (ended,) = site.log_lines("loop_blocked_too_long")
    assert "faults.py" in str(ended["why"])
    assert 2.0 <= float(str(ended["blocked_s"])) < 4.0
    assert "MainThread" in str(ended["stacks"])
    assert "loop-guard" in str(ended["stacks"])
    assert any("blocked for longer than loop_block_abort_s" in why for why in pings.failures())
    assert len(billing.bills()) == 1

    again = site.start_ready()
    wait_until(lambda: "ok" in site.outcomes("harmful"), what="work goes on")
    assert again.stop() == 0
    assert site.outcomes("harmful")[0] == "recovered"
    # What the call in flight cost is unknown: it counts as spent in full.
    assert site.holds()[0][0] == "forfeited"
    assert billing.billed_micro_usd() <= site.settled_today()
    site.check_audit()


def test_block_that_ends_in_time_is_on_record_with_its_worker_and_its_whole_length(
    site: Installation,
) -> None:
    tables = one_worker("blocks_when_cancelled", loop_block_abort_s=30.0)
    worker = {
        "run": "faults:blocks_when_cancelled",
        "every_s": 3600.0,
        "tick_timeout_s": 0.5,
        "options": {"seconds": 1.5},
    }
    site.configure({**tables, "worker": {"harmful": worker}})
    daemon = site.start()
    wait_until(lambda: site.events("loop_blocked"), what="the block is on record")
    (event,) = site.events("loop_blocked")
    assert 1.49 <= float(str(event["lag_s"])) < 3.0
    assert event["worker"] == "harmful"
    assert "faults.py" in str(event["where"])
    assert daemon.metric("supervisor_loop_lag_seconds") >= 1.49
    assert daemon.stop() == 0
    site.check_audit()


def test_code_that_holds_the_interpreter_ends_the_process_too(site: Installation) -> None:
    # A regular expression lets no other thread run: the timer in C sees it, with its stacks.
    site.configure(one_worker("never_matches"))
    daemon = site.start()
    assert daemon.wait() == EXIT_BY_TIMER
    assert "in never_matches" in daemon.said()
    again = site.start_ready()
    wait_until(lambda: "ok" in site.outcomes("harmful"), what="work goes on")
    assert site.outcomes("harmful")[0] == "recovered"
    assert again.stop() == 0


def test_stop_file_ends_a_process_whose_loop_is_blocked_and_keeps_it_ended(
    site: Installation, billing: BillingServer
) -> None:
    tables = one_worker("calls_and_blocks", model=True, loop_block_abort_s=LONG_S)
    site.configure({**tables, "providers": {"paid": billing.provider()}})
    billing.script({"does": "hang"})
    daemon = site.start()
    wait_until(lambda: site.log_lines("loop_is_blocked"), what="the loop is blocked")
    began_s = time.monotonic()
    stopped = site.supervisor("stop", "--why", "a test")
    assert stopped.returncode == 0, stopped.stderr
    assert daemon.wait() == 0
    assert time.monotonic() - began_s < 10
    assert site.start().wait() == 0
    assert len(billing.bills()) == 1


def test_loop_that_is_blocked_in_the_drain_does_not_keep_a_stop_from_ending(
    site: Installation,
) -> None:
    site.configure(one_worker("blocks_when_cancelled", grace_s=0.1))
    daemon = site.start_ready()
    wait_until(lambda: site.outcomes("harmful"), what="the tick runs")
    daemon.signal(signal.SIGTERM)
    # A stop is a stop: no service manager is asked to start it again.
    assert daemon.wait() == 0
    assert site.log_lines("loop_blocked_too_long")
    again = site.start_ready()
    assert site.outcomes("harmful")[0] == "recovered"
    again.kill_9()


def test_process_that_was_stopped_and_goes_on_is_not_taken_for_blocked(
    site: Installation,
) -> None:
    site.configure(
        {
            "supervisor": {"loop_block_warn_s": 0.2, "loop_block_abort_s": 1.0},
            "worker": {"good": {"run": "agents:counts", "every_s": 0.001}},
        }
    )
    daemon = site.start_ready()
    wait_until(lambda: site.outcomes("good"), what="it ticks")
    for _ in range(3):
        daemon.signal(signal.SIGSTOP)
        time.sleep(1.5)
        daemon.signal(signal.SIGCONT)
        wait_for_more(site, "good", 3)
    assert daemon.stop() == 0


def wait_for_more(site: Installation, worker: str, ticks: int) -> None:
    before = len(site.outcomes(worker))
    wait_until(lambda: len(site.outcomes(worker)) > before + ticks, what=f"{worker} goes on")


def test_process_that_grows_above_its_limit_drains_and_asks_for_a_restart(
    site: Installation, pings: PingReceiver
) -> None:
    site.configure(
        one_worker("grows", rss_max_mb=120, heartbeat_s=0.2, heartbeat_ping_url=pings.url)
    )
    daemon = site.start()
    assert daemon.wait() == EXIT_RESTART
    (line,) = site.log_lines("memory_above_limit")
    assert line["limit_mb"] == 120
    assert int(str(line["resident_mb"])) > 120
    (event,) = site.events("memory_exceeded")
    assert event == {"resident_mb": line["resident_mb"], "limit_mb": 120}
    # Drained: every tick is at its end, state is kept, nothing is left to recover.
    assert set(site.outcomes("harmful")) == {"ok"}
    assert [event["label"] for event in site.events("checkpoint_created")][-1] == "shutdown"
    assert "rss_max_mb" in str(site.events("daemon_stopped")[-1]["why"])
    ticks = len(site.outcomes("harmful"))
    again = site.start()
    wait_until(lambda: len(site.outcomes("harmful")) > ticks, what="work goes on")
    assert site.events("cycle_recovered") == []
    again.kill_9()


def test_a_stop_while_it_drains_for_its_memory_is_a_stop(site: Installation) -> None:
    worker = {"run": "faults:blocks_when_cancelled", "every_s": 1.0, "options": {"seconds": 0.1}}
    site.configure(
        {
            "supervisor": {"rss_max_mb": 1, "heartbeat_s": 0.1, "grace_s": 30.0},
            "worker": {"waits": worker},
        }
    )
    daemon = site.start()
    wait_until(lambda: site.log_lines("memory_above_limit"), what="it drains")
    assert daemon.is_running
    assert daemon.stop() == 0
