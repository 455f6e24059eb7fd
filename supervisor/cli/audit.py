"""`supervisor audit`."""

from __future__ import annotations

from pathlib import Path

import msgspec

from supervisor.cli.invocation import Invocation
from supervisor.cli.output import print_json, print_wrapped
from supervisor.cli.parser import Parser
from supervisor.cli.store import read_store
from supervisor.governance.audit import AuditReport, audit

EXIT_DIFFERS = 1


class AuditOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `audit` is told."""

    export: str | None


def add_options(parser: Parser) -> None:
    """Tell the parser the command's options."""
    parser.add_argument(
        "--export", metavar="FILE", help="replay and audit this file of retention instead"
    )
    parser.epilog = (
        "Reads the whole record in one snapshot, also while the daemon runs. Exit 0 where all\n"
        "follows from the events, 1 where something differs: the first difference comes first."
    )


def run(invocation: Invocation) -> int:
    """Prove the record, or name what differs.

    Raises:
        StoreDamaged: the export can't be read, is cut off, or not the one that was recorded.
        StoreUnavailable: the store can't be read.
    """
    options = invocation.options(AuditOptions)
    if options.export is not None:
        # Imported when it is asked for: the audit of the store has no use for it.
        from supervisor.maintenance.export_audit import audit_export

        report = audit_export(Path(options.export))
    else:
        report = read_store(invocation.load(), audit)
    if invocation.is_json:
        print_json(report)
    else:
        _print(report)
    return 0 if report.is_clean else EXIT_DIFFERS


def _print(report: AuditReport) -> None:
    for finding in report.findings:
        print_wrapped(finding.text)
    hidden = report.findings_total - len(report.findings)
    if hidden:
        by_kind = ", ".join(f"{count} of {kind}" for kind, count in report.findings_by_kind.items())
        print_wrapped(f"... and {hidden} more; in all {by_kind}")
    verdict = "sound" if report.is_clean else f"{report.findings_total} differences"
    print_wrapped(
        f"audit: {verdict}; {report.events} events, {report.sessions} sessions, "
        f"{report.accounts} accounts, {report.holds} holds, {report.ticks} ticks"
    )
