"""Many callers, many writers and many daemons at once: the cap is spent to the cent, and once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.databases import store_url
from tests.torture.many_callers import spend_a_cap
from tests.torture.many_writers import write_beside
from tests.torture.two_starts import start_at_once


@pytest.mark.timeout(400)
@pytest.mark.parametrize("attempt", range(2))
def test_32_callers_on_sqlite_are_billed_exactly_the_cap(tmp_path: Path, attempt: int) -> None:
    spent = spend_a_cap(tmp_path, database="sqlite", processes=1)
    assert spent.billed_micro_usd == 1_000_000, attempt


@pytest.mark.timeout(400)
@pytest.mark.parametrize("attempt", range(2))
def test_4_times_32_callers_on_postgres_are_billed_exactly_the_cap(
    tmp_path: Path, postgres_url: str, attempt: int
) -> None:
    database = store_url("postgres", tmp_path, postgres_url)
    spent = spend_a_cap(tmp_path, database=database, processes=4)
    assert spent.billed_micro_usd == 1_000_000, attempt


def test_commands_of_7_processes_beside_a_daemon_are_each_done_once(tmp_path: Path) -> None:
    written = write_beside(tmp_path, seconds=3.0)
    assert written.commands["kill 0"] > 0
    assert written.commands["release 0"] > 0
    assert written.commands["reconcile 0"] > 0


def test_of_two_daemons_that_start_at_once_one_runs_and_the_other_exits_73(tmp_path: Path) -> None:
    start_at_once(tmp_path, rounds=5)
