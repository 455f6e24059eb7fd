"""Events: numbered without a gap, chained, and added up as they are written (S5, S9, L12)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from supervisor.events import kinds
from supervisor.events.kinds import KINDS, Event
from supervisor.events.log import EventRow, Journal, Origin, parse
from supervisor.governance.rotation import SessionPlan, adopt_or_rotate, close_session
from supervisor.storage.database import Transaction
from tests.properties.effort import effort
from tests.properties.session_world import World, decoded, sealed_as
from tests.properties.stores import Memory, Store

pytestmark = pytest.mark.timeout(3_600)

WORKERS = ("a", "b", "c")
ZONE = ZoneInfo("UTC")

#: What must stay where it is, so that two columns with the same letters are not the same row.
texts = st.text(
    alphabet=st.one_of(st.sampled_from('0:1a"\\{}\n'), st.characters(exclude_categories=["Cs"])),
    max_size=8,
).filter(lambda text: "\0" not in text)
numbers = st.integers(0, 2**40)


BY_TYPE: dict[object, st.SearchStrategy[object]] = {
    str: texts,
    int: numbers,
    bool: st.booleans(),
    int | None: st.none() | numbers,
    float: st.floats(0, 1e9),
    tuple[str, ...]: st.lists(texts, max_size=3).map(tuple),
}


def _of(kind: type[Event]) -> st.SearchStrategy[Event]:
    fields = msgspec.structs.fields(kind)
    return st.builds(kind, **{field.name: BY_TYPE[field.type] for field in fields})


#: Those of accounts and holds have rows beside them: the ledger's machine writes them.
_LEDGERS = ("account_", "hold_", "cycle_", "session_")
events = st.sampled_from(
    [kind for name, kind in sorted(KINDS.items()) if not name.startswith(_LEDGERS)]
).flatmap(_of)
counted = st.one_of(
    st.builds(kinds.CallRefused, worker=texts, model=texts, code=texts, why=texts),
    st.builds(kinds.BudgetExhausted, account=texts, unit=texts, used=numbers, limit_amount=numbers),
)


class Torn(Exception):
    """A transaction that fails behind what it has written."""


class EventsMachine(RuleBasedStateMachine):
    """Writes journals into several sessions, some of them torn, some of them sealed after."""

    def __init__(self) -> None:
        super().__init__()
        self.written: dict[str, list[tuple[Origin, Event]]] = {}
        self.read: dict[str, list[EventRow]] = {}

    def opened(self) -> Store:
        return Memory()

    @initialize()
    def begin(self) -> None:
        self.world = World(self.opened(), ZONE, datetime(2026, 6, 1, tzinfo=UTC))
        self.open: dict[str, str] = {}
        for worker in WORKERS:
            self._open(worker)

    def _open(self, worker: str) -> None:
        plan = SessionPlan(worker=worker, span_s=900, timezone=ZONE)
        session = self.world.store.write(adopt_or_rotate, plan, self.world.origin())
        assert session is not None
        self.open[worker] = session.id

    @rule(
        worker=st.sampled_from(WORKERS),
        added=st.lists(events | counted, min_size=1, max_size=4),
        journals=st.integers(1, 2),
        labels=st.tuples(texts, texts, texts),
        is_torn=st.booleans(),
    )
    def write(
        self,
        worker: str,
        added: list[Event],
        journals: int,
        labels: tuple[str, str, str],
        is_torn: bool,
    ) -> None:
        actor, correlation_id, command_id = labels
        origin = Origin(
            at=self.world.clock.at,
            actor=actor,
            correlation_id=correlation_id,
            command_id=command_id,
        )
        session_id = self.open[worker]

        def run(tx: Transaction) -> None:
            for _ in range(journals):
                with Journal(tx, session_id, origin) as journal:
                    for event in added:
                        journal.add(event)
            if is_torn:
                raise Torn

        if is_torn:
            with pytest.raises(Torn):
                self.world.store.write(run)
            return
        self.world.store.write(run)
        told = self.written.setdefault(session_id, [])
        told += [(origin, event) for _ in range(journals) for event in added]

    @rule(worker=st.sampled_from(WORKERS))
    def write_in_two_sessions_at_once(self, worker: str) -> None:
        other = WORKERS[(WORKERS.index(worker) + 1) % len(WORKERS)]
        event = kinds.LoopBlocked(lag_s=1.5)

        def run(tx: Transaction) -> None:
            with (
                Journal(tx, self.open[worker], self.world.origin()) as one,
                Journal(tx, self.open[other], self.world.origin()) as two,
            ):
                one.add(event)
                two.add(event)

        self.world.store.write(run)
        for session_id in (self.open[worker], self.open[other]):
            self.written.setdefault(session_id, []).append((self.world.origin(), event))

    @rule(worker=st.sampled_from(WORKERS))
    def seal(self, worker: str) -> None:
        session = self.world.open_session(worker)
        assert session is not None
        self.world.store.write(close_session, session, self.world.origin())

        def run(tx: Transaction) -> None:
            with Journal(tx, session.id, self.world.origin()) as journal:
                journal.add(kinds.LoopBlocked(lag_s=1.0))

        with pytest.raises(AssertionError, match="sealed"):
            self.world.store.write(run)
        self.world.clock.at += timedelta(seconds=900)
        self._open(worker)

    @invariant()
    def what_is_read_is_what_was_written(self) -> None:
        # Numbers and hashes are checked where the rows are read.
        for row in self.world.read_events():
            self.read.setdefault(row.session_id, []).append(row)
        for session_id, written in self.written.items():
            rows = [r for r in self.read[session_id] if not r.kind.startswith("session_")]
            assert [(row.actor, row.correlation_id, row.command_id) for row in rows] == [
                (origin.actor, origin.correlation_id, origin.command_id) for origin, _ in written
            ]
            assert [parse(row) for row in rows] == [event for _, event in written]
        self._check_sums()

    def _check_sums(self) -> None:
        for session in self.world.sessions():
            telling = self.world.tellings[session.id]
            assert (session.last_seq, session.last_hash) == (telling.seq, telling.digest)
            assert decoded(session.counters) == telling.counters
            if session.summary is not None:
                assert decoded(session.summary) == sealed_as(telling)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.store.close()


TestEvents = EventsMachine.TestCase
TestEvents.settings = effort(examples=60, steps=30)
