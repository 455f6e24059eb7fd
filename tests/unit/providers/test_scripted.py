"""The shipped fake: what its steps do, and what it bills for them."""

from __future__ import annotations

import tomllib

import anyio
import msgspec
import pytest

from supervisor.errors import ProviderFailed
from supervisor.providers.provider import Message, ModelRequest, Provider, Usage
from supervisor.providers.scripted import Script, Scripted, Step

REQUEST = ModelRequest(
    model="any", messages=(Message(role="user", content="one two three"),), max_tokens=10
)


def scripted(*steps: Step) -> Scripted:
    return Scripted(name="fake", script=Script(steps=steps))


async def failure_of(provider: Scripted) -> ProviderFailed:
    with pytest.raises(ProviderFailed) as raised:
        await provider.complete(REQUEST)
    return raised.value


def billed(provider: Scripted) -> tuple[int, int, int]:
    usage = provider.billed_usage
    return provider.billed_calls, usage.input_tokens, usage.output_tokens


async def test_answer_is_the_text_with_its_words_as_usage() -> None:
    provider = scripted(Step(text="four words it has"))
    answer = await provider.complete(REQUEST)
    assert answer.text == "four words it has"
    assert answer.usage == Usage(input_tokens=3, output_tokens=4)
    assert answer.model == "any"
    assert answer.finish_reason == "stop"
    assert billed(provider) == (1, 3, 4)


async def test_usage_is_what_the_step_says() -> None:
    provider = scripted(Step(input_tokens=1_000, output_tokens=7))
    answer = await provider.complete(REQUEST)
    assert answer.usage == Usage(input_tokens=1_000, output_tokens=7)


async def test_answer_keeps_to_max_tokens() -> None:
    provider = scripted(Step(text="w " * 50), Step(output_tokens=999))
    for _ in range(2):
        answer = await provider.complete(REQUEST)
        assert answer.usage
        assert answer.usage.output_tokens == 10
        assert answer.finish_reason == "length"
        assert len(answer.text.split()) <= 10


async def test_above_max_tokens_bills_more_than_was_asked_for() -> None:
    provider = scripted(Step(does="above_max_tokens"))
    answer = await provider.complete(REQUEST)
    assert answer.usage
    assert answer.usage.output_tokens == 11
    assert billed(provider) == (1, 3, 11)


async def test_no_usage_is_billed_and_not_told() -> None:
    provider = scripted(Step(does="no_usage", output_tokens=5))
    assert (await provider.complete(REQUEST)).usage is None
    assert billed(provider) == (1, 3, 5)


async def test_rate_limited_was_refused_and_bills_nothing() -> None:
    provider = scripted(Step(does="rate_limited", retry_after_s=2.5))
    failure = await failure_of(provider)
    assert failure.was_refused
    assert failure.is_retryable
    assert failure.retry_after_s == 2.5
    assert billed(provider) == (0, 0, 0)


@pytest.mark.parametrize(
    ("step", "is_retryable"),
    [
        (Step(does="server_error"), True),
        (Step(does="closed"), True),
        (Step(does="garbage"), False),
    ],
)
async def test_call_that_fails_at_work_has_an_unknown_outcome_and_is_billed_in_full(
    step: Step, is_retryable: bool
) -> None:
    provider = scripted(step)
    failure = await failure_of(provider)
    assert not failure.was_refused
    assert failure.is_retryable == is_retryable
    assert billed(provider) == (1, 3, 10)


async def test_hang_ends_only_by_a_cancel_and_is_billed_before_it() -> None:
    provider = scripted(Step(does="hang"))
    with anyio.move_on_after(0.01) as scope:
        await provider.complete(REQUEST)
    assert scope.cancelled_caught
    assert billed(provider) == (1, 3, 10)


async def test_call_cancelled_during_its_latency_is_billed() -> None:
    provider = scripted(Step(latency_s=60))
    with anyio.move_on_after(0.01) as scope:
        await provider.complete(REQUEST)
    assert scope.cancelled_caught
    assert provider.billed_calls == 1


async def test_bill_adds_up() -> None:
    provider = scripted(Step(output_tokens=4))
    for _ in range(3):
        await provider.complete(REQUEST)
    assert billed(provider) == (3, 9, 12)


def test_last_step_is_repeated_or_the_script_begins_again() -> None:
    steps = (Step(text="a"), Step(text="b"))
    repeated = Script(steps=steps)
    cycled = Script(steps=steps, then="cycle")
    assert [repeated.step(call).text for call in range(4)] == ["a", "b", "b", "b"]
    assert [cycled.step(call).text for call in range(4)] == ["a", "b", "a", "b"]


async def test_stream_gives_lines_and_then_the_whole() -> None:
    provider = scripted(Step(text="one\ntwo"))
    async with provider.stream(REQUEST) as stream:
        assert [piece async for piece in stream] == ["one\n", "two"]
    assert stream.answer.usage == Usage(input_tokens=3, output_tokens=2)


@pytest.mark.parametrize("does", ["closed", "garbage"])
async def test_stream_breaks_after_its_pieces(does: str) -> None:
    provider = scripted(msgspec.convert({"does": does, "text": "half"}, Step))
    pieces: list[str] = []
    with pytest.raises(ProviderFailed):  # noqa: PT012 - the pieces before the break count
        async with provider.stream(REQUEST) as stream:
            async for piece in stream:
                pieces.append(piece)  # noqa: PERF401 - kept when the loop breaks
    assert pieces == ["half"]
    assert stream.answer.usage is None


async def test_stream_is_turned_away_before_it_begins() -> None:
    provider = scripted(Step(does="rate_limited"))
    with pytest.raises(ProviderFailed):
        async with provider.stream(REQUEST):
            pytest.fail("a refused stream began")


async def test_input_bound_covers_every_step() -> None:
    provider = scripted(Step(), Step(input_tokens=5_000))
    assert provider.input_tokens_max(REQUEST) == 5_000


def test_script_reads_from_toml() -> None:
    table = tomllib.loads("""
        [providers.fake.script]
        then = "cycle"
        [[providers.fake.script.steps]]
        text = "fine"
        latency_s = 0.5
        [[providers.fake.script.steps]]
        does = "rate_limited"
        retry_after_s = 2
    """)
    script = msgspec.convert(table["providers"]["fake"]["script"], Script)
    assert script == Script(
        steps=(
            Step(text="fine", latency_s=0.5),
            Step(does="rate_limited", retry_after_s=2.0),
        ),
        then="cycle",
    )


@pytest.mark.parametrize(
    "table",
    [
        {"steps": []},
        {"steps": [{"does": "explode"}]},
        {"steps": [{"latency_s": -1}]},
        {"steps": [{"input_tokens": -1}]},
        {"steps": [{"txt": "typo"}]},
        {"stepz": []},
    ],
)
def test_script_that_makes_no_sense_is_refused(table: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(table, Script)


async def test_it_is_a_provider() -> None:
    provider: Provider = scripted(Step())
    await provider.close()
