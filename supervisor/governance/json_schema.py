"""JSON schemas: fastjsonschema, which knows drafts 4, 6 and 7, without its way to the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import fastjsonschema

#: What the compiled check raises of a value that is not of its schema.
NotOfSchema = fastjsonschema.JsonSchemaValueException


def compiled(schema: Mapping[str, object]) -> Callable[[object], object]:
    """Return the check of a schema.

    Raises:
        ValueError: it is no schema, or refers to one that is elsewhere.
    """
    try:
        check: Callable[[object], object] = fastjsonschema.compile(
            dict(schema),
            handlers=dict.fromkeys(("http", "https", "file", "ftp", ""), _refuse),
            use_default=False,
        )
    except (fastjsonschema.JsonSchemaException, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"is no schema that can be used: {error}") from error
    return check


def _refuse(uri: str) -> object:
    raise ValueError(f"it refers to {uri}: put that into its own definitions")
