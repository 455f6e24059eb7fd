"""Rules that are written once, beside what they are about, and hold on both databases."""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import ModuleType


def rules_of(module: ModuleType, *, but: Collection[str] = ()) -> dict[str, Callable[..., object]]:
    """Return the tests of a module of unit tests, to be run with the stores of this folder.

    Their fixtures (`store`, `bench`, `life`, `day`, `damage`, `dead`) are looked up here then.
    `but` names those that are about something that only SQLite has.
    """
    tests = {name: function for name, function in vars(module).items() if name.startswith("test_")}
    unknown = set(but) - tests.keys()
    assert not unknown, f"{module.__name__} has no {unknown}"
    return {name: function for name, function in tests.items() if name not in but}
