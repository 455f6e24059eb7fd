"""Every transaction that the code hands to a store for writing, and what is known of each."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

import msgspec

import supervisor

_CODE = Path(supervisor.__file__).parent
#: Runs the same transactions in a world of its own.
_LEFT_OUT = "simulation"
#: Passes on what others hand to it.
_PASSES_ON = {"cli/store.py:function", "storage/postgres.py:function", "storage/sqlite.py:function"}


class Reach(StrEnum):
    """Who makes it happen; all that an agent begins is refused under a kill."""

    AGENT = "agent"
    #: Ends what an agent began before: under a kill too, or a hold would stay open for ever.
    AGENTS_END = "agent's end"
    PERSON = "person"
    DAEMON = "daemon"


class Write(msgspec.Struct, frozen=True):
    """One of them: `commands` are the operations by whose names a case of them is tested.

    Where it has none, `why` says what makes it happen once all the same.
    """

    reach: Reach
    commands: tuple[str, ...] = ()
    why: str = ""


Writes: TypeAlias = Mapping[str, Write]

_A_TICK = "a tick has one number: the row is taken once"
_STATE = "it looks at the state first: again, it changes nothing"
_TOLD = "it records that something has happened; each time is an event of its own"

#: By the place where it is handed over: `module:function`.
WRITES: Writes = {
    # What people ask for.
    "cli/approvals.py:decide": Write(Reach.PERSON, ("approve", "deny")),
    "http/answers.py:act": Write(Reach.PERSON, ("approve", "deny")),
    "cli/breakers.py:close_breaker": Write(Reach.PERSON, ("close_breaker",)),
    "cli/kill.py:turn": Write(Reach.PERSON, ("kill", "release")),
    "http/answers.py:_engage": Write(Reach.PERSON, ("kill",)),
    "http/answers.py:kill_switch.release": Write(Reach.PERSON, ("release",)),
    "cli/reconcile.py:reconcile_hold": Write(Reach.PERSON, ("reconcile",)),
    "cli/sessions.py:session_commands.resume": Write(Reach.PERSON, ("resume",)),
    "cli/sessions.py:session_commands.abort": Write(Reach.PERSON, ("abort",)),
    "cli/rollback.py:roll_back": Write(Reach.PERSON, ("rollback",)),
    "cli/rollback.py:record_failure": Write(Reach.PERSON, why=_TOLD),
    "cli/restore.py:restored_in_place": Write(Reach.PERSON, ("restore",)),
    "maintenance/restore.py:record_restore": Write(Reach.PERSON, ("restore",)),
    "cli/doctor.py:reset_clock": Write(Reach.PERSON, ("reset_clock",)),
    "maintenance/approvals_drill.py:begin": Write(Reach.PERSON, ("drill",)),
    "maintenance/kill_drill.py:_begin": Write(Reach.PERSON, ("drill",)),
    "maintenance/restore_drill.py:drills.begin": Write(Reach.PERSON, ("drill",)),
    "maintenance/kill_drill.py:_engage": Write(Reach.PERSON, ("kill",)),
    "cli/alerts.py:acknowledge": Write(Reach.PERSON, ("acknowledge_alert",)),
    "cli/jobs.py:decision": Write(Reach.PERSON, ("job_requeue", "job_cancel", "job_discard")),
    "cli/jobs.py:job_commands.resolve": Write(Reach.PERSON, ("job_resolve",)),
    "cli/jobs.py:job_commands.enqueue_for_person": Write(Reach.PERSON, ("enqueue",)),
    "cli/incident.py:operation": Write(
        Reach.PERSON, ("incident_open", "incident_note", "incident_close")
    ),
    # What agents can reach.
    "worker/jobs.py:_enqueue": Write(Reach.AGENT, ("enqueue",)),
    "worker/effects.py:_take": Write(Reach.AGENT, why="a key is taken once"),
    "worker/effects.py:_keep": Write(Reach.AGENTS_END, why=_STATE),
    "worker/effects.py:_release": Write(Reach.AGENTS_END, why=_STATE),
    "worker/effects.py:_lose": Write(Reach.AGENTS_END, why=_STATE),
    "worker/items.py:begin_items": Write(Reach.AGENT, why="again, it begins where it was left"),
    "worker/items.py:begin_items_anew": Write(Reach.AGENTS_END, why=_STATE),
    "worker/items.py:commit_item": Write(Reach.AGENTS_END, why="an item has one number"),
    "worker/items.py:progress.name_item": Write(Reach.AGENTS_END, why=_TOLD),
    "worker/told_progress.py:tell_progress": Write(Reach.AGENTS_END, why=_TOLD),
    "worker/drain.py:begin_queue_tick": Write(Reach.AGENT, why=_A_TICK),
    "worker/job_endings.py:end_some": Write(Reach.AGENTS_END, why="a claim has one token"),
    "worker/job_endings.py:finish_queue_tick": Write(Reach.AGENTS_END, why=_A_TICK),
    "worker/tick.py:begin_tick": Write(Reach.AGENT, why=_A_TICK),
    "worker/actions.py:propose": Write(Reach.AGENT, ("propose",)),
    "worker/calls.py:placing.place": Write(Reach.AGENT, ("hold",)),
    "worker/calls.py:begin_execution": Write(
        Reach.AGENT, why="its id is the proposal's, which is taken by compare-and-set"
    ),
    "hands/records.py:use_tool": Write(Reach.AGENT, why=_TOLD),
    "hands/records.py:record": Write(Reach.AGENTS_END, why=_TOLD),
    # It has happened: on record under a kill too.
    "governance/token_tracker.py:record_usage": Write(Reach.AGENTS_END, ("record_usage",)),
    "worker/handed_over.py:forget_output": Write(Reach.AGENTS_END, why=_STATE),
    "worker/calls.py:placing.end_holds": Write(Reach.AGENTS_END, ("settle", "forfeit")),
    "worker/calls.py:placing.record_refusal": Write(Reach.AGENTS_END, why=_TOLD),
    "worker/tick.py:finish_tick": Write(Reach.AGENTS_END, why=_A_TICK),
    # What the daemon does by itself.
    "alerts/delivery.py:claim": Write(Reach.DAEMON, why=_STATE),
    "alerts/delivery.py:note_delivered": Write(Reach.DAEMON, why=_STATE),
    "alerts/delivery.py:note_failed": Write(Reach.DAEMON, why=_TOLD),
    "alerts/duty.py:note_seen": Write(Reach.DAEMON, why=_STATE),
    "alerts/duty.py:take_in": Write(Reach.DAEMON, why=_STATE),
    "daemon.py:begin_life": Write(Reach.DAEMON, why="a boot id is made for each start"),
    "daemon.py:end_life": Write(Reach.DAEMON, why=_STATE),
    "daemon.py:record_reload": Write(Reach.DAEMON, why=_TOLD),
    "events/telemetry.py:_journal": Write(Reach.DAEMON, why=_TOLD),
    "maintenance/approval_sweep.py:sweep_page": Write(Reach.DAEMON, why=_STATE),
    "maintenance/approvals_drill.py:finish": Write(Reach.DAEMON, why=_STATE),
    "maintenance/job_watch.py:_take_silent": Write(Reach.DAEMON, why=_STATE),
    "maintenance/lease_keeper.py:renew": Write(Reach.DAEMON, why=_STATE),
    "maintenance/heartbeat.py:_beat": Write(Reach.DAEMON, why=_STATE),
    "maintenance/kill_drill.py:_finish": Write(Reach.DAEMON, why=_STATE),
    "maintenance/recovery.py:_bury": Write(Reach.DAEMON, why=_STATE),
    "maintenance/recovery.py:_recover_page": Write(Reach.DAEMON, why=_STATE),
    "maintenance/recovery.py:_close_unowned": Write(Reach.DAEMON, why=_STATE),
    "maintenance/restore_drill.py:drills.finish": Write(Reach.DAEMON, why=_STATE),
    "maintenance/retention.py:rotate_system": Write(Reach.DAEMON, why=_STATE),
    "maintenance/retention.py:retire": Write(Reach.DAEMON, why="an export has one number"),
    "maintenance/retention.py:prune_jobs": Write(Reach.DAEMON, why=_STATE),
    "maintenance/retention.py:prune_page": Write(Reach.DAEMON, why=_STATE),
    "maintenance/burn_watch.py:stop_burns": Write(Reach.DAEMON, why=_STATE),
    "maintenance/stuck_watch.py:_record": Write(Reach.DAEMON, why=_STATE),
    "maintenance/sweep_rehearsal.py:drills.finish": Write(Reach.DAEMON, why=_STATE),
    "maintenance/sweep_rehearsal.py:drills.take_up": Write(Reach.DAEMON, why=_STATE),
    "maintenance/sweep_rehearsal.py:_rehearse": Write(Reach.DAEMON, why="it is always taken back"),
    "worker/canary.py:_take_up": Write(Reach.DAEMON, why=_STATE),
    "worker/loop.py:_pause_on_cap": Write(Reach.DAEMON, why=_STATE),
    "worker/morning_report.py:open_schedule": Write(Reach.DAEMON, why=_STATE),
    "worker/morning_report.py:_tell": Write(Reach.DAEMON, why=_STATE),
    "worker/timetable.py:open_schedule": Write(Reach.DAEMON, why=_STATE),
    "worker/timetable.py:take": Write(Reach.DAEMON, why=_STATE),
    "worker/timetable.py:give_up": Write(Reach.DAEMON, why=_STATE),
    "worker/workforce.py:_record": Write(Reach.DAEMON, why=_TOLD),
}


def found_writes() -> set[str]:
    """Return every `module:function` that the code hands to a store for writing."""
    found = set()
    for module, tree in _modules():
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            function = _written(call)
            if function is not None:
                found.add(f"{module}:{ast.unparse(function)}")
    return found - _PASSES_ON


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(_CODE.rglob("*.py")):
        module = path.relative_to(_CODE)
        if module.parts[0] != _LEFT_OUT:
            yield str(module), ast.parse(path.read_text(encoding="utf-8"))


def _written(call: ast.Call) -> ast.expr | None:
    """Return what the call hands to a store for writing, None where it does not."""
    match call.func:
        case ast.Name(id="write_store"):
            return call.args[1]
        case ast.Attribute(attr="write", value=receiver) if call.args:
            last = ast.unparse(receiver).rpartition(".")[2].lstrip("_")
            return call.args[0] if last in ("database", "store", "group") else None
        case _:
            return None


def found_operations() -> set[str]:
    """Return the name of every operation that the code carries out `once`."""
    return {name for _, tree in _modules() for name in _operations(tree)}


def _operations(tree: ast.Module) -> Iterator[str]:
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            if isinstance(call.func, ast.Name) and call.func.id == "once":
                names = list(_texts(function, call.args[1]))
                assert names, f"{function.name} gives `once` an operation that can't be read"
                yield from names


def _texts(function: ast.FunctionDef, value: ast.expr) -> Iterator[str]:
    """Yield what a text is, or can be by the assignments of its function."""
    match value:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=body, orelse=orelse):
            yield from _texts(function, body)
            yield from _texts(function, orelse)
        case ast.Name(id=name):
            for node in ast.walk(function):
                if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
                    yield from _texts(function, node.value)
        case _:
            return
