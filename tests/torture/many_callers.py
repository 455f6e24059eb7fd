"""Many callers in one process, or in several on one Postgres: what is billed is the cap exactly."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.billing_server import (
    CALL_MICRO_USD,
    CALL_TOKENS,
    BillingServer,
    running_billing_server,
)
from tests.e2e.daemon_process import Installation, RunningDaemon, Tables, installed, wait_until
from tests.torture.looking import looking_at
from tests.torture.money_checks import check_money, check_refusals, check_spent
from tests.torture.site import CAP_MICRO_USD

CALLERS = 32
_LATENCY_S = 0.01
_GO = "go"
#: Generous: a machine with much other work has to start every process first.
_WITHIN_S = 150.0
_SHOWN_CHARS = 1_500


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """One cap, spent: what the provider billed, what was refused, and how long it took."""

    billed_micro_usd: int
    calls: int
    refusals: int
    seconds: float


def spend_a_cap(folder: Path, *, database: str, processes: int) -> Spent:
    """Let that many daemons of 32 callers each spend one cap, and check every cent.

    Raises:
        AssertionError: more or less than the cap was billed, or the record does not prove it.
    """
    with ExitStack() as stack:
        billing = stack.enter_context(running_billing_server(folder))
        billing.script({"latency_s": _LATENCY_S})
        names = [f"agent-{number}" for number in range(processes)]
        sites = [stack.enter_context(installed(folder / name)) for name in names]
        for name, site in zip(names, sites, strict=True):
            site.configure(_config(billing, folder, database=database, worker=name))
        daemons = [site.start() for site in sites]
        store = database if database.startswith("postgres") else sites[0].store
        try:
            _wait_until_ready(folder, names, daemons)
            began_s = time.monotonic()
            (folder / _GO).touch()
            _wait_until_refused(store, names, daemons)
        except AssertionError as error:
            error.add_note(f"{len(billing.bills())} calls were billed")
            for daemon in daemons:
                error.add_note(f"...{daemon.said()[-_SHOWN_CHARS:]}")
            raise
        seconds = time.monotonic() - began_s
        assert [daemon.stop() for daemon in daemons] == [0] * processes
        refusals = _check(store, billing, sites[0], callers=processes * CALLERS)
        billed = billing.billed_micro_usd()
        return Spent(
            billed_micro_usd=billed,
            calls=len(billing.bills()),
            refusals=refusals,
            seconds=seconds,
        )


def _config(billing: BillingServer, folder: Path, *, database: str, worker: str) -> Tables:
    agent = {
        "run": "tests.torture.workers:calls_until_refused",
        "model": "paid/model",
        "every_s": 3600.0,
        "options": {
            "callers": CALLERS,
            "tokens": CALL_TOKENS,
            "ready": str(folder / f"{worker}-is-ready"),
            "go": str(folder / _GO),
        },
    }
    return {
        "supervisor": {"database": database},
        "spend": {"daily_cap_usd": CAP_MICRO_USD / 1e6},
        # To spend a day's cap at once is what is tried here.
        "breakers": {"rate_multiple": 0.0, "open_ratio": 0.0},
        "providers": {"paid": billing.provider()},
        "worker": {worker: agent},
    }


def _wait_until_ready(folder: Path, workers: list[str], daemons: list[RunningDaemon]) -> None:
    def all_are_ready() -> bool:
        _check_running(daemons)
        return all((folder / f"{worker}-is-ready").exists() for worker in workers)

    wait_until(all_are_ready, what="every process is ready to call", within_s=_WITHIN_S)


def _check_running(daemons: list[RunningDaemon]) -> None:
    for daemon in daemons:
        assert daemon.is_running, f"a daemon ended: {daemon.said()}"


def _wait_until_refused(
    store: str | Path, workers: list[str], daemons: list[RunningDaemon]
) -> None:
    def all_were_refused() -> bool:
        _check_running(daemons)
        with looking_at(store) as look:
            ended = look.names("SELECT worker FROM ticks WHERE outcome = 'ok'")
        return set(ended) >= set(workers)

    wait_until(all_were_refused, what="every caller was refused", within_s=_WITHIN_S)


def _check(store: str | Path, billing: BillingServer, site: Installation, *, callers: int) -> int:
    billed, calls = billing.billed_micro_usd(), len(billing.bills())
    assert billed == CAP_MICRO_USD, f"billed {billed} micro-USD of {CAP_MICRO_USD}"
    assert calls == CAP_MICRO_USD // CALL_MICRO_USD, f"{calls} calls"
    with looking_at(store) as look:
        check_money(look, billing)
        check_spent(look)
        refusals = check_refusals(look)
    assert refusals == callers, f"{refusals} refusals of {callers} callers"
    audited = site.supervisor("audit")
    assert audited.returncode == 0, audited.stdout + audited.stderr
    return refusals


def main() -> int:
    """Spend a cap again and again, and return 1 at the first that is not spent exactly."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.many_callers")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--processes", type=int, help="else 1 on SQLite and 4 on Postgres")
    told = parser.parse_args()
    processes = told.processes or (1 if told.database == "sqlite" else 4)
    folder = Path(tempfile.mkdtemp(prefix="callers-"))
    with ExitStack() as stack:
        postgres_url = _postgres(stack) if told.database == "postgres" else ""
        for number in range(1, told.rounds + 1):
            (here := folder / f"{number}").mkdir()
            spent = spend_a_cap(here, database=_store(postgres_url, here), processes=processes)
            sys.stdout.write(f"{number:3}  {processes} x {CALLERS} callers: {spent}\n")
            sys.stdout.flush()
    return 0


def _postgres(stack: ExitStack) -> str:
    from tests.postgres_server import PostgresServer

    server = PostgresServer()
    stack.callback(server.remove)
    server.start()
    return server.url


def _store(postgres_url: str, folder: Path) -> str:
    if not postgres_url:
        return "sqlite"
    from tests.databases import store_url

    return store_url("postgres", folder, postgres_url)


if __name__ == "__main__":
    sys.exit(main())
