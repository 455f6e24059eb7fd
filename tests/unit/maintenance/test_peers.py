"""Which other daemons of a store count as dead."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta

import msgspec

from supervisor.clock import VirtualClock
from supervisor.maintenance.peers import SILENT_S, Peer, Peers, process_runs

BEAT = Peer(boot_id="b", host="here", pid=1234, heartbeat_at=1)


def peers(clock: VirtualClock, *, runs: bool = True, host: str = "here") -> Peers:
    return Peers(host=host, clock=clock, runs=lambda _: runs)


def test_on_this_host_a_life_is_over_with_its_process(clock: VirtualClock) -> None:
    assert peers(clock, runs=False).dead([BEAT]) == ["b"]
    assert peers(clock, runs=True).dead([BEAT]) == []


def test_another_hosts_life_is_not_judged_by_the_processes_here(clock: VirtualClock) -> None:
    assert peers(clock, runs=False, host="elsewhere").dead([BEAT]) == []


def test_a_heartbeat_that_stands_still_is_a_death(clock: VirtualClock) -> None:
    watch = peers(clock)
    assert watch.dead([BEAT]) == []
    clock.advance(SILENT_S)
    assert watch.dead([BEAT]) == ["b"]


def test_a_heartbeat_that_moves_is_a_life_whatever_its_clock_says(clock: VirtualClock) -> None:
    watch = peers(clock)
    for at in (10**18, 5, 7):
        assert watch.dead([msgspec.structs.replace(BEAT, heartbeat_at=at)]) == []
        clock.advance(SILENT_S)


def test_a_step_of_this_hosts_wall_clock_kills_nobody(clock: VirtualClock) -> None:
    watch = peers(clock)
    watch.dead([BEAT])
    clock.step_wall(timedelta(days=3650).total_seconds())
    assert watch.dead([BEAT]) == []


def test_a_process_that_has_ended_does_not_run_and_this_one_is_no_peer() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not process_runs(ended.pid)
    assert process_runs(os.getppid())
    assert not process_runs(os.getpid())
    assert not process_runs(0)
