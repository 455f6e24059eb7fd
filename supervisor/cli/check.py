"""`supervisor check`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import msgspec

from supervisor.cli.invocation import Invocation
from supervisor.cli.output import print_error, print_json, print_table
from supervisor.cli.parser import Parser
from supervisor.cli.store import opened, store_exists
from supervisor.clock import SystemClock
from supervisor.config import Loaded, WorkerSection, models_of
from supervisor.errors import StoreUnavailable, SupervisorError
from supervisor.hands_assembly import build_checks
from supervisor.maintenance.state_dir import obstacle
from supervisor.money import limit_micro_usd, usd_text
from supervisor.storage.open import store_name
from supervisor.worker.loading import load_function, load_wake_gate
from supervisor.worker.models import Models

EXIT_SOUND = 0
EXIT_CONFIG = 78


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at; `problem` is None where it is sound."""

    what: str
    name: str
    found: str
    problem: SupervisorError | None = None


def add_options(parser: Parser) -> None:
    """Tell the parser the command's options."""
    parser.epilog = "Starts nothing and changes nothing. Exit 0, or 78 where something is wrong."


def run(invocation: Invocation) -> int:
    """Check everything that a start would use, and say all that is wrong.

    Raises:
        ConfigError: the config itself can't be used.
    """
    loaded = invocation.load_with_secrets()
    checked = asyncio.run(_check(loaded))
    bad = [one.problem for one in checked if one.problem is not None]
    if invocation.is_json:
        print_json(_as_json(checked))
    else:
        rows = [
            (one.what, one.name, one.found, "wrong" if one.problem else "ok") for one in checked
        ]
        print_table(("CHECKED", "NAME", "FOUND", ""), rows)
        for problem in bad:
            print_error(problem, is_json=False)
    return EXIT_CONFIG if bad else EXIT_SOUND


def _as_json(checked: list[Checked]) -> dict[str, object]:
    problems = [
        {"code": bad.code, "message": f"{bad.subject}: {bad.what}", "fix": bad.fix}
        for one in checked
        if (bad := one.problem) is not None
    ]
    told = [
        {"what": one.what, "name": one.name, "found": one.found, "ok": one.problem is None}
        for one in checked
    ]
    return {"ok": not problems, "checked": told, "problems": problems}


async def _check(loaded: Loaded) -> list[Checked]:
    from supervisor.assembly import build_models

    checked = [Checked(what="config", name=str(loaded.path), found="read")]
    try:
        models = build_models(loaded)
    except SupervisorError as error:
        checked.append(Checked(what="providers", name="", found="", problem=error))
        return checked
    checked.append(_session(loaded))
    checked.extend(_check_policy(loaded))
    try:
        for name, section in loaded.config.worker.items():
            checked.extend(_check_worker(loaded, name, section, models))
    finally:
        await models.close()
    checked.append(_check_function(loaded, "canary", loaded.config.drills.canary, what="drill"))
    checked.append(await _check_store(loaded))
    return checked


def _session(loaded: Loaded) -> Checked:
    """Return what [session] comes to, its horizon's values included."""
    session = loaded.config.session
    cost = usd_text(limit_micro_usd(session.max_cost_usd))
    found = (
        f"window {session.window}, at most {cost} and {session.max_actions} actions in each,"
        f" a checkpoint every {session.checkpoint_every} ticks"
    )
    name = f"horizon {session.horizon}" if session.horizon else "no horizon"
    return Checked(what="session", name=name, found=found)


def _schedule(section: WorkerSection) -> str:
    """Return when a worker ticks, and what of [session] it has its own."""
    when = "" if section.cron is None else f", cron {section.cron}"
    if section.every_s is not None:
        when = f", every {section.every_s:g} s"
    window = "" if section.window is None else f", window {section.window}"
    every = section.checkpoint_every
    return f"{when}{window}" + ("" if every is None else f", a checkpoint every {every} ticks")


def _check_policy(loaded: Loaded) -> Iterator[Checked]:
    """Check what [policy] names of other packages; nothing to say of a config without one."""
    if not loaded.config.policy.evaluator and loaded.config.policy.risk.assessor == "builtin":
        return
    checked = Checked(what="policy", name="evaluators", found="can be had")
    from supervisor.policy_assembly import build_action_policy

    try:
        build_action_policy(loaded)
    except SupervisorError as error:
        checked = msgspec.structs.replace(checked, found="", problem=error)
    yield checked


def _check_worker(
    loaded: Loaded, name: str, section: WorkerSection, models: Models
) -> Iterator[Checked]:
    checked = _check_function(loaded, name, section.run, what="worker")
    yield msgspec.structs.replace(checked, found=f"{section.run}{_schedule(section)}")
    if section.output.checks:
        yield _check_output(loaded, name)
    if section.has_work is not None:
        yield _check_wake_gate(loaded, name, section.has_work)
    for model in (*models_of(section.model or "", loaded.config), *section.fallback):
        yield _check_model(name, model, models)


def _check_model(worker: str, full_name: str, models: Models) -> Checked:
    checked = Checked(what="model", name=worker, found=full_name)
    try:
        model = models.resolve(full_name, SystemClock().now())
    except SupervisorError as error:
        return msgspec.structs.replace(checked, problem=error)
    price = "free" if model.price.is_free else "its price is known"
    return msgspec.structs.replace(checked, found=f"{full_name}: {price}")


def _check_function(loaded: Loaded, name: str, run: str, *, what: str) -> Checked:
    checked = Checked(what=what, name=name, found=run)
    try:
        load_function(name, run, folder=loaded.folder)
    except SupervisorError as error:
        return msgspec.structs.replace(checked, problem=error)
    return checked


def _check_output(loaded: Loaded, name: str) -> Checked:
    checks = loaded.config.worker[name].output.checks
    checked = Checked(what="output", name=name, found=", ".join(checks))
    try:
        build_checks(loaded, name)
    except SupervisorError as error:
        return msgspec.structs.replace(checked, problem=error)
    return checked


def _check_wake_gate(loaded: Loaded, name: str, has_work: str) -> Checked:
    checked = Checked(what="has_work", name=name, found=has_work)
    try:
        load_wake_gate(name, has_work, folder=loaded.folder)
    except SupervisorError as error:
        return msgspec.structs.replace(checked, problem=error)
    return checked


async def _check_store(loaded: Loaded) -> Checked:
    name = "postgresql"
    try:
        name = store_name(loaded.config.supervisor.database, state_dir=loaded.state_dir)
        in_the_way = obstacle(loaded.state_dir)
        if in_the_way is not None:
            raise StoreUnavailable(
                subject=f"state directory {loaded.state_dir}",
                what=f"can't be made: {in_the_way}",
                fix="move it out of the way or make it writable, or set [supervisor] state_dir",
            )
        if not store_exists(loaded):
            found = "does not exist yet: the first start makes it"
            return Checked(what="store", name=name, found=found)
        async with opened(loaded, is_read_only=True):
            return Checked(what="store", name=name, found="can be read, schema is current")
    except SupervisorError as error:
        return Checked(what="store", name=name, found="", problem=error)
