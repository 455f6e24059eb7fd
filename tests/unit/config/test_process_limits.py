"""What the daemon allows itself: blocks of its loop, memory, telemetry held back."""

from __future__ import annotations

import pytest

from tests.unit.config.conftest import Read, Refusal


@pytest.mark.parametrize("abort_s", [0.5, 1.0])
def test_an_end_that_comes_before_its_warning_is_refused(refusal: Refusal, abort_s: float) -> None:
    error = refusal(f"[supervisor]\nloop_block_abort_s = {abort_s}\n")
    assert "supervisor.loop_block_abort_s" in error.subject
    assert error.fix == "raise it above loop_block_warn_s = 1"


@pytest.mark.parametrize("key", ["rss_max_mb", "telemetry_held_max"])
def test_a_limit_of_nothing_is_refused(refusal: Refusal, key: str) -> None:
    assert f"supervisor.{key}" in refusal(f"[supervisor]\n{key} = 0\n").subject


def test_limits_are_taken_as_they_are(read: Read) -> None:
    text = "[supervisor]\nloop_block_abort_s = 60.0\nrss_max_mb = 4000\ntelemetry_held_max = 1\n"
    section = read(text).config.supervisor
    assert section.loop_block_abort_s == 60.0
    assert (section.rss_max_mb, section.telemetry_held_max) == (4_000, 1)
