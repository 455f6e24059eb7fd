"""Workers of the acceptance tests; copied as `agents.py` beside each test's config."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import time
from pathlib import Path

import anyio

from supervisor import Context, Outcome, Refusal
from supervisor.maintenance.approval_sweep import ApprovalSweep

_BEAT_EVERY_S = 0.002
_CALL_TOKENS = 100
_calls = itertools.count(1)


async def idle(ctx: Context) -> None:
    """Do nothing."""


async def hangs(ctx: Context) -> None:
    """Await what never comes, without a word."""
    await anyio.sleep_forever()


async def counts(ctx: Context) -> None:
    """Count its ticks in its durable state."""
    count = ctx.state.get("count", 0)
    assert isinstance(count, int)
    ctx.state["count"] = count + 1


async def keeps_much(ctx: Context) -> None:
    """Pay for a call, count it, and keep values that a careless copy would change."""
    await calls_once(ctx)
    await counts(ctx)
    ctx.state["much"] = {"ü\u2028": [0.1, -0.0, 1e300, True, None, "\\\"'\n", {}], "": 2**53}


async def calls_once(ctx: Context) -> None:
    """Make one call."""
    # Never the same again: whoever pays three times for the same is stopped for that.
    prompt = f"Say something in tick {ctx.tick}, for the {next(_calls)}th time."
    await ctx.model.complete(prompt, max_tokens=_CALL_TOKENS, purpose="test")


async def streams_once(ctx: Context) -> None:
    """Make one call and read its answer as it comes."""
    async with ctx.model.stream(
        f"Tell story {ctx.tick}.", max_tokens=_option(ctx, "tokens")
    ) as stream:
        async for _ in stream:
            Path(str(ctx.options["pieces"])).touch()


async def awaits_call(ctx: Context) -> None:
    """Await one long call, and leave a side effect every few milliseconds all the while."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_beat, Path(str(ctx.options["beats"])))
        await calls_once(ctx)
        tasks.cancel_scope.cancel()


async def _beat(path: Path) -> None:
    with path.open("a", encoding="utf-8") as file:
        while True:
            file.write(f"{time.time():.6f}\n")
            file.flush()
            await anyio.sleep(_BEAT_EVERY_S)


async def calls_until_refused(ctx: Context) -> None:
    """Let many callers make calls at once until each has been refused; leave their refusals."""
    refusals: list[dict[str, str]] = []
    async with anyio.create_task_group() as tasks:
        for _ in range(_option(ctx, "callers")):
            tasks.start_soon(_call_until_refused, ctx, refusals)
    ctx.files.write_text(f"refusals-{ctx.tick}.json", json.dumps(refusals))


async def _call_until_refused(ctx: Context, refusals: list[dict[str, str]]) -> None:
    while True:
        try:
            await calls_once(ctx)
        except Refusal as refusal:
            refusals.append({"code": refusal.code, "text": str(refusal)})
            return


async def calls_in_a_group(ctx: Context) -> None:
    """Make calls in a task group, and catch nothing."""
    async with anyio.create_task_group() as tasks:
        for _ in range(_option(ctx, "callers")):
            tasks.start_soon(calls_once, ctx)


async def raises(ctx: Context) -> None:
    """Fail as a bug does."""
    raise ZeroDivisionError("a bug of this worker")


async def fails(_: Context) -> Outcome:
    """Do no work, and say so."""
    return Outcome.FAILED


async def awaits_cancelled_task(ctx: Context) -> None:
    """Await a task of its own that was cancelled, as code with a time limit does by mistake."""
    task = asyncio.create_task(asyncio.sleep(60))
    task.cancel()
    await task


async def exits(ctx: Context) -> None:
    """Call for the end of the process, as code that was made for a command line does."""
    raise SystemExit(3)


async def raises_half_a_character(ctx: Context) -> None:
    """Fail with a text that has no UTF-8 form, as file names may be."""
    raise ValueError("no such file: \udcff")


class _Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("and this text can't be made")


async def raises_the_unspeakable(ctx: Context) -> None:
    """Fail with an exception that fails itself when it is asked for its text."""
    raise _Unspeakable


async def hands_over_half_a_character(ctx: Context) -> None:
    """Leave a note that has no UTF-8 form."""
    ctx.handoff("\udcff")


async def logs_half_a_character(ctx: Context) -> None:
    """Log a text that has no UTF-8 form."""
    ctx.log.info("half", text="\udcff")


async def blocks_once(ctx: Context) -> None:
    """Hold the event loop for some seconds in its first tick, as careless code does."""
    if ctx.tick == 1:
        time.sleep(_option(ctx, "seconds"))


async def swallows_cancellation(ctx: Context) -> None:
    """Go on for a while whatever is asked of it, as code with a bare `except` does."""
    until_s = time.monotonic() + 12.0
    while time.monotonic() < until_s:
        try:
            await asyncio.sleep(0.2)
        except asyncio.CancelledError:
            continue


async def ends_late(ctx: Context) -> None:
    """Take a second to end when it is cancelled, as code with a long clean-up does."""
    try:
        await asyncio.sleep(60)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(1.0)


async def disables_the_sweep(ctx: Context) -> None:
    """Take the sweep of approvals out of the daemon, as a careless patch would."""
    ApprovalSweep.once = _sweeps_nothing  # type: ignore[method-assign] # that is the sabotage


async def _sweeps_nothing(self: ApprovalSweep) -> None:
    return


async def returns_noop(ctx: Context) -> Outcome:
    """Have nothing to do."""
    return Outcome.NOOP


async def shows_environment(ctx: Context) -> None:
    """Write down the environment that a child process of this worker gets."""
    await anyio.to_thread.run_sync(_show_environment, Path(str(ctx.options["path"])))


def _show_environment(path: Path) -> None:
    shown = subprocess.run(["env"], capture_output=True, check=True)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(shown.stdout)
    fresh.replace(path)


def _option(ctx: Context, name: str) -> int:
    value = ctx.options[name]
    assert isinstance(value, int)
    return value


async def triages(ctx: Context) -> Outcome | None:
    """Tag an issue, try to write an e-mail, and merge once a person has allowed it."""
    async with await ctx.propose("tag_issue", resource="issue:7", score=0.9):
        _note(ctx, "tagged")
    try:
        await ctx.propose("send_email", resource="issue:7", score=0.9)
    except Refusal as refusal:
        _note(ctx, refusal.code)
    async with await ctx.propose("merge", resource="pr:12", score=0.9, command_id="merge-12"):
        _note(ctx, "merged")
    return Outcome.OK


def _note(ctx: Context, what: str) -> None:
    with Path(str(ctx.options["notes"])).open("a", encoding="utf-8") as file:
        file.write(f"{what}\n")


async def works_through(ctx: Context) -> None:
    """Go through items, note the begin of each where a kill can't undo it, and add them up."""
    loop = ctx.each(range(_option(ctx, "items")))
    with Path(str(ctx.options["notes"])).open("a", encoding="utf-8", buffering=1) as file:
        async for number in loop:
            file.write(f"{number}\n")
            before = loop.kept.get("sum", 0)
            assert isinstance(before, int)
            loop.kept["sum"] = before + number
            await anyio.sleep(0.004)
