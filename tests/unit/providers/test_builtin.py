"""The extractive model: what it picks, and that it says what it is."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import ProviderFailed
from supervisor.providers.builtin import INPUT_CHARS_MAX, Builtin
from supervisor.providers.extractive import summarize
from supervisor.providers.provider import Message, ModelRequest, Provider, Usage

NOTICE = (
    "_Extractive summary by builtin/extractive: sentences were picked, "
    "nothing was written by a model._"
)
TEXT = """
The ledger places a hold before each call. It was a sunny day.
A hold of the ledger ends once: the ledger settles the hold or forfeits the hold.
Lunch was soup. Somebody laughed.
The ledger never releases an orphan hold at zero.
Birds sang.
"""


def request(text: str = TEXT, *, max_tokens: int = 200, model: str = "extractive") -> ModelRequest:
    message = Message(role="user", content=text)
    return ModelRequest(model=model, messages=(message,), max_tokens=max_tokens)


async def test_sentences_about_the_texts_subject_are_picked_in_its_order() -> None:
    answer = await Builtin(name="builtin").complete(request())
    assert answer.text == (
        "The ledger places a hold before each call.\n"
        "A hold of the ledger ends once: the ledger settles the hold or forfeits the hold.\n"
        "The ledger never releases an orphan hold at zero.\n"
        "\n" + NOTICE
    )
    assert answer.finish_reason == "stop"


async def test_last_line_says_what_the_text_is() -> None:
    answer = await Builtin(name="builtin").complete(request("One sentence."))
    assert answer.text.splitlines()[-1] == NOTICE


async def test_usage_is_the_real_count_of_words() -> None:
    answer = await Builtin(name="builtin").complete(request())
    assert answer.usage == Usage(
        input_tokens=len(TEXT.split()), output_tokens=len(answer.text.split())
    )


async def test_same_text_gives_the_same_answer() -> None:
    builtin = Builtin(name="builtin")
    assert await builtin.complete(request()) == await builtin.complete(request())


async def test_only_the_users_messages_are_read() -> None:
    messages = (
        Message(role="system", content="System words are no content."),
        Message(role="user", content="The user speaks."),
        Message(role="assistant", content="Assistant words are no content."),
    )
    call = ModelRequest(model="extractive", messages=messages, max_tokens=100)
    answer = await Builtin(name="builtin").complete(call)
    assert "The user speaks." in answer.text
    assert "no content" not in answer.text


@given(text=st.text(max_size=400), max_tokens=st.integers(1, 60))
async def test_answer_and_its_usage_keep_within_their_bounds(text: str, max_tokens: int) -> None:
    builtin = Builtin(name="builtin")
    call = request(text, max_tokens=max_tokens)
    answer = await builtin.complete(call)
    assert answer.usage
    assert len(answer.text.split()) == answer.usage.output_tokens <= max_tokens
    assert answer.usage.input_tokens <= builtin.input_tokens_max(call)


async def test_best_sentence_is_cut_where_none_fits() -> None:
    answer = await Builtin(name="builtin").complete(request("one two three four", max_tokens=15))
    assert answer.text == f"one two\n\n{NOTICE}"
    assert answer.finish_reason == "length"


async def test_empty_input_gives_the_notice_alone() -> None:
    answer = await Builtin(name="builtin").complete(request(""))
    assert answer.text == NOTICE


async def test_input_beyond_the_bound_is_not_read_and_the_answer_says_so() -> None:
    text = "Early words count here. " * 5_000 + "Unread ending."
    call = request(text)
    builtin = Builtin(name="builtin")
    answer = await builtin.complete(call)
    assert answer.usage
    assert answer.usage.input_tokens <= builtin.input_tokens_max(call) == INPUT_CHARS_MAX
    assert "Unread" not in answer.text
    assert f"Only the first {INPUT_CHARS_MAX} characters were read." in answer.text


async def test_loop_is_not_blocked_long_by_the_largest_input() -> None:
    hard = "".join(f"w{n} x{n}. " for n in range(200_000))
    started = time.perf_counter()
    await Builtin(name="builtin").complete(request(hard))
    assert time.perf_counter() - started < 0.5


async def test_unknown_model_was_refused_and_the_error_names_the_known_one() -> None:
    with pytest.raises(ProviderFailed) as raised:
        await Builtin(name="builtin").complete(request(model="gpt-9"))
    assert raised.value.was_refused
    assert not raised.value.is_retryable
    assert 'set model = "builtin/extractive"' in str(raised.value)


async def test_stream_gives_the_same_as_the_whole() -> None:
    builtin = Builtin(name="builtin")
    async with builtin.stream(request()) as stream:
        assert stream.answer.usage is None
        pieces = [piece async for piece in stream]
    assert stream.answer == await builtin.complete(request())
    assert "".join(pieces) == stream.answer.text
    assert len(pieces) > 1


def test_repeated_sentences_are_picked_once() -> None:
    assert summarize("Same thing. Same thing. Same thing.", words_max=50).sentences == (
        "Same thing.",
    )


def test_summary_is_at_most_a_dozen_sentences() -> None:
    text = "\n".join(f"Line number {n} has words." for n in range(500))
    assert len(summarize(text, words_max=10_000).sentences) == 12


async def test_it_is_a_provider() -> None:
    provider: Provider = Builtin(name="builtin")
    await provider.close()
