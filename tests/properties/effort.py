"""How long the properties are tried for.

As they stand they take about a minute together and try the same examples on every run, so that a
red run says something of the change and not of the day. `SUPERVISOR_PROPERTIES=20` tries twenty
times as many, each time other ones: whatever fails is printed with what brings it back.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

#: How many times as many examples are tried; 1 is the same run each time.
FACTOR = float(os.environ.get("SUPERVISOR_PROPERTIES", "1"))

_SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def effort(*, examples: int, steps: int) -> settings:
    """Return how much of a machine is tried; `examples` runs of up to `steps` steps."""
    return settings(
        max_examples=max(int(examples * FACTOR), 1),
        stateful_step_count=steps,
        derandomize=FACTOR == 1,
        database=None,
        deadline=None,
        print_blob=True,
        report_multiple_bugs=False,
        suppress_health_check=_SLOW,
        # Explaining a failure runs it a hundred times more; the shrunk steps say enough.
        phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    )
