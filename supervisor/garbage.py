"""Looking for garbage as seldom as a long life allows."""

from __future__ import annotations

import gc

#: Python's own 700, 10, 10 looks through the young objects several times in each turn of 32
#: workers, and through all there are, which hardly change, every few hundred ticks.
_THRESHOLDS = (5_000, 20, 20)


def spare_what_stays() -> None:
    """Never look again through what was made until now, and less often through the rest.

    A daemon calls this when it has started: modules, the config and the store stay to its end
    (https://docs.python.org/3.11/library/gc.html#gc.freeze, read 2026-11-21).
    """
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
