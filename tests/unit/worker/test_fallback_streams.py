"""A stream falls over to another model until the worker has seen some of it, and never after."""

from __future__ import annotations

import pytest

from supervisor import Context, Outcome
from supervisor.providers.scripted import Step
from tests.unit.worker.fleet import BUSY, Fleet, fleet

__all__ = ["fleet"]


@pytest.mark.parametrize(
    ("step", "end"),
    [(BUSY, "released"), (Step(does="closed", text=""), "forfeited")],
    ids=["429", "cut off before the first text"],
)
async def test_a_stream_falls_over_before_its_first_text(
    fleet: Fleet, step: Step, end: str
) -> None:
    fleet.attempts_max = 2
    fleet.script(step)
    said: list[str] = []

    async def work(ctx: Context) -> None:
        async with ctx.model.stream("hi") as stream:
            said.extend([piece async for piece in stream])
        said.append(stream.reply.model)

    assert (await fleet.tick(work)).outcome is Outcome.OK
    assert said == ["Fine.", "local/m"]
    assert await fleet.ends() == [("paid/m", end)] * 2 + [("local/m", "settled")]
    await fleet.assert_sound()


async def test_no_stream_falls_over_once_the_worker_has_seen_some_of_it(fleet: Fleet) -> None:
    fleet.script(Step(does="closed", text="one\ntwo\n"))
    said: list[str] = []

    async def work(ctx: Context) -> None:
        async with ctx.model.stream("hi") as stream:
            async for piece in stream:
                said.append(piece)  # noqa: PERF401 - the pieces before the break count

    assert (await fleet.tick(work)).outcome is Outcome.FAILED
    assert said == ["one\n", "two\n"]
    assert fleet.scripted["local"].calls == 0
    assert await fleet.ends() == [("paid/m", "forfeited")]


async def test_a_stream_without_any_text_is_whole(fleet: Fleet) -> None:
    fleet.script(Step(text="", input_tokens=0, output_tokens=1))

    async def work(ctx: Context) -> None:
        async with ctx.model.stream("hi") as stream:
            assert [piece async for piece in stream] == []
        assert stream.reply.text == ""

    assert (await fleet.tick(work)).outcome is Outcome.OK
    assert await fleet.ends() == [("paid/m", "settled")]
