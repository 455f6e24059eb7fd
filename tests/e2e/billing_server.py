"""A paid model behind a real OpenAI-compatible server, in a process of its own, that counts.

Each call is a line in a file, on disk before anything is answered: what is billed stays billed,
whoever dies. Run as a script it is that process: it prints its port, and ends when its stdin does.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal, TypedDict

Does = Literal[
    "answer",
    "no_usage",
    "above_max_tokens",
    "rate_limited",
    "server_error",
    "closed",
    "garbage",
    "hang",
]


#: Where a call may stop until its client is gone: asked but not billed; billed; the headers sent;
#: half of the body sent; all of it sent.
Stop = Literal["asked", "billed", "begun", "half", "answered"]


class Step(TypedDict, total=False):
    """What one call meets; all but `rate_limited` bill their output as they begin.

    `latency_s` passes before anything comes back; `tokens` is the output where it is less than
    `max_tokens`; `extra_tokens` are billed and reported beyond `max_tokens` by
    `above_max_tokens`; `retry_after_s` belongs to `rate_limited`. A call that `stops_at` a point
    says so on the server's `stops` and stays there until its client is gone.
    """

    does: Does
    latency_s: float
    tokens: int
    extra_tokens: int
    retry_after_s: float
    stops_at: Stop


class Bill(TypedDict):
    """One call as the server has it on file; `at` in seconds since 1970."""

    does: Does
    model: str
    micro_usd: int
    at: float


MICRO_USD_PER_TOKEN = 100
CALL_TOKENS = 100
#: What a call of CALL_TOKENS is billed, and is held at.
CALL_MICRO_USD = MICRO_USD_PER_TOKEN * CALL_TOKENS
PRICE = {"input_usd_per_mtok": 0.0, "output_usd_per_mtok": float(MICRO_USD_PER_TOKEN)}

#: A model that is priced so high that few of its calls fit under a cap, and its prompt is billed.
DEAR = "dear"
DEAR_PRICE = {"input_usd_per_mtok": 10.0, "output_usd_per_mtok": 1_000.0}
#: What else than a model can be bought here: `POST /charges` with its `micro_usd`.
CHARGE = "charge"

_MICRO_USD_PER_TOKEN: Mapping[str, tuple[int, int]] = {DEAR: (10, 1_000)}
_STOP_S = 20.0
_PROMPT_TOKENS = 7
_PIECES = ("What was asked for, ", "and nothing ", "else.")


class BillingServer:
    """The server, as its test sees it."""

    def __init__(self, base_url: str, bills: Path, steps: Path, *, stops: int) -> None:
        self.base_url = base_url
        #: A descriptor to read: a line for each call that stops.
        self.stops = stops
        self._bills = bills
        self._steps = steps

    def provider(self, **options: object) -> dict[str, object]:
        """Return the section of a config that names this server as a paid model."""
        section = {"kind": "openai", "base_url": self.base_url, "price": PRICE, "attempts_max": 1}
        return {**section, **options}

    def script(self, *steps: Step) -> None:
        """Let the next calls meet these steps, and all that follow the last one."""
        fresh = self._steps.with_suffix(".new")
        fresh.write_text(json.dumps(steps), encoding="utf-8")
        fresh.replace(self._steps)

    def bills(self) -> list[Bill]:
        """Return every call that has arrived, in order."""
        lines = self._bills.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def billed_micro_usd(self) -> int:
        """Return the sum of all bills."""
        return sum(bill["micro_usd"] for bill in self.bills())


@contextmanager
def running_billing_server(folder: Path, *, port: int = 0) -> Iterator[BillingServer]:
    """Start a server whose files are in `folder`, and end it with the block; port 0 is a free one.

    One that was there before goes on with its bills.
    """
    bills, steps = folder / "bills.jsonl", folder / "steps.json"
    bills.touch()
    steps.write_text("[]", encoding="utf-8")
    stops, stopped = os.pipe()
    process = subprocess.Popen(
        [sys.executable, __file__, str(bills), str(steps), str(stopped), str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[stopped],
    )
    os.close(stopped)
    with process:
        assert process.stdin
        assert process.stdout
        try:
            # It answers or ends, so that this line comes or is empty.
            port = int(process.stdout.readline())
            yield BillingServer(f"http://127.0.0.1:{port}/v1", bills, steps, stops=stops)
        finally:
            process.stdin.close()
            _end(process)
            os.close(stops)


def _end(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()


class _Counter:
    """Writes the bills, and deals the steps out; its lock makes both one step."""

    def __init__(self, bills: Path, steps: Path) -> None:
        self._lock = threading.Lock()
        self._steps_path = steps
        self._dealt = 0
        self._version = (0, 0)
        self._steps: Sequence[Step] = ()
        self._file = os.open(bills, os.O_WRONLY | os.O_APPEND)

    def next_step(self) -> Step:
        """Return what the call that has just arrived meets."""
        with self._lock:
            return self._next_step()

    def bill(self, model: str, micro_usd: int, does: Does) -> None:
        """Put one call on file, on the disk before this returns."""
        bill: Bill = {"does": does, "model": model, "micro_usd": micro_usd, "at": time.time()}
        with self._lock:
            os.write(self._file, json.dumps(bill).encode() + b"\n")
            os.fsync(self._file)

    def _next_step(self) -> Step:
        stat = self._steps_path.stat()
        version = (stat.st_ino, stat.st_mtime_ns)
        if version != self._version:
            self._version, self._dealt = version, 0
            self._steps = json.loads(self._steps_path.read_text(encoding="utf-8"))
        self._dealt += 1
        return self._steps[min(self._dealt, len(self._steps)) - 1] if self._steps else {}


def _billed_tokens(step: Step, max_tokens: int) -> int:
    match step.get("does", "answer"):
        case "rate_limited":
            return 0
        case "above_max_tokens":
            return max_tokens + step.get("extra_tokens", 1)
        case _:
            return min(step.get("tokens", max_tokens), max_tokens)


def _cost_micro_usd(model: str, output_tokens: int) -> int:
    per_input, per_output = _MICRO_USD_PER_TOKEN.get(model, (0, MICRO_USD_PER_TOKEN))
    return (_PROMPT_TOKENS * per_input + output_tokens * per_output) if output_tokens else 0


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def __init__(self, counter: _Counter, *, stops: int, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.counter = counter
        self.stops = stops

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients are killed here all the time."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        """Bill the call, then do as its step says."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        step = self.server.counter.next_step()
        self._stop(step, "asked")
        if self.path.endswith("/charges"):
            self.server.counter.bill(CHARGE, body["micro_usd"], "answer")
            self._stop(step, "billed")
            time.sleep(step.get("latency_s", 0.0))
            self._answer(step, 200, b"{}")
            return
        model, tokens = body["model"], _billed_tokens(step, int(body["max_tokens"]))
        cost = _cost_micro_usd(model, tokens)
        self.server.counter.bill(model, cost, step.get("does", "answer"))
        self._stop(step, "billed")
        time.sleep(step.get("latency_s", 0.0))
        self._do(step, body, tokens)

    def _do(self, step: Step, body: dict[str, object], tokens: int) -> None:
        match step.get("does", "answer"):
            case "answer" | "above_max_tokens" if body.get("stream"):
                self._stream(step, body, tokens)
            case "answer" | "above_max_tokens":
                self._answer(step, 200, _completion(body, tokens))
            case "no_usage":
                self._answer(step, 200, _completion(body, None))
            case "rate_limited":
                after = {"retry-after": f"{step.get('retry_after_s', 0.0):g}"}
                self._answer(step, 429, _error("slow down"), headers=after)
            case "server_error":
                self._answer(step, 500, _error("the machine is on fire"))
            case "garbage":
                self._answer(step, 200, b"<html>Welcome</html>")
            case "closed":
                self._close_in_mid_body(_completion(body, tokens))
            case "hang":
                threading.Event().wait()

    def _stop(self, step: Step, here: Stop) -> None:
        """Stay here until the client is gone, if the step says so, and then go on regardless."""
        if step.get("stops_at") == here:
            os.write(self.server.stops, f"{here}\n".encode())
            with suppress(OSError):
                self.connection.recv(1)

    def _answer(
        self, step: Step, status: int, body: bytes, *, headers: dict[str, str] | None = None
    ) -> None:
        self._begin(status, headers or {}, length=len(body))
        self._stop(step, "begun")
        half = len(body) // 2
        self.wfile.write(body[:half])
        self._stop(step, "half")
        self.wfile.write(body[half:])
        self._stop(step, "answered")

    def _stream(self, step: Step, body: dict[str, object], tokens: int) -> None:
        self._begin(200, {"connection": "close"}, kind="text/event-stream")
        self._stop(step, "begun")
        for number, piece in enumerate(_PIECES):
            choice = {"index": 0, "delta": {"content": piece}, "finish_reason": None}
            self._send_event({"model": body["model"], "choices": [choice]})
            time.sleep(step.get("latency_s", 0.0) / len(_PIECES))
            if number == 0:
                self._stop(step, "half")
        self._send_event({"model": body["model"], "choices": [], "usage": _usage(tokens)})
        self.wfile.write(b"data: [DONE]\n\n")
        self._stop(step, "answered")
        self.close_connection = True

    def _send_event(self, chunk: dict[str, object]) -> None:
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")

    def _close_in_mid_body(self, body: bytes) -> None:
        self._begin(200, {}, length=len(body))
        self.wfile.write(body[: len(body) // 2])
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _begin(
        self,
        status: int,
        headers: Mapping[str, str],
        *,
        length: int | None = None,
        kind: str = "application/json",
    ) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        if length is not None:
            self.send_header("content-length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing: the bills are the record."""


def _completion(body: dict[str, object], output_tokens: int | None) -> bytes:
    message = {"role": "assistant", "content": "".join(_PIECES)}
    completion: dict[str, object] = {
        "id": "completion-1",
        "object": "chat.completion",
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "length"}],
    }
    if output_tokens is not None:
        completion["usage"] = _usage(output_tokens)
    return json.dumps(completion).encode()


def _usage(output_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": _PROMPT_TOKENS,
        "completion_tokens": output_tokens,
        "total_tokens": _PROMPT_TOKENS + output_tokens,
    }


def _error(message: str) -> bytes:
    return json.dumps({"error": {"message": message, "type": "server_error"}}).encode()


def _serve(bills: str, steps: str, stops: str, port: str) -> None:
    """Serve until stdin ends, which it does when the parent ends, however it ends."""
    server = _Server(_Counter(Path(bills), Path(steps)), stops=int(stops), port=int(port))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    sys.stdin.read()
    # Threads that hang would outlive the interpreter's own end.
    os._exit(0)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
