"""A daemon that spends, and processes of the command line that write to its store beside it."""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from supervisor.cli.main import main as supervisor
from tests.e2e.billing_server import CALL_TOKENS, BillingServer, running_billing_server
from tests.e2e.daemon_process import PATIENCE_S, ROOT, Installation, RunningDaemon, installed
from tests.torture.looking import Look, looking_at

WRITERS = 7
#: Half of what each call is held at: a forfeited hold can be put right by this much.
_ACTUAL_TOKENS = CALL_TOKENS // 2
_ACTUAL_USD = "0.005"
_SCOPES = (("--worker", "agent"), ("--worker", "nobody"), ("--system",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What the writers did: commands by name and exit code, and the store's events."""

    commands: Counter[str]
    slowest_s: float
    calls: int


def write_beside(folder: Path, *, seconds: float, writers: int = WRITERS) -> Written:
    """Let a daemon and that many writers loose on one store, and check what stands in it.

    Raises:
        AssertionError: a command was lost, done twice or refused for no reason.
    """
    with running_billing_server(folder) as billing, installed(folder / "site") as site:
        # Nothing says what it used: each call is forfeited, for the writers to put right.
        billing.script({"does": "no_usage", "tokens": _ACTUAL_TOKENS})
        site.configure(_config(billing))
        daemon = site.start_ready()
        processes = [_start_writer(site, number, seconds) for number in range(writers)]
        told = [_read(process, within_s=seconds + PATIENCE_S) for process in processes]
        assert daemon.is_ready()
        _check_lives_on(site, daemon)
        assert daemon.stop() == 0
        return _check(site, billing, told)


def _config(billing: BillingServer) -> dict[str, dict[str, object]]:
    agent = {"run": "agents:calls_once", "model": "paid/model", "every_s": 0.02}
    return {
        "spend": {"daily_cap_usd": 1000.0},
        "session": {"window": "2s", "max_cost_usd": 1000.0, "max_actions": 1_000_000},
        "providers": {"paid": billing.provider()},
        "worker": {"agent": agent},
    }


def _start_writer(site: Installation, number: int, seconds: float) -> subprocess.Popen[str]:
    words = ["--config", str(site.config), "--number", f"{number}", "--seconds", f"{seconds}"]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.torture.many_writers", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def _read(process: subprocess.Popen[str], *, within_s: float) -> list[Done]:
    try:
        out, _ = process.communicate(timeout=within_s)
    finally:
        process.kill()
    return [Done(**json.loads(line)) for line in out.splitlines()]


def _check_lives_on(site: Installation, daemon: RunningDaemon) -> None:
    """Release what the writers have left engaged, and see a tick after it."""
    for scope in _SCOPES:
        ended = site.supervisor("release", *scope, "--why", "it is over", "--force")
        assert ended.returncode == 0, ended.stderr
    before = len(site.outcomes("agent"))
    deadline = time.monotonic() + PATIENCE_S
    while "ok" not in site.outcomes("agent")[before + 1 :]:
        assert time.monotonic() < deadline, f"no tick after the release: {daemon.said()}"
        time.sleep(0.02)


def _check(site: Installation, billing: BillingServer, told: list[list[Done]]) -> Written:
    done = [command for of_one in told for command in of_one]
    failed = [command for command in done if command.code != 0]
    lost = [command for command in failed if "conflict" not in command.said]
    assert lost == [], f"commands that failed: {lost[:3]} and {len(lost)} in all"
    with looking_at(site.store) as look:
        _check_latches(look)
        _check_commands(look, done)
        _check_reconciled(look, billing)
    site.check_audit()
    commands = Counter(f"{command.name} {command.code}" for command in done)
    slowest_s = max(command.seconds for command in done)
    return Written(commands=commands, slowest_s=slowest_s, calls=len(billing.bills()))


def _check_latches(look: Look) -> None:
    """Assert that each kill was released before it was engaged again, whoever did it."""
    engaged: dict[str, bool] = {}
    for kind, payload in look.rows(
        "SELECT kind, payload FROM events WHERE kind LIKE 'kill_switch_%' ORDER BY position"
    ):
        scope, is_engaged = json.loads(str(payload))["scope"], kind == "kill_switch_engaged"
        assert engaged.get(scope, False) is not is_engaged, f"{scope}: {kind} twice in a row"
        engaged[scope] = is_engaged
    assert not any(engaged.values()), f"still engaged: {engaged}"


def _check_commands(look: Look, done: list[Done]) -> None:
    """Assert that each command that was answered is in the record, once."""
    ids = [command.command_id for command in done if command.command_id and command.code == 0]
    known = set(look.names("SELECT id FROM commands"))
    assert set(ids) <= known, f"answered and not recorded: {sorted(set(ids) - known)[:3]}"
    twice = look.rows(
        "SELECT command_id, kind FROM events WHERE kind LIKE 'kill_switch_%'"
        " OR kind = 'hold_reconciled' GROUP BY command_id, kind HAVING count(*) > 1"
    )
    assert twice == [], f"done twice: {twice}"


def _check_reconciled(look: Look, billing: BillingServer) -> None:
    """Assert that each hold was put right once, and that what was billed is covered."""
    twice = look.rows(
        "SELECT payload FROM events WHERE kind = 'hold_reconciled'"
        " GROUP BY json_extract(payload, '$.hold') HAVING count(*) > 1"
    )
    assert twice == [], f"reconciled twice: {twice}"
    settled = look.number("SELECT settled FROM accounts WHERE scope = 'system' AND period = 'day'")
    # Above it where a kill has cut a call off before it was sent: that is forfeited, too.
    billed = billing.billed_micro_usd()
    assert 0 < billed <= settled, f"billed {billed}, settled {settled}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """One command as its writer tells of it."""

    name: str
    code: int
    seconds: float
    command_id: str
    said: str


class _Writer:
    """Gives one command of the command line after the other."""

    def __init__(self, config: str, number: int) -> None:
        self._config = config
        self._number = number
        self._chance = random.Random(number)  # noqa: S311 - what to do next, no secret
        self._count = itertools.count(1)

    def write_until(self, deadline_s: float) -> None:
        while time.monotonic() < deadline_s:
            name = self._chance.choice(("kill", "release", "release", "reconcile", "spend"))
            match name:
                case "kill" | "release":
                    scope = self._chance.choice(_SCOPES)
                    self._do(name, *scope, "--why", "a test", "--force")
                case "reconcile":
                    self._reconcile()
                case _:
                    self._do("spend", takes_id=False)

    def _reconcile(self) -> None:
        said = self._do("events", "--kind", "hold_forfeited", "--json", takes_id=False)
        holds = [json.loads(line)["payload"]["hold"] for line in said.splitlines()]
        for hold in holds[-2:]:
            self._do("reconcile", hold, "--actual-usd", _ACTUAL_USD)

    def _do(self, *words: str, takes_id: bool = True) -> str:
        command_id = f"writer-{self._number}-{next(self._count)}" if takes_id else ""
        more = ["--command-id", command_id] if takes_id else []
        out, err = io.StringIO(), io.StringIO()
        began_s = time.monotonic()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = supervisor(["--config", self._config, *words, *more])
        done = {
            "name": words[0],
            "code": code,
            "seconds": time.monotonic() - began_s,
            "command_id": command_id,
            "said": err.getvalue()[-500:],
        }
        sys.stdout.write(json.dumps(done) + "\n")
        return out.getvalue()


def main() -> None:
    """Be one writer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True)
    parser.add_argument("--number", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    told = parser.parse_args()
    _Writer(told.config, told.number).write_until(time.monotonic() + told.seconds)


if __name__ == "__main__":
    main()
