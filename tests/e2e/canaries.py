"""Secrets that open nothing, made up anew in each run, and where they were found."""

from __future__ import annotations

import gzip
import json
import secrets
from collections.abc import Iterable, Mapping
from urllib.parse import quote, quote_plus

_HALF_CHARS = 12
_AROUND = 100


class Canaries:
    """Keys known by their form (`by_form`), and secrets that are known by their value alone."""

    def __init__(self) -> None:
        mark = secrets.token_hex(8)
        self.secret = f'open"sesame\\{mark} & the/door!=1'
        self.api_key = f"plain-looking-{mark}"
        self.hook = f"hook-{mark}"
        self.password = f"pass-{mark}"
        lines = (f"MIIEowIBAAKCAQEA{mark}", f"ZZZZlastline{mark}")
        token = f"canary.{mark}.token"
        self.by_form = [
            f"sk-canary{mark * 2}",
            f"ghp_canary{mark * 2}",
            f"AKIA{mark.upper()}",
            f"Bearer {token}",
            f"xoxb-1234567890-canary{mark}",
            f"-----BEGIN PRIVATE KEY-----\n{lines[0]}\n{lines[1]}\n-----END PRIVATE KEY-----",
            f"https://ann:{self.password}@example.test/repository.git",
        ]
        # Of a token its own part, of a block its lines, of a URL the password: and of each its
        # first half, since a cut may leave that.
        keys = [*self.by_form[:3], token, self.by_form[4], *lines, self.password]
        self.hidden = [*keys, self.secret, self.api_key, self.hook]
        self._halves = [self.secret[: self.secret.index(mark) + _HALF_CHARS]]
        self._halves += [key[: key.lower().index(mark) + _HALF_CHARS] for key in keys]

    @property
    def all(self) -> list[str]:
        """What is planted: the keys, and the secret of the workers."""
        return [*self.by_form, self.secret]

    @property
    def environment(self) -> dict[str, str]:
        """What a process knows by their value."""
        hook = f"http://127.0.0.1:1/{self.hook}"
        return {"LEAKY_KEY": self.secret, "Q_KEY": self.api_key, "HOOK_URL": hook}

    def hits(self, found: Mapping[str, bytes]) -> list[tuple[str, str, bytes]]:
        """Return what was found, where, and what stands around it."""
        return [
            (hidden, where, content[max(at - _AROUND, 0) : at + _AROUND])
            for where, content in found.items()
            for hidden in (*self.hidden, *self._halves)
            for form in _forms(hidden)
            if (at := content.find(form)) >= 0
        ]


def _forms(hidden: str) -> set[bytes]:
    """Return a secret as it may stand in a file, in JSON, in Markdown, and in a URL."""
    escaped = json.dumps(hidden)[1:-1]
    marked = hidden.replace("\\", "\\\\").replace("&", "\\&").replace("!", "\\!")
    texts = {hidden, escaped, marked, quote(hidden, safe=""), quote_plus(hidden)}
    return {text.encode() for text in texts}


def unpacked(name: str, content: bytes) -> bytes:
    """Return a file's bytes, of a compressed one those inside too."""
    return content + gzip.decompress(content) if name.endswith(".gz") else content


def at_a_cut(canaries: Iterable[str]) -> str:
    """Return a text in which a canary stands across each of the lengths that texts are cut to."""
    text, all_of_them = "", list(canaries)
    for number, length in enumerate((80, 160, 200, 300, 500, 1_000, 2_000, 4_000)):
        canary = all_of_them[number % len(all_of_them)]
        text = text.ljust(length - len(canary) // 2 - 1, "x") + f" {canary} "
    return text
