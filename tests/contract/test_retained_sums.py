"""What stays of pruned windows counts on, and a change of it, or of an export, is found."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from supervisor.errors import StoreDamaged
from supervisor.ledger.accounts import Budget, Budgets, Unit
from supervisor.ledger.periods import Period
from supervisor.maintenance.export_audit import audit_export
from tests.contract.retained_life import RetainedLife
from tests.databases import RawConnection
from tests.unit.governance.recorded_life import UTC_ZONE, RecordedLife


async def test_a_limit_that_is_set_later_counts_what_was_pruned(old: RetainedLife) -> None:
    used = "SELECT sum(cost_settled) FROM holds WHERE worker = 'digest'"
    ((before,),) = old.raw.rows(used)
    await old.retain()
    assert old.raw.rows(used) != [(before,)]
    await set_limits(old.life)
    settled = old.raw.rows(
        "SELECT period, settled FROM accounts WHERE scope = 'worker:digest' AND unit = 'micro_usd'"
        " ORDER BY period"
    )
    assert settled == [("month", before), ("unlimited", before)]
    assert (await old.life.audit()).findings == ()


async def set_limits(life: RecordedLife) -> None:
    life.budgets = Budgets(
        [
            Budget(scope="worker:digest", period=period, unit=Unit.MICRO_USD, limit_amount=10**9)
            for period in (Period.MONTH, Period.UNLIMITED)
        ],
        timezone=UTC_ZONE,
        warn_ratio=0.8,
    )
    started = await life.started("digest")
    await life.settle(await life.placed("digest", started, 0), 0)
    await life.finish("digest", started)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE worker_sums SET last_tick = last_tick - 1 WHERE worker = 'digest'",
        "UPDATE state_sums SET state = 'engaged' WHERE subject LIKE 'kill%'",
        "UPDATE exports SET sums_sha256 = 'x'",
        "UPDATE exports SET sha256 = 'x'",
        "DELETE FROM exports",
    ],
)
async def test_a_change_of_what_stays_is_found(
    old: RetainedLife, raw: RawConnection, change: str
) -> None:
    await old.retain()
    raw.drop_rules()
    assert raw.run(change) == 1
    assert not (await old.life.audit()).is_clean


async def test_a_changed_export_is_found(old: RetainedLife, tmp_path: Path) -> None:
    await old.retain()
    (path,) = old.files()
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    path.write_bytes(gzip.compress(b"".join(lines)))
    with pytest.raises(StoreDamaged, match="its name says"):
        audit_export(path)
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(b"".join(lines[:-1])))
    with pytest.raises(StoreDamaged, match="not whole"):
        audit_export(cut)
    other = tmp_path / "other.jsonl.gz"
    other.write_bytes(gzip.compress(b"".join(lines).replace(b'\\"cost\\":1000', b'\\"cost\\":1')))
    assert not audit_export(other).is_clean
