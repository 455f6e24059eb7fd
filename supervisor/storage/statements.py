"""Named SQL statements, read from files."""

from __future__ import annotations

import re
from pathlib import Path

_SQL = Path(__file__).parent / "sql"
_NAME = re.compile(r"^-- name: (?P<name>[a-z_]+)$", re.MULTILINE)


def load(dialect: str) -> dict[str, str]:
    """Return every statement as `file.name`: the shared ones, then the dialect's overrides.

    `dialect` is the name of a folder beside the shared files; it need not exist.
    """
    statements: dict[str, str] = {}
    for folder in (_SQL, _SQL / dialect):
        for path in sorted(folder.glob("*.sql")):
            statements.update(_parse(path))
    return statements


def _parse(path: Path) -> dict[str, str]:
    parts = _NAME.split(path.read_text(encoding="utf-8"))
    named = zip(parts[1::2], parts[2::2], strict=True)
    return {f"{path.stem}.{name}": text.strip() for name, text in named}
