"""A rollback on a real daemon: the state bit for bit, no balance, and the worker waits."""

from __future__ import annotations

import hashlib
import json

from tests.e2e.billing_server import BillingServer
from tests.e2e.daemon_process import Installation, Row, Tables, wait_until


def agents(billing: BillingServer) -> Tables:
    """Return a config with a worker that pays for a call and counts it, and another."""
    return {
        "session": {"window": "daily", "checkpoint_every": 2},
        "providers": {"paid": billing.provider()},
        "worker": {
            "agent": {"run": "agents:keeps_much", "model": "paid/model", "every_s": 0.05},
            "other": {"run": "agents:counts", "every_s": 0.05},
        },
    }


def state_of(site: Installation, worker: str) -> str:
    ((state,),) = site.rows("SELECT state FROM workers WHERE name = ?", worker)
    assert isinstance(state, str)
    return state


def balances(site: Installation) -> list[Row]:
    return site.rows("SELECT id, settled, held, overrun FROM accounts ORDER BY id")


def ticks(site: Installation, worker: str) -> int:
    return sum(outcome == "ok" for outcome in site.outcomes(worker))


def test_rollback_restores_the_state_bit_for_bit_changes_no_balance_and_lets_the_worker_wait(
    installation: Installation, billing: BillingServer
) -> None:
    site = installation
    site.configure(agents(billing))
    daemon = site.start_ready()
    wait_until(lambda: ticks(site, "agent") >= 7, what="there is something to go back from")
    assert site.supervisor("kill", "--worker", "agent", "--why", "went wrong").returncode == 0
    wait_until(lambda: None not in site.outcomes("agent"), what="nothing of it runs")
    ((checkpoint, kept),) = site.rows(
        "SELECT id, state FROM checkpoints WHERE worker = 'agent' ORDER BY tick LIMIT 1"
    )
    before, events = balances(site), site.number("SELECT count(*) FROM events")
    assert state_of(site, "agent") != kept
    done = site.supervisor("rollback", "agent", str(checkpoint), "--actor", "ann", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    # Bit for bit, and the event says which bits.
    assert state_of(site, "agent") == kept
    assert answer["state_sha256"] == hashlib.sha256(str(kept).encode()).hexdigest()
    assert len(site.events("rollback_requested")) == 1
    (event,) = site.events("rollback_completed")
    assert (event["state_sha256"], event["state_bytes"]) == (
        answer["state_sha256"],
        len(str(kept).encode()),
    )
    # Nothing that was spent or recorded is touched.
    assert balances(site) == before
    assert site.number("SELECT count(*) FROM events") > events
    # It waits, also after the release and a restart, while the other goes on.
    assert site.supervisor("release", "--worker", "agent", "--why", "looked").returncode == 0
    stood = ticks(site, "agent")
    assert daemon.stop() == 0
    daemon = site.start_ready()
    others = ticks(site, "other")
    wait_until(lambda: ticks(site, "other") > others + 5, what="the other goes on")
    assert ticks(site, "agent") == stood
    assert state_of(site, "agent") == kept
    # Until a person resumes it: from the restored state, one tick further.
    count = json.loads(str(kept))["count"]
    assert site.supervisor("sessions", "resume", answer["paused"]).returncode == 0
    wait_until(lambda: ticks(site, "agent") > stood, what="it goes on")
    assert daemon.stop() == 0
    assert json.loads(state_of(site, "agent"))["count"] == count + ticks(site, "agent") - stood
    site.check_audit()


def test_rollback_under_a_running_tick_is_refused_and_on_record(
    installation: Installation, billing: BillingServer
) -> None:
    site = installation
    site.configure(agents(billing))
    site.start_ready()
    wait_until(lambda: ticks(site, "agent") >= 3, what="there is a checkpoint")
    billing.script({"latency_s": 60.0})
    wait_until(lambda: None in site.outcomes("agent"), what="a tick hangs in its call")
    wait_until(lambda: site.held() > 0, what="its call is in flight")
    state = state_of(site, "agent")
    ((checkpoint,),) = site.rows("SELECT id FROM checkpoints WHERE worker = 'agent' LIMIT 1")
    refused = site.supervisor("rollback", "agent", str(checkpoint))
    assert refused.returncode == 1
    assert "is running and would overwrite the state" in refused.stderr
    (failed,) = site.events("rollback_failed")
    assert "is running" in str(failed["why"])
    assert site.events("rollback_completed") == []
    assert state_of(site, "agent") == state
