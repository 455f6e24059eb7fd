"""The model that is always there: extractive, in process, without network, key or price."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from supervisor.errors import ProviderFailed
from supervisor.providers.extractive import first_words, summarize, word_count
from supervisor.providers.provider import AnswerStream, ModelAnswer, ModelRequest, Usage
from supervisor.providers.ready_stream import ReadyStream

MODEL = "extractive"

INPUT_CHARS_MAX = 60_000
"""What is read of the input: 30 ms of the loop at most, measured on a VM of 2 cores."""


class Builtin:
    """Sums up the user's messages by picking sentences; a token is a word between blanks."""

    def __init__(self, *, name: str) -> None:
        self._name = name

    def input_tokens_max(self, request: ModelRequest) -> int:
        """Return the characters that are read at most: a word has one or more."""
        return min(sum(len(message.content) for message in request.messages), INPUT_CHARS_MAX)

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        if request.model != MODEL:
            raise ProviderFailed(
                subject=f"provider {self._name}",
                what=f"has no model {request.model!r}",
                fix=f'set model = "{self._name}/{MODEL}", the one it has',
                was_refused=True,
            )
        text, was_shortened = _read(request)
        notice = self._notice(was_shortened=was_shortened)
        summary = summarize(text, words_max=request.max_tokens - word_count(notice))
        answer = "\n".join([*summary.sentences, "", notice]).strip()
        if word_count(answer) > request.max_tokens:
            answer = first_words(answer, request.max_tokens)
        return ModelAnswer(
            text=answer,
            usage=Usage(input_tokens=word_count(text), output_tokens=word_count(answer)),
            model=MODEL,
            finish_reason="length" if summary.was_cut else "stop",
        )

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[AnswerStream]:
        yield ReadyStream(await self.complete(request))

    async def close(self) -> None:
        """Nothing is open."""

    def _notice(self, *, was_shortened: bool) -> str:
        """Return the last line, which says what the text is, so that nobody takes it for more."""
        limit = f" Only the first {INPUT_CHARS_MAX} characters were read." if was_shortened else ""
        return (
            f"_Extractive summary by {self._name}/{MODEL}: sentences were picked, "
            f"nothing was written by a model.{limit}_"
        )


def _read(request: ModelRequest) -> tuple[str, bool]:
    """Return the users' text up to its bound, and whether there was more."""
    parts: list[str] = []
    left = INPUT_CHARS_MAX
    for message in request.messages:
        if message.role != "user":
            continue
        parts.append(message.content[: max(left, 0)])
        left -= len(message.content)
    return "\n".join(part for part in parts if part), left < 0
