"""Who can read and write the config, and whether an alert would reach anybody."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from supervisor.alerts.facts import Fact, Severity
from supervisor.alerts.record import Route, Terms, claim, note_failed, raise_fact
from supervisor.clock import VirtualClock, to_us
from supervisor.config import load
from supervisor.events.log import Origin
from supervisor.maintenance.doctor_config import (
    examine_alerts,
    examine_config_file,
    examine_fallbacks,
    read_channels,
)
from supervisor.maintenance.doctor_site import Finding
from supervisor.storage.database import Database, Transaction

UTC_ZONE = ZoneInfo("UTC")
SPEND = "[spend]\ndaily_cap_usd = 1.0\n"
HOOK = '[alerts.channel.hook]\nkind = "webhook"\nurl = "http://127.0.0.1:9/"\n'
POSTGRES = '[supervisor]\ndatabase = "postgresql://me:secret@127.0.0.1/db"\n'


def examine(path: Path, mode: int, text: str = "") -> list[Finding]:
    path.write_text(SPEND + text)
    path.chmod(mode)
    return list(examine_config_file(path, load(path).config))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir(mode=0o755)
    return folder / "config.toml"


@pytest.mark.parametrize(("mode", "text"), [(0o644, ""), (0o600, POSTGRES + HOOK)])
def test_a_config_that_shows_nothing_to_others_is_well(config: Path, mode: int, text: str) -> None:
    assert examine(config, mode, text) == []


def test_a_config_that_others_can_write_is_found(config: Path) -> None:
    (found,) = examine(config, 0o664)
    assert "others can write it" in found.what
    assert found.fix == f"`chmod go-w {config}`"


def test_a_folder_into_which_others_can_put_a_worker_is_found(config: Path) -> None:
    config.parent.chmod(0o777)
    (found,) = examine(config, 0o600)
    assert "another config or worker" in found.what


@pytest.mark.parametrize(
    ("text", "secret"),
    [(POSTGRES, "the database's password"), (HOOK, "the address of alerts channel hook")],
)
def test_a_secret_in_a_config_that_others_can_read_is_found_and_not_shown(
    config: Path, text: str, secret: str
) -> None:
    (found,) = examine(config, 0o644, text)
    assert secret in found.what
    assert "me:secret" not in found.what


# --- fallbacks

MODELS = """
[providers.local]
kind = "openai"
base_url = "http://127.0.0.1:1/v1"
[providers.slow]
kind = "openai"
base_url = "http://127.0.0.1:2/v1"
{more}
[worker.w]
run = "agent:run"
every_s = 60.0
model = "slow/m"
fallback = ["local/m"]
"""


@pytest.mark.parametrize(
    ("more", "hints"),
    [
        ("", 1),
        ("read_timeout_s = 30.0", 0),
        ("attempts_max = 1\nread_timeout_s = 119.0", 0),
        ("attempts_max = 1", 1),
    ],
)
def test_a_provider_that_may_be_silent_for_the_whole_tick_is_a_hint(
    config: Path, more: str, hints: int
) -> None:
    config.write_text(SPEND + MODELS.format(more=more))
    found = list(examine_fallbacks(load(config).config))
    assert [one.is_hint for one in found] == [True] * hints
    assert all("slow may be silent for" in one.what for one in found)


# --- alerts


async def tell(store: Database, clock: VirtualClock, error: str) -> None:
    origin = Origin(at=clock.now(), actor="test")
    route = Route(channel="hook", least=Severity.INFO)
    terms = Terms(routes=(route,), remind_after_s=60.0, timezone=UTC_ZONE)
    fact = Fact(key="k", severity=Severity.CRITICAL, title="t", what="w", done="d", command="c")

    def write(tx: Transaction) -> None:
        raise_fact(tx, fact, terms, origin)
        if error:
            now = to_us(clock.now())
            claimed = claim(tx, "hook", now=now, until=now + 1, rank_min=0)
            assert claimed is not None
            note_failed(tx, claimed.id, error)

    await store.write(write)


async def waiting(store: Database, folder: Path, text: str) -> list[Finding]:
    path = folder / "config.toml"
    path.write_text(SPEND + text)
    return list(examine_alerts(load(path).config, await store.read(read_channels)))


async def test_that_nobody_is_told_is_a_hint(store: Database, tmp_path: Path) -> None:
    (found,) = await waiting(store, tmp_path, "")
    assert found.is_hint
    assert "[alerts.channel.NAME]" in found.fix


async def test_a_channel_that_takes_nothing_is_found_with_its_reason(
    store: Database, clock: VirtualClock, tmp_path: Path
) -> None:
    await tell(store, clock, "HTTP 404")
    (found,) = await waiting(store, tmp_path, HOOK)
    assert not found.is_hint
    assert found.area == "alerts channel hook"
    assert found.what.startswith("1 messages wait for it since 2026-06-01T")
    assert found.what.endswith(": HTTP 404")
    assert found.fix == "mend it, then `supervisor alerts test hook`"


async def test_what_waits_for_quiet_hours_is_no_finding(
    store: Database, clock: VirtualClock, tmp_path: Path
) -> None:
    await tell(store, clock, "")
    assert await waiting(store, tmp_path, HOOK) == []


async def test_messages_of_a_channel_that_is_gone_are_a_hint(
    store: Database, clock: VirtualClock, tmp_path: Path
) -> None:
    await tell(store, clock, "")
    found = await waiting(store, tmp_path, HOOK.replace(".hook]", ".other]"))
    assert [one.is_hint for one in found] == [True]
    assert "the config has none" in found[0].what
