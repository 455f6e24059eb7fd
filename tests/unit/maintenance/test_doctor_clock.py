"""The machine's clock: its year, who keeps it right, whose time it shows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from supervisor.maintenance.doctor_clock import examine_clock, is_kept_right, machine_zone

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def test_a_clock_that_is_well_is_no_finding() -> None:
    assert list(examine_clock(NOW, is_kept_right=True)) == []
    assert list(examine_clock(NOW, is_kept_right=None, unsaid_zone="UTC")) == []


def test_a_clock_without_a_battery_is_found() -> None:
    (found,) = examine_clock(datetime(1970, 1, 1, tzinfo=UTC), is_kept_right=True)
    assert found.what.startswith("says 1970-01-01")
    assert not found.is_hint


def test_a_clock_that_nobody_keeps_right_is_a_hint() -> None:
    (found,) = examine_clock(NOW, is_kept_right=False)
    assert found.is_hint
    assert "timedatectl set-ntp true" in found.fix


def test_cron_in_utc_on_a_machine_of_another_zone_is_a_hint_where_nobody_has_said_so() -> None:
    (found,) = examine_clock(NOW, is_kept_right=True, unsaid_zone="Europe/Berlin")
    assert found.is_hint
    assert 'timezone = "Europe/Berlin"' in found.fix


def test_the_machines_zone_is_the_name_of_its_localtime(tmp_path: Path) -> None:
    link = tmp_path / "localtime"
    assert machine_zone(link) == ""
    link.symlink_to("/usr/share/zoneinfo/America/New_York")
    assert machine_zone(link) == "America/New_York"


def test_the_kernel_is_asked_and_nothing_is_changed() -> None:
    assert is_kept_right() in (True, False, None)
