"""What stands at the other end of `heartbeat_ping_url`: a server that notes what it is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class PingReceiver:
    """Every ping in its order: the path after the URL, and the body."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.pings: list[tuple[str, str]] = []

    def failures(self) -> list[str]:
        """Return what each failure said."""
        return [body for path, body in self.pings if path == "/fail"]

    def last(self) -> str:
        """Return the path of the last ping, `none` where there is none yet."""
        return self.pings[-1][0] if self.pings else "none"


@contextmanager
def receiving_pings() -> Iterator[PingReceiver]:
    """Listen while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Note it and thank for it."""
            body = self.rfile.read(int(self.headers["content-length"] or 0)).decode()
            receiver.pings.append((self.path.removeprefix("/check"), body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = PingReceiver(f"http://127.0.0.1:{server.server_address[1]}/check")
        serving = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        serving.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            serving.join()
