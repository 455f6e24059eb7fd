"""The STOP file: whoever can write to the state directory can stop the daemon."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from supervisor.clock import iso
from supervisor.errors import StoreUnavailable

STOP_NAME = "STOP"


def write_stop(state_dir: Path, *, actor: str, why: str, at: datetime) -> Path:
    """Write the STOP file with who and why in it; one that is there already stays as it is.

    Raises:
        StoreUnavailable: the state directory does not take it.
    """
    path = state_dir / STOP_NAME
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return path
    except OSError as error:
        raise StoreUnavailable(
            subject=f"file {path}",
            what=f"can't be written: {error.strerror}",
            fix="end the daemon with kill -TERM instead, and mend the state directory",
        ) from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{iso(at)} {actor}: {why or 'no reason given'}\n")
    return path


def read_stop(state_dir: Path) -> str | None:
    """Return what the STOP file says, None if there is none."""
    path = state_dir / STOP_NAME
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()[:500]
    except FileNotFoundError:
        return None
    except OSError:
        # Whatever stands there under that name, it is there: in doubt, stopped.
        return f"{path} can't be read"
