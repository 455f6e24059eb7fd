"""Bodies as they come in, bounded and checked, and answers as they go out."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from supervisor.errors import UsageError

_BODY_BYTES_MAX = 65_536

S = TypeVar("S", bound=msgspec.Struct)


async def read_body(request: Request, into: type[S], *, form: str) -> S:
    """Return the body of a request.

    Raises:
        UsageError: it is too large, or not of its `form`.
    """
    received = b""
    async for chunk in request.stream():
        received += chunk
        if len(received) > _BODY_BYTES_MAX:
            raise UsageError(
                subject="body",
                what=f"is larger than {_BODY_BYTES_MAX} bytes",
                fix="send the JSON object alone",
            )
    try:
        return msgspec.json.decode(received or b"{}", type=into)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            subject="body",
            what=f"is not what this route takes: {error}",
            fix=f"send {form}",
        ) from error


def json_answer(answer: object, *, status: int = 200) -> Response:
    """Return an answer as one line of JSON."""
    return Response(
        msgspec.json.encode(answer) + b"\n", status_code=status, media_type="application/json"
    )
