"""When a Postgres connection may trust what it remembers: only if nobody else has changed a row."""

from __future__ import annotations

import pytest

from supervisor.storage.postgres import PostgresDatabase
from supervisor.storage.postgres_commit import Witness
from tests.databases import RawConnection
from tests.unit.storage.counted_ticks import count


def alone(*begins: tuple[str, int]) -> list[bool]:
    """Return what the witness says at each begin of a transaction, by its snapshot and number."""
    witness = Witness()
    return [witness.is_alone(snapshot, own) for snapshot, own in begins]


def test_the_first_transaction_trusts_nothing_and_those_right_after_it_do() -> None:
    assert alone(("7:7:", 7), ("8:8:", 8), ("9:9:", 9)) == [False, True, True]


@pytest.mark.parametrize(
    ("begins", "what"),
    [
        ([("7:7:", 7), ("9:9:", 9)], "another one has come and gone between the two"),
        ([("7:7:", 8), ("9:9:", 9)], "another was given its number before, and has ended since"),
        ([("5:7:5", 7), ("8:8:", 8)], "one that had begun long before has ended since"),
        ([("7:7:", 7), ("5:8:5", 8)], "one runs that is below: nothing is said of it any more"),
        ([("7:7:", 7), ("8:9:8", 9)], "another runs, and one after it has ended"),
    ],
)
def test_whoever_may_have_committed_in_between_ends_the_trust(
    begins: list[tuple[str, int]], what: str
) -> None:
    assert alone(*begins) == [False, False], what


def test_one_that_still_runs_ends_the_trust_of_the_transaction_after_the_next() -> None:
    # 8 was begun by somebody else while 7 ran: it has not ended at the second begin, whose number
    # is 9, and may have at the third.
    assert alone(("7:7:", 7), ("8:8:", 9), ("10:10:", 10)) == [False, True, False]


def test_nothing_is_trusted_after_a_failure() -> None:
    witness = Witness()
    witness.is_alone("7:7:", 7)
    witness.forget()
    assert not witness.is_alone("8:8:", 8)


async def test_a_row_is_remembered_until_somebody_else_changes_any(
    database: PostgresDatabase, direct_url: str
) -> None:
    committer = database._committer
    assert committer is not None
    heard: list[bool] = []
    is_alone = committer._witness.is_alone

    def listen(snapshot: str, own: int) -> bool:
        heard.append(is_alone(snapshot, own))
        return heard[-1]

    committer._witness.is_alone = listen  # type: ignore[method-assign] # to hear what it says
    # The server's own upkeep may take a number at any time, but not each time.
    for _ in range(10):
        await database.write(count, "w")
    assert any(heard)
    other = RawConnection(direct_url)
    other.run("UPDATE workers SET why = 'looked at'")
    other.close()
    await database.write(count, "w")
    assert heard[-1] is False
