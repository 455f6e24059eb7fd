"""The scorecard equals the events on both databases."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from supervisor.clock import VirtualClock
from supervisor.errors import ActionDenied
from supervisor.events import approval_kinds
from supervisor.governance.figures import Figures
from supervisor.governance.scorecard import Wanted, read_scorecards
from supervisor.ledger.periods import Period
from supervisor.storage.database import Database
from supervisor.worker.context import Context
from tests.contract.policy_bench import CALM, SURE, UTC_ZONE, PolicyBench
from tests.contract.shared_rules import rules_of
from tests.unit.governance import test_scorecard
from tests.unit.governance.test_scorecard import rows

#: Values of a wrong type, which only SQLite can hold.
ONLY_SQLITE = ("test_a_row_of_a_wrong_type_is_located_and_the_rest_is_counted",)

globals().update(rules_of(test_scorecard, but=ONLY_SQLITE))


async def test_approvals_denials_by_reason_and_executions_are_those_of_the_events(
    database: Database, clock: VirtualClock, tmp_path: Path
) -> None:
    bench = PolicyBench(database, clock, tmp_path)
    bench.use(CALM)

    async def work(ctx: Context) -> None:
        for number in range(3):
            async with await ctx.propose("tag_issue", command_id=f"t{number}", **SURE):
                pass
        for _ in range(2):
            try:
                await ctx.propose("send_email", **SURE)
            except ActionDenied:
                continue
        await ctx.propose("merge", command_id="m", **SURE)

    await bench.tick(work)
    clock.advance(timedelta(hours=2).total_seconds())
    await bench.sweep()
    wanted = Wanted(by="horizon", period=Period.WEEK, windows_max=1, worker=None, timezone=UTC_ZONE)
    (card,) = (await database.read(read_scorecards, wanted, clock.now())).windows
    kinds = [row.kind for row in await database.read(rows)]
    assert card.approvals == kinds.count("approval_granted") == 3
    assert card.denials == 3
    assert card.denials_by_reason == {"blocked": 2, "expired": 1}
    assert card.executions == {"executed": 3}


def test_a_fold_over_no_events_is_all_zeros_and_a_denial_counts_once() -> None:
    figures = Figures()
    assert set(figures.totals().headline().values()) == {0}
    figures.add(approval_kinds.ApprovalDenied(proposal="p", code="blocked", why="w"))
    assert figures.totals().headline()["denials"] == 1
