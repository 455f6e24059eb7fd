"""Where identities come from."""

from __future__ import annotations

import secrets
from typing import Protocol


class IdSource(Protocol):
    """Makes identities that are never made twice."""

    def new(self, kind: str) -> str:
        """Return a fresh identity that begins with `kind`, such as `boot-5f0c...`."""
        ...


class RandomIds:
    """Identities with 64 random bits."""

    def new(self, kind: str) -> str:
        return f"{kind}-{secrets.token_hex(8)}"


class SequentialIds:
    """Identities counted from 1; the fake for tests and simulations."""

    def __init__(self) -> None:
        self._count = 0

    def new(self, kind: str) -> str:
        self._count += 1
        return f"{kind}-{self._count}"
