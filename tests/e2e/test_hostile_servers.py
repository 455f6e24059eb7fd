"""`ctx.http` of the real daemon against a server that means harm: a bounded, clear end of each."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tests.e2e.conftest import Measure
from tests.e2e.daemon_process import Installation, RunningDaemon, wait_until
from tests.e2e.hostile_site import PRIVATE, HostileSite, hostile_site

TOTAL_S = 3.0
READ_S = 1.0
#: Of the daemon, above what it has before: a body of the default bound, twice, and the libraries.
GROWTH_MAX_MB = 48.0

#: How each ends, and what its message says.
ENDS: Mapping[str, tuple[str, str]] = {
    "length_of_10_gb": ("too_large", "body_max_bytes"),
    "no_length": ("too_large", "body_max_bytes"),
    "chunks_without_end": ("too_large", "body_max_bytes"),
    "chunks_of_a_byte": ("too_large|timeout", "body_max_bytes|total_timeout_s"),
    "chunk_line_without_end": ("broken", "answer"),
    "trailers_without_end": ("broken", "answer"),
    "loris_before_the_head": ("timeout", "total_timeout_s"),
    "loris_in_the_head": ("timeout", "total_timeout_s"),
    "loris_in_the_body": ("timeout", "total_timeout_s"),
    "loris_in_a_chunk": ("timeout", "total_timeout_s"),
    "silence": ("timeout", "read_timeout_s"),
    "headers_without_end": ("broken", "answer"),
    "header_without_end": ("broken", "answer"),
    "hints_without_end": ("timeout", "total_timeout_s"),
    "gzip_bomb": ("too_large", "body_max_bytes"),
    "gzip_bomb_of_one_member": ("too_large", "body_max_bytes"),
    "deflate_bomb": ("too_large", "body_max_bytes"),
    "brotli": ("broken", "'br', not asked for"),
    "zstd": ("broken", "'zstd', not asked for"),
    "gzip_in_gzip": ("broken", "'gzip, gzip', not asked for"),
    "later_tomorrow": ("rate_limited", "asks to wait 86400 s"),
    "later": ("rate_limited", "asked not to be called for another 86"),
    "circle": ("redirects", "redirects_max"),
    "to_a_forbidden_host": ("host", "not on the worker's list"),
    "to_a_file": ("scheme|broken", "http"),
    # What is no URL to httpx goes nowhere either.
    **{f"to_private_{number}": ("address|broken", "") for number in range(len(PRIVATE))},
    "garbage": ("broken", "answer"),
    "well": ("200", "well"),
}
POLITE: Mapping[str, tuple[str, str]] = {
    "forbids": ("robots", "forbids it"),
    "fails": ("robots", "answered with 500"),
    "huge": ("robots", "forbids it"),
    "huge_by_length": ("robots", "body_max_bytes"),
    "loris": ("timeout", "total_timeout_s"),
    "bomb": ("200", "page"),
    "circle": ("robots", "circles"),
    "elsewhere": ("robots", "could not be read"),
    "slowest": ("200", "page"),
    "many_stars": ("200", "page"),
    "none": ("200", "page"),
}


#: Addresses that are looked at as names: let through as such, so that what they lead to decides.
SPELLINGS = [
    f"{name}:*" for name in ("localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0")
]


class End(msgspec.Struct, frozen=True):
    """What came of one URL."""

    reason: str
    text: str
    s: float


def configure(site: Installation, there: HostileSite) -> None:
    shutil.copy(Path(__file__).with_name("fetching_workers.py"), site.folder)
    given: dict[str, object] = {"run": "fetching_workers:fetches", "every_s": 3_600.0}
    bounds: dict[str, object] = {
        "total_timeout_s": TOTAL_S,
        "read_timeout_s": READ_S,
        "host_every_s": 0.0,
    }
    site.configure(
        {
            "worker": {
                "plain": {
                    **given,
                    "tick_timeout_s": 300.0,
                    "options": {"urls": there.plain},
                    "http": {
                        "allow": ["127.0.0.2:*", "127.0.0.3:*", *SPELLINGS],
                        "private": ["127.0.0.2", "127.0.0.3"],
                        "robots": False,
                        **bounds,
                    },
                },
                "polite": {
                    **given,
                    "tick_timeout_s": 300.0,
                    "options": {"urls": there.polite},
                    "http": {"allow": ["*:*"], "private": ["127.0.1.0/24"], **bounds},
                },
            }
        }
    )


def ends(site: Installation, worker: str) -> dict[str, End]:
    path = site.state_dir / "workers" / worker / "ends.json"
    if not path.exists():
        return {}
    return msgspec.convert(json.loads(path.read_bytes()), dict[str, End])


def unlike(wanted: Mapping[str, tuple[str, str]], found: Mapping[str, End]) -> list[str]:
    """Return what did not end as it should have, or not in time."""
    assert found.keys() == wanted.keys()
    return [
        f"{name}: {found[name]}"
        for name, (reason, said) in wanted.items()
        if not re.fullmatch(reason, found[name].reason)
        or not re.search(said, found[name].text)
        or found[name].s > TOTAL_S + 2.0
    ]


def high_water_mb(daemon: RunningDaemon) -> float:
    """Return the most memory that the process has ever had in RAM."""
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1_000


def test_each_request_to_a_hostile_server_has_a_bounded_and_clear_end(
    on_both: Installation, measure: Measure
) -> None:
    with hostile_site() as there:
        configure(on_both, there)
        daemon = on_both.start_ready()
        before_mb = high_water_mb(daemon)
        wait_until(lambda: ends(on_both, "plain"), what="all were tried", within_s=120)
        wait_until(lambda: ends(on_both, "polite"), what="all sites were asked", within_s=60)
        growth_mb = high_water_mb(daemon) - before_mb
        plain, polite = ends(on_both, "plain"), ends(on_both, "polite")
        wrong = unlike(ENDS, plain) + unlike(POLITE, polite)
        assert wrong == [], "\n".join(wrong)
        assert growth_mb < GROWTH_MAX_MB
        assert daemon.metric("supervisor_loop_lag_seconds") < 1.0
        assert daemon.get("/healthz").status_code == 200
        # Whatever was tried, nobody has reached what was not to be reached.
        assert there.end() == []
        assert daemon.stop() == 0
    slowest = max([*plain.items(), *polite.items()], key=lambda one: one[1].s)
    measure(
        f"{len(plain) + len(polite)} hostile answers",
        f"+{growth_mb:.1f} MB of {before_mb:.0f}; slowest {slowest[0]}, {slowest[1].s:.2f} s",
    )
    on_both.check_audit()
