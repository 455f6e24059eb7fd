"""scratch"""
from __future__ import annotations
from datetime import timedelta
from pathlib import Path
import pytest
from supervisor.maintenance.retention import RetentionPlan, retain
from tests.unit.governance.recorded_life import UTC_ZONE, RecordedLife, live_a_day

async def test_x(life, raw, tmp_path, database):
    await live_a_day(life)
    for d in range(5):
        life.clock.advance(86400)
        await life.start("digest","triage")
        await life.tick("digest", 1000)
        await life.tick("triage", 1000)
    plan = RetentionPlan(keep_days=2, checkpoints_kept=3, folder=tmp_path/"exports", timezone=UTC_ZONE, version="0")
    before = raw.rows("select count(*) from events")
    assert (await life.audit()).findings == ()
    done = await retain(database, plan, clock=life.clock)
    print(done)
    print(before, raw.rows("select count(*) from events"), raw.rows("select id,status from sessions"))
    for t in ("account_bases","worker_bases","state_bases","retired_usage","exports","accounts"):
        print(t, raw.rows(f"select * from {t}"))
    r = await life.audit()
    print(r)
    assert r.findings == ()
    assert done.exports
