"""Keeping secrets out of all that is written: logs, events, the store, metrics, alerts, reports."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar, cast
from urllib.parse import quote, quote_plus

import msgspec

REDACTED = "[redacted]"
#: Of a secret that is known by its value: a shorter one would be found in names and numbers.
SECRET_CHARS_MIN = 8

T = TypeVar("T")

# Keys that say by their form that they are some: the vendors' own forms, and RFC 7468's blocks.
# None of them matches a quotation mark or a backslash, so that no match leaves a JSON text, but for
# the line ends of a block, which JSON spells \n.
_BLOCK_MARK = "-----{} [A-Z0-9 ]{{0,40}}PRIVATE KEY(?: BLOCK)?-----"
_FORMS = (
    r"\b[sr]k[-_](?:live|test|ant|proj|or|svcacct)?[A-Za-z0-9_-]{16,}",
    r"\bgh[pousr]_[A-Za-z0-9]{20,}",
    r"\bgithub_pat_[A-Za-z0-9_]{20,}",
    r"\bglpat-[A-Za-z0-9_-]{16,}",
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    r"\bAIza[0-9A-Za-z_-]{30,}",
    r"\bxox[abeprs]-[A-Za-z0-9-]{10,}",
    r"\bhf_[A-Za-z0-9]{20,}",
    r"\b(?:npm_|pypi-)[A-Za-z0-9_-]{20,}",
    r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
    r"(?<=[Bb]earer )[A-Za-z0-9._~+/=-]{8,}",
    r"(?<=BEARER )[A-Za-z0-9._~+/=-]{8,}",
    r"(?<=uthorization: Basic )[A-Za-z0-9+/=]{4,}",
    r"(?<=://)[^\s/:@\"'\\]{1,200}:[^\s/@\"'\\]{1,200}(?=@)",
    _BLOCK_MARK.format("BEGIN")
    + r"(?:\\[nrt]|[\w+/=\s:,.])*(?:"
    + _BLOCK_MARK.format("END")
    + ")?",
)
_FORM = re.compile("|".join(_FORMS))
#: One of these stands in every text that a form matches: looking for them is far cheaper.
_MARKS = (
    "sk-", "sk_", "rk-", "rk_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-",
    "AKIA", "ASIA", "AIza", "xox", "hf_", "npm_", "pypi-", "eyJ", "earer ", "EARER ",
    "uthorization: B", "://", "PRIVATE KEY",
)  # fmt: skip


#: A payload is cleaned before its hash is taken, and counters hold numbers under fixed words.
_CLEANED_BEFORE = frozenset({"payload", "counters"})
_REMEMBERED_CHARS_MAX = 256
_REMEMBERED_MAX = 4_096


class Redaction:
    """What of this process's texts is secret. Known secrets are only ever added.

    There is one of a process (`REDACTION`): whatever writes can't be made without it.
    """

    def __init__(self) -> None:
        self._secrets: tuple[str, ...] = ()
        self._marks: tuple[str, ...] = _MARKS
        self._clean: set[str] = set()

    def learn(self, secrets: Iterable[str]) -> None:
        """Know more secrets by their values, in the forms that they take in JSON and in URLs."""
        forms = set(self._secrets)
        for secret in secrets:
            if len(secret) >= SECRET_CHARS_MIN:
                forms |= _forms(secret)
        # The longest first: one may be the beginning of another.
        self._know(tuple(sorted(forms, key=len, reverse=True)))

    def forget_all(self) -> None:
        """Know no secrets any more but by their form: for tests, which share a process."""
        self._know(())

    def _know(self, secrets: tuple[str, ...]) -> None:
        self._secrets, self._marks = secrets, (*_MARKS, *secrets)
        self._clean.clear()

    def text(self, text: str) -> str:
        """Return `text` without its secrets; where it is JSON, it is so afterwards."""
        if text in self._clean or not self._may_hold_one(text):
            return text
        return self._cleaned(text)

    def _may_hold_one(self, text: str) -> bool:
        if len(text) < SECRET_CHARS_MIN:
            return False
        for mark in self._marks:
            if mark in text:
                return True
        # Names and ids come again and again: looking one up is ten times as fast as looking at it.
        if len(text) <= _REMEMBERED_CHARS_MAX:
            if len(self._clean) >= _REMEMBERED_MAX:
                self._clean.clear()
            self._clean.add(text)
        return False

    def _cleaned(self, text: str) -> str:
        if text[0] in '{["':
            try:
                inside = msgspec.json.decode(text)
            except (msgspec.DecodeError, RecursionError):
                return self._plain(text)
            cleaned = self.value(inside)
            return text if cleaned == inside else msgspec.json.encode(cleaned).decode()
        return self._plain(text)

    def _plain(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, REDACTED)
        return _FORM.sub(REDACTED, text)

    def value(self, value: object) -> object:
        """Return a JSON value without the secrets in its texts and names."""
        match value:
            case str():
                return self._plain(value)
            case Mapping():
                return {self._plain(str(key)): self.value(inner) for key, inner in value.items()}
            case list() | tuple():
                return [self.value(inner) for inner in value]
            case _:
                return value

    def payload(self, event: msgspec.Struct, encoded: str) -> str:
        """Return an event's JSON, `encoded`, without the secrets in its fields."""
        clean = self._clean
        for value in msgspec.structs.astuple(event):
            if isinstance(value, str):
                if value not in clean and self._may_hold_one(value):
                    return self._cleaned(encoded)
            elif not isinstance(value, int | float | None):
                return self.text(encoded)
        return encoded

    def values(self, values: Mapping[str, T]) -> Mapping[str, T]:
        """Return a statement's parameters, their texts without secrets; mostly the same object."""
        for name, value in values.items():
            if not isinstance(value, str) or name in _CLEANED_BEFORE or value in self._clean:
                continue
            if self._may_hold_one(value):
                return {name: cast("T", self._param(value)) for name, value in values.items()}
        return values

    def row(self, names: tuple[str, ...], row: tuple[T, ...]) -> tuple[T, ...]:
        """Return a row's values, as `values` does; `names` are those of its columns."""
        if not _CLEANED_BEFORE.isdisjoint(names):
            return row
        clean = self._clean
        for value in row:
            # In this order: nearly all are numbers, or texts that were looked at before.
            if isinstance(value, str) and value not in clean and self._may_hold_one(value):
                return tuple(cast("T", self._param(value)) for value in row)
        return row

    def _param(self, value: object) -> object:
        return self.text(value) if isinstance(value, str) else value


def _forms(secret: str) -> set[str]:
    """Return a secret as it stands in a text, in JSON, in what Python shows, and in a URL."""
    storable = secret.encode("utf-8", "backslashreplace").decode()
    in_json = msgspec.json.encode(storable).decode()[1:-1]
    shown = repr(secret)[1:-1]
    quoted = shown.replace("'", "\\'")
    in_url = {quote(storable, safe=""), quote(storable), quote_plus(storable)}
    return {secret, storable, in_json, shown, quoted} | in_url


#: This process's.
REDACTION = Redaction()
