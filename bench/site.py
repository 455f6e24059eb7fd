"""Where a part is measured: a folder, a kind of store, and whether its spans are short."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.stores import Stores

T = TypeVar("T")


class CannotMeasure(Exception):
    """Something that a part needs is not there; the text says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a part may use; `folder` is its own and new, `shared` that of the whole run."""

    folder: Path
    shared: Path
    stores: Stores
    is_quick: bool

    def pick(self, full: T, quick: T) -> T:
        """Return how much to do: `quick` only shows that the part works."""
        return quick if self.is_quick else full
