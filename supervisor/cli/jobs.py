"""`supervisor jobs` and `supervisor dead`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from datetime import timedelta

import msgspec

from supervisor.assembly import build_job_rules
from supervisor.cli.invocation import Invocation
from supervisor.cli.output import (
    print_json,
    print_table,
    print_warning,
    print_wrapped,
    span_text,
)
from supervisor.cli.parser import Parser, did_you_mean, span_s, whole_number
from supervisor.cli.signing import origin_of
from supervisor.cli.store import read_store, write_store
from supervisor.clock import SystemClock, to_us
from supervisor.config import person
from supervisor.errors import UsageError
from supervisor.events.log import Origin
from supervisor.governance import job_commands
from supervisor.governance.job_commands import JobCommand, JobDecided, ResolveCommand
from supervisor.governance.job_facts import JobFacts, newest_jobs, one_job
from supervisor.governance.work_progress import ProgressStatus
from supervisor.jobs.job import JobState, Terms, request_job

_ACTIONS: Mapping[str, tuple[str, ...]] = {
    "jobs": ("list", "show", "enqueue", "retry", "cancel", "resolve"),
    "dead": ("list", "show", "requeue", "discard"),
}
_DECISIONS = {
    "retry": job_commands.requeue,
    "requeue": job_commands.requeue,
    "cancel": job_commands.cancel,
    "discard": job_commands.discard,
}
_ROWS = 50
_PRIORITY_MAX = 1_000_000


class JobsOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `jobs` and `dead` are told; `delay` in seconds."""

    action: str
    name: str | None
    payload: str | None
    queue: str | None
    state: str | None
    limit: int
    key: str | None
    priority: int
    delay: float | None
    attempts: int | None
    done: bool
    not_done: bool
    why: str | None
    actor: str | None
    command_id: str | None


def add_options(parser: Parser) -> None:
    """Tell the parser the command's options."""
    actions = "jobs: list|show|enqueue|retry|cancel|resolve; dead: list|show|requeue|discard"
    parser.add_argument("action", nargs="?", default="list", metavar="ACTION", help=actions)
    parser.add_argument("name", nargs="?", metavar="ID", help="the job; of enqueue: the queue")
    parser.add_argument("payload", nargs="?", metavar="JSON", help="of enqueue: what is to be done")
    parser.add_argument("--queue", metavar="NAME", help="list: of this queue")
    parser.add_argument("--state", metavar="STATE", help=f"list: {', '.join(JobState)}")
    parser.add_argument(
        "--limit",
        type=whole_number,
        default=_ROWS,
        metavar="N",
        help=f"list: at most N; {_ROWS} if left out",
    )
    parser.add_argument("--key", metavar="KEY", help="enqueue: one job a key; else one a payload")
    parser.add_argument(
        "--priority", type=_priority, default=0, metavar="N", help="enqueue: higher goes first"
    )
    parser.add_argument(
        "--delay", type=span_s, metavar="SPAN", help="enqueue: not before, such as 30m"
    )
    parser.add_argument("--attempts", type=whole_number, metavar="N", help="enqueue: tries at most")
    parser.add_argument("--done", action="store_true", help="resolve: it was done")
    parser.add_argument("--not-done", action="store_true", help="resolve: it was not; run it again")
    parser.add_argument("--why", metavar="TEXT", help="stands in the record")
    parser.add_argument("--actor", metavar="NAME", help="who does it; else the user")
    parser.add_argument(
        "--command-id", metavar="ID", help="repeating it repeats the answer, not the act"
    )


