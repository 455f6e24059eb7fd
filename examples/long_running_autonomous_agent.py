"""A support agent that works by itself for an hour, a day, a week or a month.

    python examples/long_running_autonomous_agent.py --horizon month
    python examples/long_running_autonomous_agent.py --horizon hour --real

One case a cycle, from a fixed mix of low, medium, high and critical ones. A model assesses each,
until the session's budget is used up; then rules do. What is routine is approved by the policy and
done; high and critical risks are denied and left for a person. Sessions rotate, state is
checkpointed, and at the end stands the scorecard, which is compared with the events.

Under the virtual clock a month takes seconds. With --real it is a daemon like any other, at the
horizon's pace: Ctrl-C drains it, and the same --folder goes on with the same store.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from supervisor import ActionDenied, BudgetExceeded, Context, Outcome, SupervisorError
from supervisor.cli.parser import whole_number
from supervisor.config import load
from supervisor.config.horizons import HORIZONS
from supervisor.launch import run_daemon
from supervisor.simulation.rehearsal import rehearse

WORKER = "support"
#: Where the virtual clock begins: a midnight, so that a month has thirty daily windows.
START = datetime(2026, 6, 1, tzinfo=UTC)
CONFIG = """\
[supervisor]
state_dir = "var"

[session]
horizon = "{horizon}"            # window, checkpoints, actions and the interval of cycles
max_cost_usd = {max_cost_usd}           # less than the horizon's: a busy session uses it up

[spend]
daily_cap_usd = 1.00

[http]
listen = "127.0.0.1:0"

[providers.desk]                 # a stand-in for a paid model; answers at once
kind = "scripted"
price = {{ input_usd_per_mtok = 1.0, output_usd_per_mtok = 5.0 }}
script = {{ steps = [{{ text = "as the rules say", output_tokens = 4000 }}] }}

[worker.support]
run = "long_running_autonomous_agent:run"
model = "desk/assessor"
options = {{ cycles = {cycles}, is_real = {is_real} }}

[value]
rate_usd_per_hour = 30.0         # what the time of the people is worth who would do it

[policy]
blocked = ["close_account"]      # critical cases: never
auto_approve = ["answer_case", "change_plan", "refund"]
high_risk = "deny"               # nobody is there to be asked
known_assets = ["case:*"]

[policy.auto]
dry_run_only = false
max_risk_tier = "medium"
min_score = 0.5

[policy.session_risk]            # a window's worth of routine is no escalation
medium_from = 100
high_from = 1000
"""


class Priority(StrEnum):
    """How much is at stake in a case."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Plan(NamedTuple):
    """What the agent wants to do about a case, how sure it is, and how much it asks the model."""

    action: str
    score: float
    tokens: int


PLANS = {
    Priority.LOW: Plan("answer_case", 0.9, 200),
    Priority.MEDIUM: Plan("change_plan", 0.6, 400),
    Priority.HIGH: Plan("refund", 0.3, 800),
    Priority.CRITICAL: Plan("close_account", 0.2, 1600),
}
#: What one routine case takes a person.
HOURS_SAVED = 0.1
#: USD of a session. A day's costs are about 0.06, and differ by the cases that fall on it.
MAX_COST_USD = {"hour": 0.019, "day": 0.0165, "week": 0.057, "month": 0.057}


def priority_of(case: int) -> Priority:
    """Return a case's priority: the mix is the same in every run."""
    for every, priority in ((17, Priority.CRITICAL), (5, Priority.HIGH), (2, Priority.MEDIUM)):
        if case % every == 0:
            return priority
    return Priority.LOW


async def run(ctx: Context) -> Outcome:
    """Work on one case: assess, propose, and do it where it is approved."""
    case = int(ctx.state.get("cases", 0)) + 1
    priority = priority_of(case)
    plan = PLANS[priority]
    reasoning = await assess(ctx, case, priority)
    try:
        async with await ctx.propose(
            plan.action,
            resource=f"case:{case}",
            score=plan.score,
            reasoning=reasoning,
            command_id=f"case-{case}",
        ):
            ctx.saved(HOURS_SAVED, f"case {case}")  # and do it in the help desk's system
    except ActionDenied as denied:
        if denied.reason != "executed":  # done by a tick that was cut off before its end
            leave_for_a_person(ctx, case, denied.reason)
    ctx.state["cases"] = case
    if case >= int(str(ctx.options["cycles"])) and ctx.options.get("is_real"):
        signal.raise_signal(signal.SIGTERM)  # the daemon drains, as on Ctrl-C
    return Outcome.OK


