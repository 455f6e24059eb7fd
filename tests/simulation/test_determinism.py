"""The same seed is the same month, in every process, whatever else differs there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from supervisor.config import Loaded
from supervisor.simulation.world import Settings, simulate

ROOT = Path(__file__).parents[2]


def card_of_a_process(path: Path, *, hash_seed: str, seed: int) -> dict[str, object]:
    words = ["simulate", str(path), "--days", "6", "--seed", str(seed), "--faults", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "supervisor", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=110,
        check=True,
    )
    card: dict[str, object] = json.loads(done.stdout)
    del card["wall_s"]
    return card


def test_a_seed_gives_the_same_log_byte_for_byte_in_another_process(
    write_config: Callable[..., Path],
) -> None:
    path = write_config()
    # The digest is of every event's hash in the order of commits, and so of every byte of them.
    first, second = (card_of_a_process(path, hash_seed=seed, seed=3) for seed in ("1", "2"))
    assert first == second
    assert first["events"]


def test_another_seed_gives_another_month(loaded: Loaded) -> None:
    digests = {simulate(loaded, Settings(seed=seed, days=1.0)).digest for seed in (1, 2, 3)}
    assert len(digests) == 3
