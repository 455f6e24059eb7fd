"""Reading RSS and Atom feeds: what is there, and what is new."""

from __future__ import annotations

import calendar
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from supervisor.errors import HttpFailed, RequestRefused, SupervisorError

if TYPE_CHECKING:
    from supervisor import Context

_NOT_MODIFIED = 304
_OK = 200
_ID_MAX = 300
_TEXT_MAX = 2_000
_ITEMS_MAX = 1_000
_KEPT_MIN = 200


class FeedNotRead(SupervisorError):
    """A feed could not be read this time; its items wait, the other feeds go on."""

    code = "feed_not_read"


class FeedMemory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is remembered of a feed: what it was asked with last, and the ids of known items."""

    etag: str = ""
    modified: str = ""
    seen: tuple[str, ...] = ()


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a feed, as its author wrote it; `published` is empty where nobody says."""

    id: str
    title: str
    link: str
    summary: str
    published: str


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A feed as it is now: its title, its new items, the newest first, and what to remember."""

    title: str
    items: tuple[Item, ...]
    memory: FeedMemory


async def read_feed(ctx: Context, url: str, memory: FeedMemory) -> Reading:
    """Ask a feed what is new, by a conditional GET.

    Raises:
        FeedNotRead: it could not be reached, may not be, or is no feed.
        Refusal: a gate said no.
    """
    headers = {}
    if memory.etag:
        headers["If-None-Match"] = memory.etag
    if memory.modified:
        headers["If-Modified-Since"] = memory.modified
    try:
        answer = await ctx.http.get(url, headers=headers)
    except HttpFailed as error:
        raise _not_read(url, f"could not be fetched: {error.what}", error.fix) from error
    except RequestRefused as error:
        raise _not_read(url, f"may not be fetched: {error.what}", error.fix) from error
    if answer.status_code == _NOT_MODIFIED:
        return Reading(title="", items=(), memory=memory)
    if answer.status_code != _OK:
        fix = "open it in a browser; take it out of the options where it is gone"
        raise _not_read(url, f"answered {answer.status_code}", fix)
    parsed = await anyio.to_thread.run_sync(_parse, answer.content, answer.headers)
    if parsed is None:
        fix = "give the address of the RSS or Atom feed itself, not of a page"
        raise _not_read(url, "is no RSS or Atom feed", fix)
    title, items = parsed
    return _compared(title, items, memory, answer.headers)


def _compared(title: str, items: Sequence[Item], memory: FeedMemory, headers: Any) -> Reading:
    known = set(memory.seen)
    fresh = tuple(item for item in items if item.id not in known)
    # What the feed has now is never forgotten while it has it; of what is gone, the latest is kept.
    present = tuple(dict.fromkeys(item.id for item in items))
    gone = tuple(one for one in memory.seen if one not in set(present))
    return Reading(
        title=title,
        items=fresh,
        memory=FeedMemory(
            etag=headers.get("etag", "")[:_ID_MAX],
            modified=headers.get("last-modified", "")[:_ID_MAX],
            seen=(*present, *gone[: max(_KEPT_MIN, len(present))]),
        ),
    )


def _not_read(url: str, what: str, fix: str) -> FeedNotRead:
    return FeedNotRead(subject=f"feed {url}", what=what, fix=fix)


def _parse(content: bytes, headers: Any) -> tuple[str, list[Item]] | None:
    """Return a feed's title and its items, the newest first as the feed has them; None for none."""
    import feedparser

    kept = {"content-type": headers.get("content-type", "application/xml")}
    parsed = feedparser.parse(content, response_headers=kept)
    if not parsed.version:
        return None
    title = str(parsed.feed.get("title", ""))[:_TEXT_MAX]
    return title, [_item(entry) for entry in parsed.entries[:_ITEMS_MAX]]


def _item(entry: Any) -> Item:
    title, link = str(entry.get("title", "")), str(entry.get("link", ""))
    summary = str(entry.get("summary", ""))
    named = str(entry.get("id", "")) or link
    # Long or missing names are known by their hash, so that the memory stays small.
    digest = hashlib.sha256(f"{named}\n{'' if named else title + summary}".encode()).hexdigest()
    moment = entry.get("published_parsed") or entry.get("updated_parsed")
    return Item(
        id=digest[:24],
        title=title[:_TEXT_MAX],
        link=link[:_TEXT_MAX],
        summary=summary[:_TEXT_MAX],
        published=_day(moment),
    )


def _day(moment: Any) -> str:
    try:
        seconds = calendar.timegm(moment) if moment else None
        at = None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return ""
    return f"{at:%Y-%m-%d %H:%M}" if at else ""
