"""`supervisor doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from supervisor.assembly import build_budgets
from supervisor.cli.doctor_models import examine_models, used_models
from supervisor.cli.invocation import Invocation
from supervisor.cli.output import print_json, print_warning, print_wrapped
from supervisor.cli.parser import Parser
from supervisor.cli.signing import origin_of
from supervisor.cli.store import locked, read_store, store_exists, write_store
from supervisor.clock import SystemClock
from supervisor.config import Loaded
from supervisor.config.reading import names_key
from supervisor.errors import ConfigError, StoreDamaged, StoreUnavailable, UsageError
from supervisor.governance.clock_reset import ClockReset, ResetClockCommand, reset_clock
from supervisor.governance.health import problems
from supervisor.governance.status import Surroundings, read_status
from supervisor.lock import Holder, running_holder
from supervisor.maintenance.doctor_clock import examine_clock, is_kept_right, machine_zone
from supervisor.maintenance.doctor_config import (
    examine_alerts,
    examine_config_file,
    examine_fallbacks,
    read_channels,
)
from supervisor.maintenance.doctor_disk import examine_disk
from supervisor.maintenance.doctor_site import (
    Finding,
    examine_port,
    examine_python,
    examine_state_dir,
)
from supervisor.maintenance.doctor_store import examine_facts, examine_file, read_facts
from supervisor.maintenance.doctor_units import UnitNeeds, examine_units
from supervisor.maintenance.heartbeat import HEARTBEAT_NAME
from supervisor.maintenance.stop_file import read_stop
from supervisor.maintenance.witness import check_not_behind, read_witness
from supervisor.storage.open import is_postgres, sqlite_path
from supervisor.worker.loading import load_function

EXIT_FINDINGS = 1


class DoctorOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `doctor` is told."""

    reset_ledger_clock: bool
    why: str | None
    actor: str | None
    command_id: str | None


def add_options(parser: Parser) -> None:
    """Tell the parser the command's options."""
    parser.add_argument(
        "--reset-ledger-clock",
        action="store_true",
        help="put the ledger's clock back to the wall clock; refunds nothing; needs --why",
    )
    parser.add_argument("--why", metavar="TEXT", help="stands in the record")
    parser.add_argument("--actor", metavar="NAME", help="who does it; else the user")
    parser.add_argument(
        "--command-id", metavar="ID", help="repeating it repeats the answer, not the act"
    )
    parser.epilog = (
        "Looks at the config, its workers and models, the state directory, the disk, the clock,\n"
        "the port, Python, installed units, alerts, the store and what it says of dead lives.\n"
        "Changes nothing; asks each provider which models it has, which costs nothing. Exit 0\n"
        "healthy, 1 where it finds something; what is a hint may be as it should be.\n"
        "Every page is read; `supervisor audit` proves the record itself."
    )


def run(invocation: Invocation) -> int:
    """Say everything that is wrong and what mends it, or put the ledger's clock back.

    Raises:
        UsageError: the words do not fit together.
        ConfigError: not even the state directory can be told from the config.
        AlreadyRunning: --reset-ledger-clock while a daemon runs.
        IllegalMove: --reset-ledger-clock, and nothing is ahead.
    """
    options = invocation.options(DoctorOptions)
    if options.reset_ledger_clock != bool((options.why or "").strip()):
        fix = "write --reset-ledger-clock --why TEXT, or neither"
        raise UsageError(
            subject="supervisor doctor", what="a reset and its reason belong together", fix=fix
        )
    if options.reset_ledger_clock:
        return _reset(invocation, options)
    findings = list(_examine(invocation))
    number = sum(not finding.is_hint for finding in findings)
    if invocation.is_json:
        print_json({"healthy": not number, "findings": findings})
    else:
        _print(findings)
    return EXIT_FINDINGS if number else 0


def _print(findings: list[Finding]) -> None:
    # Hints last: what is wrong for sure comes first.
    for finding in sorted(findings, key=lambda finding: finding.is_hint):
        hint = "hint: " if finding.is_hint else ""
        print_wrapped(f"{hint}{finding.area}: {finding.what}")
        print_wrapped(f"    {finding.fix}")
    hints = sum(finding.is_hint for finding in findings)
    also = f", {hints} hint{'s' if hints > 1 else ''}" if hints else ""
    print(f"doctor: {len(findings) - hints or 'nothing'} found{also}")


# --- looking


def _examine(invocation: Invocation) -> Iterator[Finding]:
    try:
        loaded = invocation.load()
    except ConfigError as error:
        yield Finding(area="config", what=f"{error.subject}: {error.what}", fix=error.fix)
        loaded = _load_quietly(invocation)
    else:
        yield from _examine_workers(loaded)
        yield from examine_models(loaded)
        yield from examine_fallbacks(loaded.config)
        yield from examine_config_file(loaded.path, loaded.config)
        yield from examine_units(_unit_needs(loaded))
    holder = running_holder(loaded.state_dir)
    now = SystemClock().now()
    yield from examine_python()
    yield from examine_state_dir(loaded.state_dir)
    has_file = not is_postgres(loaded.config.supervisor.database)
    yield from examine_disk(loaded.state_dir, has_file=has_file)
    zone = machine_zone() if _names_no_zone(loaded) else ""
    yield from examine_clock(now, is_kept_right=is_kept_right(), unsaid_zone=zone)
    yield from examine_port(loaded.config.http.listen, holder)
    yield from _examine_store(loaded, holder, now)


