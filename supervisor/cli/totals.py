"""The figures of a scorecard for a person: of the record, and of a simulated month."""

from __future__ import annotations

from collections.abc import Mapping

from supervisor.cli.output import print_wrapped
from supervisor.governance.figures import Totals
from supervisor.money import usd_text


def print_totals(totals: Totals) -> None:
    """Print a window's figures, a line for each matter."""
    print_wrapped(f"ticks: {_counts(totals.ticks)}")
    print_wrapped(f"refusals: {_counts(totals.refusals)}")
    print_wrapped(f"holds: {_counts(totals.holds)}")
    reasons = f" ({_counts(totals.denials_by_reason)})" if totals.denials else ""
    print_wrapped(
        f"actions: {totals.approvals} approved, {totals.denials} denied{reasons};"
        f" executions: {_counts(totals.executions)}"
    )
    print_wrapped(
        f"budgets: {totals.budget_exhaustions} used up; spent"
        f" {usd_text(totals.cost_micro_usd)}, {totals.tokens} tokens, {totals.actions} actions"
    )
    if totals.hours_saved:
        worth = usd_text(totals.worth_micro_usd)
        print_wrapped(f"value: {totals.hours_saved:g} hours saved, worth {worth}")
    print_wrapped(
        f"sessions: {totals.sessions} opened, {totals.rotations} rotations;"
        f" {totals.checkpoints} checkpoints"
    )
    print_wrapped(
        f"daemons: {totals.lives} lives, {totals.recoveries} ticks recovered,"
        f" {totals.kills} kills, {totals.worker_crashes} crashes of workers,"
        f" {totals.workers_failed} given up on"
    )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
