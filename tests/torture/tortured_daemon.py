"""The real daemon as a process that can be told where to die; run by the harness alone."""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
from pathlib import Path

from supervisor.cli.main import exit_code
from supervisor.config import load
from supervisor.errors import SupervisorError
from supervisor.launch import run_daemon
from tests.torture.fault_points import POINTS, open_tapped

_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """Let the kernel end this process with the harness, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == 1:
            sys.exit("the harness has ended before this process began")


def _run() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--report-to", type=int, required=True)
    parser.add_argument("--fatal", default="")
    parser.add_argument("--passage", type=int, default=1)
    parser.add_argument("--delay-s", type=float, default=0.0)
    told = parser.parse_args()
    _die_with_parent()
    os.set_inheritable(told.report_to, False)
    POINTS.arm(
        report_to=told.report_to,
        fatal=told.fatal,
        passage=told.passage,
        delay_s=told.delay_s,
    )
    try:
        return run_daemon(load(told.config), open_store=open_tapped)
    except SupervisorError as error:
        sys.stderr.write(f"error[{error.code}]: {error}\n")
        return exit_code(error, "run")


if __name__ == "__main__":
    sys.exit(_run())