def _priority(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = _PRIORITY_MAX + 1
    if abs(number) > _PRIORITY_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number up to {_PRIORITY_MAX}")
    return number


def run(invocation: Invocation) -> int:
    """List, show, enqueue or decide jobs.

    Raises:
        UsageError: the words do not fit together.
        NotFound: the job does not exist.
        IllegalMove: it is in a state in which this can't be done.
        InputRefused: what is enqueued is out of its bounds.
    """
    options = invocation.options(JobsOptions)
    _check(invocation.command, options)
    match options.action:
        case "list":
            return _list(invocation, options)
        case "show":
            return _show(invocation, options.name or "")
        case "enqueue":
            return _enqueue(invocation, options)
        case _:
            return _decide(invocation, options)


def _check(command: str, options: JobsOptions) -> None:
    subject, known = f"supervisor {command} {options.action}", _ACTIONS[command]
    if options.action not in known:
        fix = did_you_mean(options.action, known) or f"there is: {', '.join(known)}"
        raise UsageError(subject=subject, what="is not known", fix=fix)
    if options.state is not None and options.state not in set(JobState):
        fix = did_you_mean(options.state, JobState) or f"there is: {', '.join(JobState)}"
        raise UsageError(subject=f"{subject} --state {options.state}", what="is none", fix=fix)
    if options.action == "enqueue":
        if options.name is None or options.payload is None:
            fix = """such as: supervisor jobs enqueue mail '{"to": "ann"}'"""
            raise UsageError(subject=subject, what="needs a queue and a payload", fix=fix)
        return
    if (options.name is None) != (options.action == "list") or options.payload is not None:
        what = "takes no ID" if options.action == "list" else "needs one job's ID"
        raise UsageError(subject=subject, what=what, fix=f"`supervisor {command}` lists them")
    if options.action == "resolve" and options.done == options.not_done:
        fix = "look whether it was done, then say --done or --not-done"
        raise UsageError(subject=subject, what="does not say what you have found", fix=fix)


def _list(invocation: Invocation, options: JobsOptions) -> int:
    state = "dead" if invocation.command == "dead" else options.state
    rows = read_store(invocation.load(), newest_jobs, options.queue, state, options.limit + 1)
    is_complete, shown = len(rows) <= options.limit, rows[: options.limit]
    if invocation.is_json:
        print_json({"jobs": shown, "is_complete": is_complete})
        return 0
    if not shown:
        print("no job is dead" if invocation.command == "dead" else "there are no such jobs")
        return 0
    table = [
        (
            one.id,
            one.queue,
            one.state,
            f"{one.attempts}/{one.attempts_max}",
            one.ended_at or one.run_at,
            one.error or "-",
        )
        for one in shown
    ]
    print_table(("JOB", "QUEUE", "STATE", "TRIES>", "ENDED OR DUE", "ERROR"), table)
    if not is_complete:
        print_warning(f"these are the newest {options.limit} of more; --limit N shows more")
    return 0


def _show(invocation: Invocation, job_id: str) -> int:
    facts: JobFacts = read_store(invocation.load(), one_job, job_id, SystemClock().now())
    if invocation.is_json:
        print_json(facts)
        return 0
    for name, value in msgspec.structs.asdict(facts).items():
        if name in ("history", "progress"):
            continue
        shown = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        print_wrapped(f"{name.replace('_', ' '):<18}{shown or '-'}")
    for one in facts.progress:
        _, loop, count, to_go, item = progress_row(one)
        left = f", to go: {to_go}" if one.is_running else ""
        print_wrapped(f"progress {loop}: {count}{left}, item: {item}")
    for failure in facts.history:
        print_wrapped(f"attempt {failure.attempt} at {failure.at}: {failure.error}")
    return 0


def progress_row(one: ProgressStatus) -> tuple[str, ...]:
    """Return whose work it is, its loop, how many are done, how long it takes yet, and the item."""
    item = f"in {one.item}" if one.item else f"behind {one.last_item}" if one.last_item else "-"
    to_go = "-" if one.eta_s is None else f"about {span_text(one.eta_s)}"
    if not one.is_running:
        to_go = "waits"
    return (f"{one.worker} {one.job}".strip(), one.name or "-", one.count, to_go, item)


def _enqueue(invocation: Invocation, options: JobsOptions) -> int:
    loaded = invocation.load()
    queue = options.name or ""
    try:
        payload = msgspec.json.decode((options.payload or "").encode())
    except msgspec.DecodeError as error:
        fix = """a text needs quotes of its own: '"ann"'; an object looks like '{"to": "ann"}'"""
        subject = f"supervisor jobs enqueue {queue}"
        raise UsageError(subject=subject, what=f"the payload is not JSON: {error}", fix=fix) from (
            error
        )
    now = SystemClock().now()
    due = now + timedelta(seconds=options.delay or 0.0)
    terms = Terms(
        key=options.key,
        priority=options.priority,
        run_at=to_us(due) if options.delay else 0,
        attempts_max=options.attempts or 0,
    )
    request = request_job(queue, payload, terms, build_job_rules(loaded.config))
    origin = Origin(at=now, actor=options.actor or person())
    made = write_store(loaded, job_commands.enqueue_for_person, request, origin, loaded.timezone)
    if invocation.is_json:
        print_json(made)
        return 0
    print(f"job {made.id}: {'enqueued' if made.is_new else 'is there already'} in queue {queue}")
    if all(worker.queue != queue for worker in loaded.config.worker.values()):
        print_warning(f"no worker of this config has queue = {queue!r}: it waits")
    return 0


def _decide(invocation: Invocation, options: JobsOptions) -> int:
    loaded = invocation.load()
    job, why = options.name or "", options.why or ""
    # Before the write, which would make a store where there is none.
    if "/" not in job:
        read_store(loaded, one_job, job, SystemClock().now())
    origin = origin_of(options)
    if options.action == "resolve":
        resolved = ResolveCommand(job=job, is_done=options.done, why=why)
        decided = write_store(loaded, job_commands.resolve, resolved, origin, loaded.timezone)
    else:
        decision = _DECISIONS[options.action]
        command = JobCommand(job=job, why=why)
        decided = write_store(loaded, decision, command, origin, loaded.timezone)
    if invocation.is_json:
        print_json(decided)
    else:
        print(_told(decided, options))
    return 0


def _told(decided: JobDecided, options: JobsOptions) -> str:
    if options.action == "cancel" and decided.state is JobState.RUNNING:
        return f"job {decided.job}: its worker is told to end it"
    return f"job {decided.job}: was {decided.before}, is {decided.state}"
