"""The SQL itself: each statement is valid on both databases, and none is missing or left over."""

from __future__ import annotations

import re
from pathlib import Path

from supervisor.storage import statements
from supervisor.storage.database import Database, Transaction
from supervisor.storage.postgres_transaction import translate
from tests.databases import KINDS, Kind


def test_every_statement_that_the_code_names_exists_and_none_is_left_over(kind: Kind) -> None:
    root = Path(statements.__file__).parents[1]
    sources = "\n".join(path.read_text() for path in root.rglob("*.py"))
    named = set(statements.load(kind))
    used = {name for name in named if f'"{name}"' in sources}
    files = {name.partition(".")[0] for name in named}
    stems = re.findall(rf'f"((?:{"|".join(files)})\.[a-z_]*)\{{', sources)
    used |= {name for name in named if name.startswith(tuple(stems))}
    # Where a transaction is asked for it: a key of the config or a file may have such a name too.
    asked = rf'\.(?:run|rows|row|each)\(\s*"((?:{"|".join(files)})\.[a-z_]+)"'
    mentioned = set(re.findall(asked, sources))
    assert mentioned <= named
    assert named == used


async def test_every_statement_is_valid_sql(database: Database, kind: Kind) -> None:
    named = statements.load(kind)
    assert len(named) > 40

    def explain(tx: Transaction) -> list[str]:
        return [
            complaint
            for name, sql in named.items()
            if (complaint := _complaint(tx, name, sql, kind)) is not None
        ]

    assert await database.read(explain) == []


#: Whose type does not follow from the statement: the driver gives it, as that of every number.
NUMBERS = {"cost", "tokens", "actions", "cost_held", "tokens_held", "actions_held"}


def _complaint(tx: Transaction, name: str, sql: str, kind: Kind) -> str | None:
    connection = tx._connection  # type: ignore[attr-defined] # the driver's own
    # None wherever it can be: it tells a database nothing of its type.
    values = {
        parameter: 1 if parameter in NUMBERS else None
        for parameter in re.findall(r"(?<!:):([a-z_]+)", sql)
    }
    try:
        if kind == "sqlite":
            connection.execute(f"EXPLAIN {sql}", values)
        else:
            connection.execute("SAVEPOINT one")
            connection.execute(f"EXPLAIN {translate(sql)}", values)
    except Exception as error:  # noqa: BLE001 - every complaint is wanted
        if kind == "postgres":
            connection.execute("ROLLBACK TO SAVEPOINT one")
        return f"{name}: {error}"
    return None


def test_an_override_differs_only_where_its_database_must() -> None:
    plain = [{name: _plain(sql) for name, sql in statements.load(kind).items()} for kind in KINDS]
    assert plain[0] == plain[1]


#: How the two say the same thing.
SAME = (
    (r"--[^\n]*", ""),
    (r"= ANY \(ARRAY\(SELECT json_array_elements_text\(CAST\((:\w+) AS JSON\)\)\)\)", r"IN \1"),
    (r"IN \(SELECT value FROM json_each\((:\w+)\)\)", r"IN \1"),
    (r"json_extract\(value, '\$\.(\w+)'\)", r"value ->> '\1'"),
    (r"json_array_elements\(CAST\((:\w+) AS JSON\)\)", r"json_each(\1)"),
    (r"CAST\((:\w+) AS \w+\) IS NULL", r"\1 IS NULL"),
    (r"\bgreatest\(", "max("),
    (r"\s+", " "),
    (r"(?<=\() | (?=\))", ""),
)


def _plain(sql: str) -> str:
    for theirs, ours in SAME:
        sql = re.sub(theirs, ours, sql)
    return sql.strip()
