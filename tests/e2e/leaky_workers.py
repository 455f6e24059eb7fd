"""Workers that put what they were given where it does not belong, in every way that there is."""

from __future__ import annotations

from typing import Any, cast

from supervisor import Context, HttpFailed, Outcome, PermanentFailure, Refusal


def _canaries(ctx: Context) -> list[str]:
    return [*cast("list[str]", ctx.options["canaries"]), ctx.secrets["LEAKY_KEY"]]


async def leaks(ctx: Context) -> Outcome:
    """Plant each canary, and the secret itself, in all that the daemon writes."""
    for canary in _canaries(ctx):
        ctx.log.warning("leaking", detail=canary, deep={canary: [canary]})
        ctx.state[canary] = [canary]
        ctx.progress(done=1, item=canary)
        ctx.handoff(f"remember {canary}")
        ctx.report(f"Report of {canary}", f"It is `{canary}`.", name=f"r{ctx.tick}")
        await ctx.memory.set(f"key {canary}"[:200], {"value": canary})
        async with ctx.spend(usd_max=0.0, what=f"call with {canary}"):
            pass
        await _ask(ctx, canary)
        await _propose(ctx, canary)
        await _reach_out(ctx, canary)
        async with ctx.once(" ".join(f"effect {canary}"[:200].split())) as effect:
            effect.record({"result": canary})
        ctx.saved(0.1, f"{'x' * 180} {canary}")
    return Outcome.OK


async def _ask(ctx: Context, canary: str) -> None:
    reply = await ctx.model.complete(f"What is {canary}?", purpose=f"to show {canary}")
    ctx.report("Answer", reply.text)
    try:
        await ctx.model.complete("x", model=f"nobody/{canary}")
    except Refusal as refusal:
        ctx.log.error("refused", error=str(refusal))


async def _propose(ctx: Context, canary: str) -> None:
    asked: dict[str, Any] = {
        "resource": f"issue:{canary}"[:200],
        "reasoning": f"because {canary} {'x' * 900} {canary} {'x' * 950} {canary}",
        "score": 0.6,
    }
    await ctx.propose("merge", command_id=f"m-{canary}", metadata={canary: canary}, **asked)
    try:
        await ctx.propose(f"unknown {canary}"[:200])
    except Refusal as refusal:
        ctx.log.error("denied", exc_info=refusal)


async def _reach_out(ctx: Context, canary: str) -> None:
    url = str(ctx.options["url"])
    answer = await ctx.http.get(f"{url}/echo", params={"q": canary}, headers={"x-a": canary[:20]})
    ctx.report("Fetched", answer.text)
    for bad in (f"{url}/{canary}".splitlines()[0], f"http://{canary[:8]}.test/{canary}"):
        try:
            await ctx.http.get(bad)
        except (Refusal, HttpFailed) as error:
            ctx.log.error("not fetched", error=error)
    for attempt in (lambda: ctx.secrets[canary], lambda: ctx.files.path(f"../{canary}")):
        try:
            attempt()
        except Refusal:
            continue


async def works(ctx: Context) -> None:
    """Fail for good at a job, in the words of its payload."""
    assert ctx.job
    await ctx.jobs.enqueue("nobody", {"again": ctx.job.payload, **_by_form(ctx)})
    raise PermanentFailure(f"{'x' * 280} {ctx.job.payload} {_by_form(ctx)}")


def _by_form(ctx: Context) -> dict[str, str]:
    return {canary: canary for canary in cast("list[str]", ctx.options["canaries"])}


async def asks(ctx: Context) -> None:
    """Ask a provider whose answer is none, and quotes the canaries."""
    await ctx.model.complete("; ".join(_canaries(ctx)), max_tokens=10)


async def crashes(ctx: Context) -> None:
    """Raise an error whose text and whose locals hold the canaries."""
    raise RuntimeError("; ".join(_canaries(ctx)))


async def publishes(ctx: Context) -> None:
    """Hand over what is rejected."""
    for _ in range(2):
        ctx.publish({"text": _canaries(ctx)})
