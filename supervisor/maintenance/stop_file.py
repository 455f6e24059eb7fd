"""The STOP file: whoever can write to the state directory can stop the daemon."""

from __future__ import annotations

import contextlib
import os
from datetime import datetime
from pathlib import Path

from supervisor.clock import iso
from supervisor.errors import StoreUnavailable
from supervisor.redaction import REDACTION

STOP_NAME = "STOP"


def write_stop(state_dir: Path, *, actor: str, why: str, at: datetime) -> Path:
    """Write the STOP file with who and why in it; one that is there already stays as it is.

    Raises:
        StoreUnavailable: the state directory does not take it.
    """
    path = state_dir / STOP_NAME
    written = state_dir / f".{STOP_NAME}.{os.getpid()}"
    reason = REDACTION.text(" ".join(why.split())) or "no reason given"
    try:
        written.write_text(f"{iso(at)} {actor}: {reason}\n", encoding="utf-8")
        written.chmod(0o600)
        # Linked, not renamed: it appears whole, and one that is there already stays as it is.
        path.hardlink_to(written)
    except FileExistsError:
        return path
    except OSError:
        _make_empty(path)
    finally:
        with contextlib.suppress(OSError):
            written.unlink()
    return path


def _make_empty(path: Path) -> None:
    """Make the file without its text, which a full disk has no room for: it stops all the same."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise StoreUnavailable(
            subject=f"file {path}",
            what=f"can't be written: {error.strerror}",
            fix="end the daemon with kill -TERM instead, and mend the state directory",
        ) from error


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
