"""Jobs, ends and spans that the machine of jobs is tried with."""

from __future__ import annotations

from hypothesis import strategies as st

from supervisor.jobs.job import JobRequest
from tests.properties.job_world import SIDES, WORKERS

SECOND_US = 1_000_000
a_worker = st.sampled_from(WORKERS)
a_side = st.sampled_from(SIDES)
a_queue = st.sampled_from(["q", "q", "q", "r"])
a_pick = st.integers(0, 30)
a_delay = st.sampled_from([0, 0, SECOND_US, 60 * SECOND_US])
an_end = st.tuples(
    st.sampled_from(["done", "done", "done", "failed", "permanent", "unknown", "back", "later"]),
    a_delay,
)
spans = st.sampled_from([-86_400, -60, -1, 1, 60, 3_600, 86_400])


def request_of(
    queue: str, key: int, payload: int, priority: int = 0, attempts_max: int = 2
) -> JobRequest:
    return JobRequest(
        queue=queue,
        key=f"k{key}",
        payload=f"{payload}",
        priority=priority,
        run_at=0,
        attempts_max=attempts_max,
    )


a_job = st.builds(
    request_of,
    queue=a_queue,
    key=st.integers(0, 20),
    payload=st.sampled_from([0, 0, 0, 1]),
    priority=st.integers(-1, 1),
    attempts_max=st.integers(1, 4),
)
