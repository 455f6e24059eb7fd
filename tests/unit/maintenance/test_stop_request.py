"""Whether the daemon shall end, why, and whether it is to be started again."""

from __future__ import annotations

import pytest

from supervisor.maintenance.stop_request import StopRequest
from tests.unit.recorded_log import RecordedLog


@pytest.fixture
def hurries() -> list[str]:
    return []


@pytest.fixture
def stop(recorded: RecordedLog, hurries: list[str]) -> StopRequest:
    return StopRequest(recorded.log, on_hurry=lambda: hurries.append("hurry"))


def test_the_first_reason_is_the_one_that_counts_and_is_logged_once(
    stop: StopRequest, recorded: RecordedLog
) -> None:
    assert not stop.asked.is_set()
    stop.ask("received SIGTERM")
    stop.ask("something else")
    assert stop.asked.is_set()
    assert stop.why == "received SIGTERM"
    assert recorded.events == ["stopping"]


def test_every_hurried_request_hurries_also_after_another(
    stop: StopRequest, hurries: list[str]
) -> None:
    stop.ask("received SIGTERM")
    assert (hurries, stop.hurried.is_set()) == ([], False)
    stop.ask("received SIGTERM", in_a_hurry=True)
    assert (hurries, stop.hurried.is_set()) == (["hurry"], True)


def test_a_restart_drains_and_asks_to_be_started_again(
    stop: StopRequest, hurries: list[str]
) -> None:
    stop.ask_for_restart("it grew")
    assert stop.asked.is_set()
    assert stop.is_for_restart
    assert hurries == []


def test_a_stop_is_a_stop_whether_it_comes_before_a_restart_or_after_it(
    recorded: RecordedLog,
) -> None:
    for order in ("stop first", "restart first"):
        stop = StopRequest(recorded.log, on_hurry=lambda: None)
        if order == "stop first":
            stop.ask("received SIGTERM")
            stop.ask_for_restart("it grew")
        else:
            stop.ask_for_restart("it grew")
            stop.ask("received SIGTERM")
        assert not stop.is_for_restart, order
