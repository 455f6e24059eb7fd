"""Reading a folder of messages: plain files, `.eml`, or a Maildir. Nothing is moved or changed."""

from __future__ import annotations

import hashlib
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import msgspec

from supervisor.errors import SupervisorError

_FILES_MAX = 10_000
_BYTES_MAX = 1_000_000
_TEXT_MAX = 4_000
_HEADER_MAX = 300
_LIST_HEADERS = ("List-Unsubscribe", "List-Id", "Precedence")


class InboxNotRead(SupervisorError):
    """The inbox could not be read this time; its messages wait."""

    code = "inbox_not_read"


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One message, as far as it is looked at; `is_bulk` says that it went to a list of people."""

    id: str
    name: str
    sender: str
    subject: str
    text: str
    is_bulk: bool


def list_letters(folder: Path) -> list[tuple[str, Path]]:
    """Return the id and the file of each message, by name.

    Raises:
        InboxNotRead: the folder is not there or can't be read.
    """
    try:
        folders = [folder / "new", folder / "cur"] if (folder / "cur").is_dir() else [folder]
        files = [
            file
            for one in folders
            if one.is_dir()
            for file in one.iterdir()
            if file.is_file() and not file.is_symlink() and not file.name.startswith(".")
        ]
        if not folder.is_dir():
            raise NotADirectoryError(str(folder))
    except OSError as error:
        raise InboxNotRead(
            subject=f"inbox {folder}",
            what=f"can't be read: {error.strerror or 'it is no folder'}",
            fix="name a folder of messages or a Maildir that this user may read",
        ) from error
    # Of a Maildir's name, what comes after the colon are flags, which change.
    found = {_id(file.name.partition(":2,")[0]): file for file in files}
    return sorted(found.items(), key=lambda one: one[1].name)[:_FILES_MAX]


def _id(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:24]


def read_letter(letter_id: str, file: Path) -> Letter | None:
    """Return a message, None where its file has gone meanwhile."""
    try:
        with file.open("rb") as opened:
            raw = opened.read(_BYTES_MAX)
    except OSError:
        return None
    name = file.name.encode(errors="replace").decode(errors="replace")
    parsed: EmailMessage = message_from_bytes(raw, policy=policy.default)
    if not (parsed["From"] or parsed["Subject"]):
        return Letter(
            id=letter_id,
            name=name,
            sender="",
            subject=name,
            text=raw.decode(errors="replace")[:_TEXT_MAX],
            is_bulk=False,
        )
    return Letter(
        id=letter_id,
        name=name,
        sender=str(parsed["From"] or "")[:_HEADER_MAX],
        subject=str(parsed["Subject"] or "(no subject)")[:_HEADER_MAX],
        text=_body(parsed)[:_TEXT_MAX],
        is_bulk=any(parsed[header] for header in _LIST_HEADERS),
    )


def _body(parsed: EmailMessage) -> str:
    part = parsed.get_body(preferencelist=("plain", "html"))
    if part is None:
        return ""
    try:
        return str(part.get_content())
    except (LookupError, ValueError, KeyError):
        # A charset that nobody knows, or a body that is not what its headers say.
        payload = part.get_payload(decode=True)
        return payload.decode(errors="replace") if isinstance(payload, bytes) else ""
