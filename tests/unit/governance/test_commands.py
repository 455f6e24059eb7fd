"""An operator's command is done once, and its id belongs to its content."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from supervisor.errors import CommandConflict, NotFound, UsageError
from supervisor.events.log import Origin, Recorded
from supervisor.governance import kill_switch
from supervisor.governance.kill_switch import KillCommand, Latched, applying, engaged
from tests.direct_store import DirectStore

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ZONE = ZoneInfo("UTC")


def origin(command_id: str) -> Origin:
    return Origin(at=NOW, actor="ann", command_id=command_id)


def engage(store: DirectStore, command_id: str, scope: str = "system", why: str = "x") -> Latched:
    command = KillCommand(scope=scope, why=why)
    return store.write(kill_switch.engage, command, origin(command_id), ZONE)


def release(store: DirectStore, command_id: str, scope: str = "system") -> Latched:
    command = KillCommand(scope=scope, why="x")
    return store.write(kill_switch.release, command, origin(command_id), ZONE)


@pytest.fixture
def direct() -> DirectStore:
    return DirectStore()


def kinds(store: DirectStore) -> list[str]:
    return [f.event.kind for f in store.published if isinstance(f, Recorded)]


def test_the_same_command_twice_gives_the_first_result_and_does_nothing_again(
    direct: DirectStore,
) -> None:
    first = engage(direct, "c1")
    release(direct, "c2")
    assert engage(direct, "c1") == first
    assert direct.write(engaged) == []
    assert kinds(direct).count("kill_switch_engaged") == 1


@pytest.mark.parametrize(
    ("scope", "why", "named"), [("worker:w", "x", "scope"), ("system", "other", "why")]
)
def test_the_same_id_with_other_content_names_the_field(
    direct: DirectStore, scope: str, why: str, named: str
) -> None:
    engage(direct, "c1")
    with pytest.raises(CommandConflict, match=named):
        engage(direct, "c1", scope, why)


def test_the_same_id_for_another_operation_names_it(direct: DirectStore) -> None:
    engage(direct, "c1")
    with pytest.raises(CommandConflict, match="operation 'kill', now with 'release'"):
        release(direct, "c1")
    assert len(direct.write(engaged)) == 1


def test_engaging_what_is_engaged_says_so_and_writes_no_second_event(direct: DirectStore) -> None:
    engage(direct, "c1")
    assert not engage(direct, "c2").changed
    assert kinds(direct).count("kill_switch_engaged") == 1


@pytest.mark.parametrize("scope", ["", "sytem", "worker:", "worker:a b", "session:", "worker"])
def test_what_is_no_scope_is_refused(direct: DirectStore, scope: str) -> None:
    with pytest.raises(UsageError):
        engage(direct, "c1", scope)


@pytest.mark.parametrize("why", ["", "   ", "y" * 501])
def test_a_kill_needs_a_reason_of_some_sentence(direct: DirectStore, why: str) -> None:
    with pytest.raises(UsageError):
        engage(direct, "c1", why=why)


def test_a_session_that_does_not_exist_is_not_killed_in_silence(direct: DirectStore) -> None:
    with pytest.raises(NotFound):
        engage(direct, "c1", "session:nobody@never")


def test_the_smallest_scope_is_named_first(direct: DirectStore) -> None:
    engage(direct, "c1", "system")
    engage(direct, "c2", "worker:w")
    refusal = applying(direct.write(engaged), worker="w", session_id=None)
    assert refusal is not None
    assert refusal.scope == "worker:w"
    other = applying(direct.write(engaged), worker="v", session_id=None)
    assert other is not None
    assert other.scope == "system"
