"""Every command: where its module is, and what it does in a line."""

from __future__ import annotations

from importlib import import_module
from typing import cast

import msgspec

from supervisor.cli.invocation import Command


class Entry(msgspec.Struct, frozen=True):
    """A command's module in this package, imported only when it is called, and its one line."""

    module: str
    about: str

    def load(self) -> Command:
        """Import the command's module."""
        return cast("Command", import_module(f"supervisor.cli.{self.module}"))


COMMANDS = {
    "run": Entry("run", "the daemon, in the foreground"),
    "once": Entry("once", "one tick of a worker through every gate, for cron and launchd"),
    "check": Entry("check", "validates the config, imports the workers, looks at the store"),
    "status": Entry("status", "daemon, workers, sessions, spend, kills, breakers"),
    "stop": Entry("stop", "stops the daemon and keeps it stopped; --clear ends that"),
    "kill": Entry("kill", "latches a kill of a session, a worker or everything"),
    "release": Entry("kill", "unlatches a kill"),
    "breakers": Entry("breakers", "lists breakers; closes one whose cause is mended"),
    "spend": Entry("spend", "accounts against their limits; --by whom; --suggest limits"),
    "events": Entry("events", "lists and follows the record"),
    "audit": Entry("audit", "proves the record: numbers, hashes, counters, balances, ticks"),
    "prune": Entry("prune", "exports windows that are long over, and prunes them; lists the files"),
    "sessions": Entry("sessions", "lists, shows and resumes sessions"),
    "scorecard": Entry(
        "scorecard", "approvals, denials, budgets, ticks, cost by session, day or horizon"
    ),
    "value": Entry("value", "hours saved at their rate, less cost, by worker and period"),
    "approvals": Entry("approvals", "lists, shows, approves and denies what agents want to do"),
    "jobs": Entry("jobs", "lists, shows, enqueues, retries, cancels and resolves queued work"),
    "dead": Entry("jobs", "lists, shows, requeues and discards jobs that failed for good"),
    "alerts": Entry("alerts", "lists, shows and acknowledges alerts; test tries the channels"),
    "report": Entry("report", "what ran, what it cost and was worth, what failed, what waits"),
    "incident": Entry("incident", "opens, notes, closes and exports incidents"),
    "checkpoints": Entry("rollback", "lists a worker's checkpoints"),
    "rollback": Entry("rollback", "puts a worker's state back to a checkpoint"),
    "simulate": Entry(
        "simulate", "lives through a month of the config in virtual time, with faults"
    ),
    "backup": Entry("backup", "copies the store while it is in use, and proves the copy"),
    "restore": Entry("restore", "puts a backup back, refunding nothing and releasing no kill"),
    "drill": Entry("drill", "rehearses a safety and records how it went: kill, restore"),
    "doctor": Entry("doctor", "says all that is wrong, and what mends it"),
    "reconcile": Entry("reconcile", "puts a forfeited hold at what its call really cost"),
}
