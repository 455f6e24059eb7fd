"""A feed on loopback that its test changes, breaks and mends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_ITEM = "<item><title>{0}</title><guid>{0}</guid><link>http://example.test/{0}</link></item>"


class FeedServer:
    """Where the feed is, and what it answers; `asked` are the conditions of each request."""

    def __init__(self) -> None:
        self.url = ""
        self.titles: list[str] = []
        self.is_broken = False
        self.asked: list[str] = []

    def break_it(self) -> None:
        """Answer with a page from now on."""
        self.is_broken = True

    def mend(self, *titles: str) -> None:
        """Answer with the feed again, and these items besides."""
        self.titles += titles
        self.is_broken = False

    def body(self) -> str:
        if self.is_broken:
            return "<html><body>This feed has gone.</body></html>"
        items = "".join(_ITEM.format(title) for title in self.titles)
        return f"<rss version='2.0'><channel><title>News</title>{items}</channel></rss>"


@contextmanager
def serving_feed(*titles: str) -> Iterator[FeedServer]:
    """Serve a feed with these items while the block runs; it answers 304 where nothing is new."""
    feed = FeedServer()
    feed.titles = list(titles)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer with the feed, with 304, or that there is no robots.txt."""
            if self.path == "/robots.txt":
                self.send_error(404)
                return
            etag = f'"{len(feed.titles)}-{feed.is_broken}"'
            feed.asked.append(self.headers.get("If-None-Match", ""))
            if feed.asked[-1] == etag:
                self.send_response(304)
                self.end_headers()
                return
            body = feed.body().encode()
            self.send_response(200)
            self.send_header("ETag", etag)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        feed.url = f"http://127.0.0.1:{server.server_port}/feed.xml"
        serving = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        serving.start()
        try:
            yield feed
        finally:
            server.shutdown()
            serving.join()
