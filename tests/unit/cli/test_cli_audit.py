"""`audit` exits 0 on a sound store, and 1 with the first difference first."""

from __future__ import annotations

import json

from tests.unit.cli.site import Site
from tests.unit.governance.recorded_life import Damage


def test_sound_store_exits_0_with_its_counts(lived: Site) -> None:
    called = lived.call("audit")
    assert (called.code, called.err) == (0, "")
    assert called.out.startswith("audit: sound; ")
    assert "2 holds, 2 ticks" in called.out


def test_store_that_differs_exits_1_with_the_first_difference_first(lived: Site) -> None:
    damage = Damage(lived.store)
    damage.run("UPDATE accounts SET settled = 0 WHERE scope = 'system'")
    damage.close()
    called = lived.call("audit")
    assert called.code == 1
    assert "its row says settled 0, its events 251500" in called.out.splitlines()[0]
    assert "audit: 1 differences" in called.out


def test_json_has_every_finding_with_its_place(lived: Site) -> None:
    assert json.loads(lived.call("audit", "--json").out)["findings"] == []
    damage = Damage(lived.store)
    session_id, seq = damage.event("hold_settled")
    damage.run("UPDATE events SET actor = 'x' WHERE session_id = ? AND seq = ?", session_id, seq)
    damage.close()
    called = lived.call("audit", "--json")
    assert called.code == 1
    report = json.loads(called.out)
    (finding,) = report["findings"]
    assert (finding["session_id"], finding["seq"]) == (session_id, seq)
    assert report["findings_total"] == 1


def test_store_that_can_not_be_read_exits_1_with_its_error(lived: Site) -> None:
    lived.store.write_bytes(b"no database, whatever the name says")
    called = lived.call("audit")
    assert called.code == 1
    assert called.err.startswith("error[store_damaged]: ")
