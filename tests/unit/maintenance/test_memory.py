"""Noticing that the process holds too much memory."""

from __future__ import annotations

import mmap

import pytest

from supervisor.clock import VirtualClock
from supervisor.maintenance.memory import MemoryWatch, resident_bytes
from tests.unit.time_warp import run_warped

MB = 1_000_000


class Sampled:
    """A process whose memory is what a test says, look by look; then the last for ever."""

    def __init__(self, *resident_mb: float) -> None:
        self.left = [int(mb * MB) for mb in resident_mb]
        self.told: list[int] = []
        self.watch = MemoryWatch(
            limit_mb=100, every_s=5.0, resident_bytes=self.resident, on_excess=self.told.append
        )

    def resident(self) -> int:
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]


@pytest.mark.parametrize(
    ("samples", "told"),
    [
        ((101, 101, 101), [101]),
        ((150, 160, 170), [170]),
        ((100, 100, 100), []),
        ((100.5, 100.5, 100.5), [101]),
        ((101, 101, 99), []),
        ((101, 99, 101), []),
    ],
)
def test_three_looks_in_a_row_above_the_limit_are_too_much(
    samples: tuple[float, ...], told: list[int]
) -> None:
    sampled = Sampled(*samples)
    for _ in samples:
        sampled.watch.look()
    assert sampled.told == told


def test_a_peak_that_passes_starts_the_count_anew() -> None:
    sampled = Sampled(200, 200, 50, 200, 200, 50, 200, 200, 200)
    found = [sampled.watch.look() for _ in range(9)]
    assert found == [False] * 8 + [True]


def test_it_looks_on_schedule_and_tells_once(clock: VirtualClock) -> None:
    sampled = Sampled(10, 10, 200)
    run_warped(clock, sampled.watch.run())
    assert sampled.told == [200]
    assert clock.monotonic() == pytest.approx(4 * 5.0)


def test_the_memory_is_what_is_in_ram() -> None:
    before = resident_bytes()
    assert 5 * MB < before < 4_000 * MB
    with mmap.mmap(-1, 64 * MB) as mapped:
        assert resident_bytes() - before < 16 * MB, "mapped, and touched nowhere"
        mapped.write(b"x" * 64 * MB)
        assert resident_bytes() - before > 48 * MB
