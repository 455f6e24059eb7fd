"""A server that means harm, in a process of its own: `python -m tests.e2e.hostile_site`.

It prints its ports as JSON, and serves until its standard input ends.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager

from tests.e2e.daemon_process import ROOT
from tests.unit.worker.hostile_server import (
    Conduct,
    answer,
    dripping,
    endless,
    hostile,
    raw,
    redirect,
    repeating,
)

GB = 10**9
_HEAD = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def _gzip_members() -> bytes:
    """100 MB of zeros in 100 KB; any number of them, one after the other, is gzip too."""
    return gzip.compress(b"\0" * 100_000_000, 1)


def _one_gzip_member() -> tuple[bytes, bytes]:
    """The beginning of one member without an end, and a piece that goes on with 64 MB of zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    beginning = packer.compress(b"\0") + packer.flush(zlib.Z_SYNC_FLUSH)
    piece = packer.compress(b"\0" * 64_000_000) + packer.flush(zlib.Z_SYNC_FLUSH)
    return beginning, piece


def _conducts(inner: int) -> Mapping[str, Conduct]:
    zipped, (beginning, piece) = _gzip_members(), _one_gzip_member()
    packed = _HEAD + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n"
    deflated = zlib.compress(b"\0" * 100_000_000, 1)
    return {
        "length_of_10_gb": endless(head=f"Content-Length: {10 * GB}\r\n"),
        "no_length": endless(),
        "chunks_without_end": repeating(_CHUNKED, b"10000\r\n" + b"x" * 65_536 + b"\r\n"),
        "chunks_of_a_byte": repeating(_CHUNKED, b"1\r\nx\r\n" * 10_000),
        "chunk_line_without_end": repeating(_CHUNKED, b"0" * 65_536),
        "trailers_without_end": repeating(_CHUNKED + b"0\r\n", b"X-A: aaaaaaaa\r\n" * 4_000),
        "loris_before_the_head": dripping(b""),
        "loris_in_the_head": dripping(_HEAD + b"X-A: "),
        "loris_in_the_body": dripping(_HEAD + b"Content-Length: 100000\r\n\r\n"),
        "loris_in_a_chunk": dripping(_CHUNKED + b"10000\r\n"),
        "silence": dripping(b"", every_s=3_600.0),
        "headers_without_end": repeating(_HEAD, b"X-A: aaaaaaaa\r\n" * 4_000),
        "header_without_end": repeating(_HEAD + b"X-A: ", b"a" * 65_536),
        "hints_without_end": repeating(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2_000),
        "gzip_bomb": repeating(packed, zipped),
        "gzip_bomb_of_one_member": repeating(packed + beginning, piece),
        "deflate_bomb": answer(deflated, headers="Content-Encoding: deflate\r\n"),
        "brotli": answer(b"\0" * 1_000, headers="Content-Encoding: br\r\n"),
        "zstd": answer(b"\0" * 1_000, headers="Content-Encoding: zstd\r\n"),
        "gzip_in_gzip": answer(gzip.compress(zipped), headers="Content-Encoding: gzip, gzip\r\n"),
        "later_tomorrow": answer(
            b"", status="429 Too Many Requests", headers="Retry-After: 86400\r\n"
        ),
        "later": answer(b"", status="429 Too Many Requests"),
        "circle": redirect("/circle"),
        "to_a_forbidden_host": redirect("http://forbidden.test/"),
        "to_a_file": redirect("file:///etc/passwd"),
        **{
            f"to_private_{number}": redirect(host.format(port=inner))
            for number, host in enumerate(PRIVATE)
        },
        "garbage": raw(b"\0" * 100_000),
        "well": answer(b"well"),
    }


PRIVATE = (
    "http://127.0.0.1:{port}/secret",
    "http://localhost:{port}/secret",
    "http://[::1]:{port}/secret",
    "http://[::ffff:127.0.0.1]:{port}/secret",
    "http://[::ffff:7f00:1]:{port}/secret",
    "http://[64:ff9b::7f00:1]:{port}/secret",
    "http://2130706433:{port}/secret",
    "http://0x7f000001:{port}/secret",
    "http://0177.0.0.1:{port}/secret",
    "http://127.1:{port}/secret",
    "http://0:{port}/secret",
    "http://0.0.0.0:{port}/secret",
    "http://①②⑦.0.0.1:{port}/secret",
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/",
)

#: Each a site of its own, as robots.txt is read once for each: what it answers for that.
ROBOTS: Mapping[str, Conduct] = {
    "forbids": answer(b"User-agent: *\nDisallow: /\n"),
    "fails": answer(b"", status="500 Oops"),
    "huge": endless(chunk=b"User-agent: *\nDisallow: /page\n" * 2_000),
    "huge_by_length": endless(head=f"Content-Length: {10 * GB}\r\n"),
    "loris": dripping(_HEAD + b"X-A: "),
    "bomb": answer(_gzip_members(), headers="Content-Encoding: gzip\r\n"),
    "circle": redirect("/robots.txt"),
    "elsewhere": redirect("http://10.0.0.1/robots.txt"),
    "slowest": answer(b"User-agent: *\nCrawl-delay: 1000000000\n"),
    "many_stars": answer(b"User-agent: *\nDisallow: /" + b"*p*a*g*e" * 50_000 + b"$\n"),
    "none": answer(b"", status="404 Not Found"),
}


async def _serve() -> None:
    async with AsyncExitStack() as stack:
        inner = await stack.enter_async_context(hostile(secret=answer(b"inside")))
        conducts = _conducts(inner.port)
        site = await stack.enter_async_context(hostile("127.0.0.2", **conducts))
        # Another host for what asks to be left alone.
        shy = await stack.enter_async_context(hostile("127.0.0.3", **conducts))
        robots = {
            name: await stack.enter_async_context(
                hostile(f"127.0.1.{number}", robots_txt=conduct, page=answer(b"page"))
            )
            for number, (name, conduct) in enumerate(ROBOTS.items(), start=1)
        }
        urls = {name: f"{site.url}/{name}" for name in conducts}
        urls |= {name: f"{shy.url}/{name}" for name in conducts if name.startswith("later")}
        polite = {name: f"{one.url}/page" for name, one in robots.items()}
        _tell({"plain": urls, "polite": polite})
        await asyncio.to_thread(sys.stdin.read)
        _tell({"inside": inner.heads})


def _tell(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class HostileSite:
    """The URLs of each conduct, `plain` and of sites with a robots.txt (`polite`)."""

    def __init__(self, process: subprocess.Popen[str], told: dict[str, dict[str, str]]) -> None:
        self._process = process
        self.plain = told["plain"]
        self.polite = told["polite"]

    def end(self) -> list[str]:
        """End it, and return what was asked of the server that nobody was to reach."""
        rest, _ = self._process.communicate(timeout=20)
        heads: list[str] = json.loads(rest)["inside"]
        return heads


@contextmanager
def hostile_site() -> Iterator[HostileSite]:
    """Serve while the block runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.hostile_site"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield HostileSite(process, json.loads(process.stdout.readline()))
    finally:
        process.kill()
        process.wait(20)


if __name__ == "__main__":
    asyncio.run(_serve())
