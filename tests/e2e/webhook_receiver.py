"""A webhook that can be down: it answers 500, hangs up, or takes what it is told."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

State = Literal["up", "failing", "hanging up"]


class WebhookReceiver:
    """What arrived, by the message's `Idempotency-Key`, and how often it was tried in vain."""

    def __init__(self) -> None:
        self.url = ""
        self.state: State = "up"
        self.messages: list[dict[str, str]] = []
        self.keys: Counter[str] = Counter()
        self.refused = 0

    def told(self) -> list[str]:
        """Return the messages in their order, as `kind title`."""
        return [f"{message['kind']} {message['title']}" for message in self.messages]


@contextmanager
def receiving_webhooks() -> Iterator[WebhookReceiver]:
    """Listen while the block runs."""
    receiver = WebhookReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Take it, or do not, as the state is."""
            body = self.rfile.read(int(self.headers["content-length"] or 0))
            state = receiver.state
            if state == "hanging up":
                receiver.refused += 1
                self.close_connection = True
                return
            if state == "up":
                receiver.messages.append(json.loads(body))
                receiver.keys[self.headers["Idempotency-Key"]] += 1
            else:
                receiver.refused += 1
            self.send_response(200 if state == "up" else 500)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
        serving = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        serving.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            serving.join()
