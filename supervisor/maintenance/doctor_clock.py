"""What `supervisor doctor` finds of the machine's clock."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from supervisor.maintenance.doctor_site import Finding

_LOCALTIME = Path("/etc/localtime")
_ZONES = "zoneinfo/"
#: This program is younger than that.
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
#: As systemd's `timedatectl` has it (ntp_synced, read 2026-11-21): the kernel adds to the error of
#: a clock that nobody corrects until it is above this.
_ERROR_MAX_US = 16_000_000
_TIMEX_BYTES = 1_024


class _Timex(ctypes.Structure):
    """The beginning of adjtimex(2)'s structure; a mode of 0 changes nothing."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("rest", ctypes.c_char * _TIMEX_BYTES),
    )


def examine_clock(
    now: datetime, *, is_kept_right: bool | None, unsaid_zone: str = ""
) -> Iterator[Finding]:
    """Look at the clock: its year, who keeps it right, and whose time cron expressions mean.

    `is_kept_right` is None where nobody can tell; `unsaid_zone` is the machine's timezone where
    the config names none and has cron expressions.
    """
    if now < _EPOCH:
        what = f"says {now.date()}, before this program was written"
        fix = "set it (`timedatectl set-time`, or a time service) before the daemon starts"
        yield Finding(area="clock", what=what, fix=fix)
    if is_kept_right is False:
        what = "is kept right by nobody that the kernel knows of; the spend day goes by it"
        fix = "`timedatectl set-ntp true`, or see that the machine's host does it"
        yield Finding(area="clock", what=what, fix=fix, is_hint=True)
    if unsaid_zone not in ("", "UTC", "Etc/UTC", "Universal", "Etc/Universal"):
        what = f"shows {unsaid_zone} here, and the config names no timezone: its cron is in UTC"
        fix = f'write [supervisor] timezone = "{unsaid_zone}", or "UTC" if that is meant'
        yield Finding(area="clock", what=what, fix=fix, is_hint=True)


def is_kept_right() -> bool | None:
    """Return whether the kernel has heard from a time service of late, None where it can't tell."""
    try:
        adjtimex = ctypes.CDLL(None).adjtimex
    except (OSError, AttributeError):
        return None  # not Linux
    timex = _Timex()
    if adjtimex(ctypes.byref(timex)) < 0:
        return None  # a sandbox forbids to ask
    return bool(timex.maxerror < _ERROR_MAX_US)


def machine_zone(localtime: Path = _LOCALTIME) -> str:
    """Return the name of the machine's timezone, empty where it has none that can be told."""
    try:
        target = str(localtime.readlink())
    except OSError:
        return ""
    return target.partition(_ZONES)[2]
