"""Whether a state directory can be had, before anything is made."""

from __future__ import annotations

import os
from pathlib import Path


def obstacle(state_dir: Path) -> str | None:
    """Return what keeps the state directory from being made or used, None where nothing is seen."""
    nearest = next(path for path in (state_dir, *state_dir.parents) if os.path.lexists(path))
    if not nearest.is_dir():
        return f"{nearest} is no directory"
    if nearest != state_dir and not os.access(nearest, os.W_OK | os.X_OK):
        return f"{nearest} is not writable for this user"
    return None