def leave_for_a_person(ctx: Context, case: int, reason: str) -> None:
    """Count a case that was denied, and tell the next session's reader of it."""
    count = int(ctx.state.get("for_a_person", 0)) + 1
    ctx.state["for_a_person"] = count
    ctx.handoff(f"{count} cases wait for a person, the last is {case}: {reason}")


async def assess(ctx: Context, case: int, priority: Priority) -> str:
    """Return what a model says of a case, or the rules once its session's budget is used up."""
    try:
        prompt = f"Case {case}, priority {priority}: what is to be done, and why?"
        reply = await ctx.model.complete(prompt, max_tokens=PLANS[priority].tokens)
    except BudgetExceeded:
        return f"by the rules for priority {priority}"
    return reply.text


# --- running it


def main() -> int:
    """Run the agent, look back at its record, and return 0 where all of it fits."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--horizon", choices=list(HORIZONS), default="day")
    parser.add_argument(
        "--max-cycles", type=whole_number, metavar="N", help="else as many as fill the horizon"
    )
    parser.add_argument("--real", action="store_true", help="in real time, as a daemon")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="else a new one for this run")
    asked = parser.parse_args()
    cycles = asked.max_cycles or HORIZONS[asked.horizon].cycles
    folder = (asked.folder or Path(tempfile.mkdtemp(prefix="long-running-"))).absolute()
    try:
        config = install(folder, asked.horizon, cycles, is_real=asked.real)
        print(f"horizon {asked.horizon}, {cycles} cycles; config {config}")
        if asked.real:
            run_daemon(load(config))
        else:
            rehearse_here(config, asked.horizon, cycles)
        return 0 if look_back(config) else 1
    except SupervisorError as error:
        print(f"error[{error.code}]: {error}", file=sys.stderr)
        return 64


def install(folder: Path, horizon: str, cycles: int, *, is_real: bool) -> Path:
    """Put the config and this module into a folder, so that every command works there."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.toml"
    text = CONFIG.format(
        horizon=horizon,
        cycles=cycles,
        max_cost_usd=MAX_COST_USD[horizon],
        is_real=str(is_real).lower(),
    )
    config.write_text(text, encoding="utf-8")
    if Path(__file__).parent != folder:
        shutil.copy(__file__, folder)
    return config


def rehearse_here(config: Path, horizon: str, cycles: int) -> None:
    """Live through the horizon under the virtual clock."""
    span_s = 2 * HORIZONS[horizon].length_s
    done = rehearse(load(config), start=START, span_s=span_s, ticks_max=cycles)
    lived = str(done.ended_at - START).partition(".")[0]
    print(f"{done.ticks} cycles, {lived} of virtual time, in {done.wall_s:.2f} s")


def supervisor(config: Path, *words: str) -> str:
    """Run a command of the supervisor and return what it prints."""
    call = [sys.executable, "-m", "supervisor", "--config", str(config), *words]
    return subprocess.run(call, check=False, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603 - our own words


def look_back(config: Path) -> bool:
    """Print the scorecard and return whether it fits the events, the cycles and the audit."""
    of_sessions = ("scorecard", "--by", "session", "--worker", WORKER, "--last", "10000")
    print(supervisor(config, *of_sessions))
    cards = json.loads(supervisor(config, *of_sessions, "--json"))["windows"]
    counted = Counter(str(event["kind"]) for event in events_of(config))
    from_events = {
        "approvals": counted["approval_granted"],
        "denials": counted["approval_denied"] + counted["approval_timed_out"],
        "budget_exhaustions": counted["budget_exhausted"],
        "checkpoints": counted["checkpoint_created"],
        "sessions": counted["session_opened"],
    }
    told = {name: sum(card[name] for card in cards) for name in from_events}
    approved, denied = told["approvals"], told["denials"]
    cycles = counted["cycle_completed"]
    print(f"approved {approved} + denied {denied} = {approved + denied} of {cycles} cycles")
    print(f"sessions {told['sessions']}, budgets used up {told['budget_exhaustions']}")
    print(f"scorecard and events: {'equal' if told == from_events else 'NOT EQUAL'}")
    print(supervisor(config, "value", "--by", "worker").strip())
    audit = supervisor(config, "audit").strip()
    print(audit)
    return (approved + denied, told) == (cycles, from_events) and audit.startswith("audit: sound")


def events_of(config: Path) -> Iterator[dict[str, object]]:
    """Yield the agent's events, read without the scorecard's own fold."""
    for line in supervisor(config, "events", "--worker", WORKER, "--json").splitlines():
        yield json.loads(line)


if __name__ == "__main__":
    sys.exit(main())
