"""What a command names has to exist: a typo must not look like an empty answer."""

from __future__ import annotations

from collections.abc import Set

from supervisor.cli.parser import did_you_mean
from supervisor.config import Loaded
from supervisor.errors import NotFound
from supervisor.governance.rotation import find_session
from supervisor.governance.status import known_workers
from supervisor.storage.database import Transaction

_SYSTEM = "system"


def check_worker(loaded: Loaded, worker: str, stored: Set[str], *, otherwise: str = "") -> None:
    """Refuse a worker that nobody has heard of.

    Raises:
        NotFound: neither the config nor `stored` has it; the cure ends in `otherwise`.
    """
    known = stored | set(loaded.config.worker)
    if worker not in known:
        listed = ", ".join(sorted(known)) or "none"
        raise NotFound(
            subject=f"worker {worker}",
            what="is neither in the config nor in the store; nothing was done",
            fix=(did_you_mean(worker, known) or f"there is: {listed}") + otherwise,
        )


def check_filter(
    tx: Transaction, loaded: Loaded, *, worker: str | None = None, session_id: str | None = None
) -> None:
    """Say why nothing was found, where what it was asked of does not exist.

    Raises:
        NotFound: the worker or the session does not.
    """
    if worker is not None:
        check_worker(loaded, worker, known_workers(tx) | {_SYSTEM})
    if session_id is not None and find_session(tx, session_id) is None:
        fix = "`supervisor sessions` lists them"
        raise NotFound(subject=f"session {session_id}", what="does not exist", fix=fix)
