"""Turns a to-do list into a plan for the day: a worker in 15 lines."""

from supervisor import Context, Outcome

TASK = {"role": "system", "content": "Make a short plan for today of this list."}


async def run(ctx: Context) -> Outcome | None:
    todo = (ctx.config_dir / str(ctx.options["file"])).read_text(encoding="utf-8")
    if todo == ctx.state.get("planned"):
        return Outcome.NOOP  # nothing new: no call, no cost
    reply = await ctx.model.complete([TASK, {"role": "user", "content": todo}], max_tokens=300)
    ctx.report("Plan for today", reply.text, name=f"plan-{ctx.clock.now():%Y-%m-%d}")
    ctx.state["planned"] = todo  # durable; not kept if this tick raises
    return Outcome.OK
