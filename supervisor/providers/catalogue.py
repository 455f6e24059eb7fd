"""What a provider says of its models, without a call that could cost."""

from __future__ import annotations

import difflib
from collections.abc import AsyncIterator, Sequence
from urllib.parse import quote

import anyio
import httpx
import msgspec

from supervisor.errors import ProviderFailed
from supervisor.providers.builtin import MODEL, Builtin
from supervisor.providers.http_errors import (
    UNREADABLE,
    excerpt,
    garbage_failure,
    status_failure,
    vendor_words,
)
from supervisor.providers.http_provider import HttpProvider
from supervisor.providers.provider import Provider

_ANSWER_S = 10.0
#: What a server answers that has no such path; some have no list of models.
_NO_SUCH_PATH = frozenset({404, 405, 501})
_NAMES_SHOWN = 5
_KEY_REFUSED = frozenset({401, 403})


class _Entry(msgspec.Struct):
    id: str


class _List(msgspec.Struct):
    """OpenAI's and Anthropic's lists alike: `{"data": [{"id": ...}]}`."""

    data: list[_Entry] | None


async def look_at(
    name: str, provider: Provider, models: Sequence[str], *, has_key: bool = True
) -> AsyncIterator[ProviderFailed]:
    """Yield what is wrong with a provider and with those of its models that are to be used.

    Without its key (`has_key`), that it asks for one is no news.
    """
    if isinstance(provider, Builtin):
        for model in models:
            if model != MODEL:
                yield _unknown(name, model, [MODEL])
    if not isinstance(provider, HttpProvider):
        return
    try:
        with anyio.fail_after(_ANSWER_S):
            found = [one async for one in _ask(provider, models)]
    except TimeoutError:
        yield ProviderFailed(
            subject=f"provider {name}",
            what=f"did not say within {_ANSWER_S:g} s which models it has",
            fix=f"see that its server is well, and that [providers.{name}] base_url points to it",
        )
        return
    except ProviderFailed as failure:
        yield failure
        return
    for wrong, status in found:
        if has_key or status not in _KEY_REFUSED:
            yield wrong


async def _ask(
    provider: HttpProvider, models: Sequence[str]
) -> AsyncIterator[tuple[ProviderFailed, int]]:
    status, body = await provider.peek(provider.catalogue_path)
    if status in _NO_SUCH_PATH:
        if not await _takes_calls(provider):
            yield _no_api(provider.name, status), status
        return  # which models it has, only a call can tell
    if not httpx.codes.is_success(status):
        said = vendor_words(body, secret=provider.api_key or "")
        yield status_failure(provider.name, status=status, said=said), status
        return
    try:
        listed = msgspec.json.decode(body, type=_List)
    except UNREADABLE:
        yield garbage_failure(provider.name, "what is no list of models"), status
        return
    names = [entry.id for entry in listed.data or ()]
    for model in models:
        # Ollama lists a model with its tag, and takes it without.
        if model not in names and f"{model}:latest" not in names:
            # A name that stands for another one is in no list, but can be asked for.
            path = f"{provider.catalogue_path}/{quote(model, safe='/:')}"
            status, _ = await provider.peek(path)
            if status in _NO_SUCH_PATH:
                yield _unknown(provider.name, model, names), status


async def _takes_calls(provider: HttpProvider) -> bool:
    """Return whether something is where calls go: a call that says nothing is no work."""
    try:
        status, _ = await provider.peek(provider.call_path, content=b"{}")
    except ProviderFailed:
        return True  # it answers, and chokes on that
    return status not in _NO_SUCH_PATH


def _no_api(provider: str, status: int) -> ProviderFailed:
    return ProviderFailed(
        subject=f"provider {provider}",
        what=f"answers {status} where its API should be",
        fix=f"correct base_url in [providers.{provider}]; many end in /v1",
    )


def _unknown(provider: str, model: str, names: Sequence[str]) -> ProviderFailed:
    near = difflib.get_close_matches(model, names, n=1)
    shown = excerpt(", ".join(sorted(names)[:_NAMES_SHOWN]), secret="") or "none"
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    fix = f"did you mean {near[0]!r}?" if near else "correct its name, or get it for this server"
    return ProviderFailed(
        subject=f"provider {provider}",
        what=f"has no model {model!r}; it has: {shown}{more}",
        fix=fix,
    )