def _load_quietly(invocation: Invocation) -> Loaded:
    # It warns of what has just been found; the finding is enough for --json.
    return invocation.load_at_least_the_store()


def _examine_workers(loaded: Loaded) -> Iterator[Finding]:
    functions = {name: worker.run for name, worker in loaded.config.worker.items()}
    functions["canary"] = loaded.config.drills.canary
    for name, function in functions.items():
        try:
            load_function(name, function, folder=loaded.folder)
        except ConfigError as error:
            yield Finding(area="config", what=f"{error.subject}: {error.what}", fix=error.fix)


def _unit_needs(loaded: Loaded) -> UnitNeeds:
    config, section = loaded.config, loaded.config.supervisor
    keys = {config.providers[name].api_key_env for name in used_models(config)}
    return UnitNeeds(
        config=loaded.path,
        grace_s=section.grace_s,
        loop_block_abort_s=section.loop_block_abort_s,
        rss_max_mb=section.rss_max_mb,
        keys=sorted(keys - {""}),
    )


def _names_no_zone(loaded: Loaded) -> bool:
    """Return whether cron expressions are in UTC because nobody has said anything else."""
    workers = loaded.config.worker.values()
    has_cron = any(worker.cron and not worker.timezone for worker in workers)
    return has_cron and not names_key(loaded.path, "supervisor", "timezone")


def _examine_store(loaded: Loaded, holder: Holder | None, now: datetime) -> Iterator[Finding]:
    url = loaded.config.supervisor.database
    if not store_exists(loaded):
        yield from examine_alerts(loaded.config, ())
        what = "there is none yet: no daemon has run here"
        yield Finding(area="store", what=what, fix="`supervisor run` starts one")
        yield from _examine_stop(loaded)
        return
    try:
        yield from _examine_record(loaded, holder, now)
    except StoreUnavailable as error:
        yield Finding(area="store", what=f"{error.subject}: {error.what}", fix=error.fix)
        yield from _examine_stop(loaded)
        is_file = isinstance(error, StoreDamaged) and not is_postgres(url)
        if not is_file:
            return
    path = sqlite_path(url, state_dir=loaded.state_dir)
    if not is_postgres(url) and path.exists() and path.stat().st_size:
        yield from examine_file(path)


def _examine_stop(loaded: Loaded) -> Iterator[Finding]:
    said = read_stop(loaded.state_dir)
    if said is not None:
        fix = "`supervisor stop --clear` removes it"
        yield Finding(area="STOP", what=f"the file is there: {said}", fix=fix)


def _examine_record(loaded: Loaded, holder: Holder | None, now: datetime) -> Iterator[Finding]:
    around = Surroundings(
        holder=holder,
        stop_requested=read_stop(loaded.state_dir),
        heartbeat_s=loaded.config.supervisor.heartbeat_s,
    )
    status = read_store(
        loaded,
        read_status,
        now=now,
        worker_names=list(loaded.config.worker),
        budgets=build_budgets(loaded),
        around=around,
    )
    for problem in problems(status):
        yield Finding(area="status", what=problem.what, fix=problem.fix)
    boot_id = holder.boot_id if holder else ""
    is_alone = not is_postgres(loaded.config.supervisor.database)
    facts = read_store(loaded, read_facts, now, boot_id=boot_id, is_alone=is_alone)
    yield from examine_facts(facts, now, is_running=holder is not None)
    yield from examine_alerts(loaded.config, read_store(loaded, read_channels))
    heartbeat = loaded.state_dir / HEARTBEAT_NAME
    # Read before the store is: a daemon that runs goes on in between.
    witness = read_witness(heartbeat)
    read_store(loaded, check_not_behind, witness, heartbeat)


# --- the ledger's clock


def _reset(invocation: Invocation, options: DoctorOptions) -> int:
    loaded = invocation.load_at_least_the_store()
    if not store_exists(loaded):
        raise UsageError(
            subject="supervisor doctor --reset-ledger-clock",
            what="there is no store yet",
            fix="`supervisor run` makes one, with a clock that is right",
        )
    origin = origin_of(options)
    with locked(loaded):
        command = ResetClockCommand(why=" ".join((options.why or "").split()))
        done = write_store(loaded, reset_clock, command, origin, loaded.timezone)
    if invocation.is_json:
        print_json(done)
    else:
        _tell(done)
    return 0


def _tell(done: ClockReset) -> None:
    print_wrapped(f"ledger clock: was {done.clock_before}, is {done.clock_at}")
    for account in done.carried:
        print_wrapped(f"  {account} counts what was spent under the later one, too")
    for session in done.closed:
        print_wrapped(f"  session {session} is closed; the next start opens the one of now")
    for session in done.left:
        print_warning(
            f"session {session} is paused for a person and stays as it is: resume it with"
            f" `supervisor sessions resume {session}`, then do this again"
        )
