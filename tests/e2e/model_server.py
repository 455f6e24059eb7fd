"""A real model behind a real OpenAI-compatible server, in a process of its own.

Run as a script it is that process: it prints its address, and ends when its stdin does.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO

MODEL_NAME = "smollm2"

_CONTEXT_TOKENS = 2048
_START_S = 60.0
_STOP_S = 10.0


@dataclass(frozen=True, kw_only=True)
class ModelServer:
    """Where it answers (with `/v1`), and its process, which a test may kill."""

    base_url: str
    process: subprocess.Popen[str]


@contextmanager
def running_model_server() -> Iterator[ModelServer]:
    """Start the server, and stop it at the end.

    Skips the test where the parts are missing; fails it where the environment has `CI` set.
    """
    path = require_parts()
    with tempfile.TemporaryFile("w+") as log:
        command = [sys.executable, __file__, str(path)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
        try:
            yield ModelServer(base_url=_address(process, log), process=process)
        finally:
            _stop(process)


def require_parts() -> Path:
    """Return the model's file, or skip, or fail under CI."""
    import pytest

    from tests.e2e.fetch_parts import missing_parts, model_path

    missing = missing_parts()
    if missing:
        reason = f"missing: {', '.join(missing)}; run `python tests/e2e/fetch_parts.py`"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return model_path()


def _address(process: subprocess.Popen[str], log: IO[str]) -> str:
    """Wait for the line with the address, up to a deadline."""
    assert process.stdout
    deadline = time.monotonic() + _START_S
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.select(max(deadline - time.monotonic(), 0))
        line = process.stdout.readline() if selector.select(0) else ""
    if not line.startswith("http"):
        log.seek(0)
        raise RuntimeError(f"the model server did not start in {_START_S} s: {log.read()[-2000:]}")
    return f"{line.strip()}/v1"


def _stop(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    assert process.stdout
    process.stdin.close()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_STOP_S)
    process.stdout.close()


def _serve(path: str) -> None:
    """Serve until stdin ends, which it does when the parent ends, however it ends."""
    # Imported by name: it has no types, and need not be there when they are checked.
    xllamacpp = import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.model_alias = {MODEL_NAME}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = _CONTEXT_TOKENS
    params.n_parallel = 1
    params.n_threads_http = 2
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    # The server's threads would outlive the interpreter's own end.
    os._exit(0)


if __name__ == "__main__":
    _serve(sys.argv[1])
