"""A worker's memory and secrets are its own: another's are refused, and that is on record."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.errors import AccessDenied, InputRefused, KillSwitchEngaged
from supervisor.events.log import Origin
from supervisor.governance.kill_switch import KillCommand, engage
from supervisor.outcome import Outcome
from supervisor.worker.context import Context
from supervisor.worker.plan import WorkerFunction
from supervisor.worker.tick import TickEnd, WorkerCrashed, run_tick
from tests.unit.worker.conftest import UTC_ZONE, Bench


async def tick(bench: Bench, run: WorkerFunction, name: str = "w", **given: Any) -> TickEnd:
    return await run_tick(bench.kernel, await bench.plan(run, name=name, **given))


async def test_what_is_remembered_is_there_in_later_ticks_whatever_became_of_this_one(
    bench: Bench,
) -> None:
    async def first(ctx: Context) -> None:
        await ctx.memory.set("seen/1", {"title": "a", "n": [1, 2.5, None]})
        raise RuntimeError("a crash")

    async def second(ctx: Context) -> None:
        assert await ctx.memory.get("seen/1") == {"title": "a", "n": [1, 2.5, None]}
        assert await ctx.memory.get("nothing") is None
        assert await ctx.memory.get("nothing", 3) == 3
        await ctx.memory.set("seen/1", "other")
        assert await ctx.memory.get("seen/1") == "other"
        await ctx.memory.delete("seen/1")
        await ctx.memory.delete("seen/1")
        assert await ctx.memory.get("seen/1") is None

    with pytest.raises(WorkerCrashed):
        await tick(bench, first)
    assert (await tick(bench, second)).outcome is Outcome.OK
    changes = await bench.events("memory_changed")
    assert [change["key"] for change in changes] == ["seen/1"] * 4
    assert [change["value_bytes"] for change in changes][2:] == [0, 0]


async def test_keys_come_by_prefix_in_order_and_in_pages(bench: Bench) -> None:
    async def run(ctx: Context) -> None:
        for key in ("b/2", "a/10", "a/1", "A/1", "a%/1"):
            await ctx.memory.set(key, 1)
        assert await ctx.memory.keys("a/") == ["a/1", "a/10"]
        assert await ctx.memory.keys("a/", after="a/1") == ["a/10"]
        assert await ctx.memory.keys("a%") == ["a%/1"]
        assert await ctx.memory.keys() == ["A/1", "a%/1", "a/1", "a/10", "b/2"]

    assert (await tick(bench, run)).outcome is Outcome.OK


async def test_two_workers_remember_apart_and_neither_reads_the_others(bench: Bench) -> None:
    async def mine(ctx: Context) -> None:
        await ctx.memory.set("k", "mine")

    async def other(ctx: Context) -> None:
        assert await ctx.memory.get("k") is None
        for asking in (
            ctx.memory.get("k", worker="w"),
            ctx.memory.keys(worker="w"),
            ctx.memory.set("k", "x", worker="w"),
            ctx.memory.delete("k", worker="w"),
        ):
            with pytest.raises(AccessDenied):
                await asking

    async def still(ctx: Context) -> None:
        assert await ctx.memory.get("k", worker="w") == "mine"

    await tick(bench, mine)
    assert (await tick(bench, other, "other")).outcome is Outcome.OK
    assert (await tick(bench, still)).outcome is Outcome.OK
    recorded = await bench.events("guardrail_tool")
    assert [(r["worker"], r["tool"], r["code"]) for r in recorded] == [
        ("other", "memory", "access_denied")
    ] * 4


async def test_a_memory_is_bounded_as_a_whole_and_in_each_entry(bench: Bench) -> None:
    async def run(ctx: Context) -> None:
        await ctx.memory.set("a", "x" * 400)
        with pytest.raises(InputRefused, match="memory_max_bytes = 1000"):
            await ctx.memory.set("b", "x" * 600)
        await ctx.memory.set("a", "x" * 800)
        await ctx.memory.delete("a")
        await ctx.memory.set("b", "x" * 800)
        with pytest.raises(InputRefused, match="characters"):
            await ctx.memory.set("k" * 201, 1)
        with pytest.raises(InputRefused, match="is no JSON"):
            await ctx.memory.set("k", object())  # type: ignore[arg-type] # the point of it
        with pytest.raises(InputRefused, match="1000000 bytes"):
            await ctx.memory.set("k", "x" * 1_000_001)

    assert (await tick(bench, run, memory_max_bytes=1000)).outcome is Outcome.OK
    assert len(await bench.events("memory_changed")) == 4


async def test_under_a_kill_nothing_is_remembered(bench: Bench) -> None:
    async def run(ctx: Context) -> None:
        origin = Origin(at=bench.clock.now(), actor="me", command_id="k")
        await bench.store.write(engage, KillCommand(scope="system", why="test"), origin, UTC_ZONE)
        with pytest.raises(KillSwitchEngaged):
            await ctx.memory.set("k", 1)
        with pytest.raises(KillSwitchEngaged):
            await ctx.memory.delete("k")
        assert await ctx.memory.get("k") is None

    assert (await tick(bench, run)).outcome is Outcome.OK


async def test_a_secret_is_given_by_name_to_who_was_granted_it(bench: Bench) -> None:
    async def run(ctx: Context) -> None:
        assert ctx.secrets["API_KEY"] == "opensesame"
        assert list(ctx.secrets) == ["API_KEY"]
        assert "OTHER" not in ctx.secrets
        assert "opensesame" not in repr(ctx.secrets)
        ctx.secrets["OTHER"]

    plan = await bench.plan(run, secrets={"API_KEY": "opensesame"})
    assert "opensesame" not in repr(plan)
    end = await run_tick(bench.kernel, plan)
    assert end.outcome is Outcome.REFUSED
    assert isinstance(end.refusal, AccessDenied)
    assert 'add it to secrets = ["OTHER"] under [worker.w]' in str(end.refusal)
    (recorded,) = await bench.events("guardrail_tool")
    assert (recorded["tool"], recorded["target"]) == ("secrets", "OTHER")


async def test_a_directory_that_leads_elsewhere_is_no_directory_of_its_own(bench: Bench) -> None:
    elsewhere = bench.kernel.state_dir / "elsewhere"
    (bench.kernel.state_dir / "workers").mkdir()
    elsewhere.mkdir()
    (elsewhere / "notes.txt").write_text("not yours")
    (bench.kernel.state_dir / "workers" / "w").symlink_to(elsewhere)

    async def run(ctx: Context) -> None:
        with pytest.raises(InputRefused, match="leads out of it"):
            ctx.files.read_text("notes.txt")
        with pytest.raises(InputRefused, match="leads out of it"):
            ctx.files.write_text("notes.txt", "x")

    assert (await tick(bench, run)).outcome is Outcome.OK
    assert (elsewhere / "notes.txt").read_text() == "not yours"
    assert len(await bench.events("guardrail_tool")) == 2


async def test_a_way_out_of_its_own_directory_is_refused_and_on_record(bench: Bench) -> None:
    async def run(ctx: Context) -> None:
        for name in ("../other/notes.txt", "/etc/passwd", "..", "a/b"):
            with pytest.raises(InputRefused):
                ctx.files.read_text(name)

    assert (await tick(bench, run)).outcome is Outcome.OK
    recorded = await bench.events("guardrail_tool")
    assert [r["target"] for r in recorded] == ["../other/notes.txt", "/etc/passwd", "..", "a/b"]
