"""Auditing an export: its rows are put into a scratch store, replayed and compared."""

from __future__ import annotations

import tempfile
from pathlib import Path

from supervisor.governance.audit import AuditReport, audit
from supervisor.maintenance.export_file import checksum_in_name, load_export
from supervisor.storage.scratch import ScratchStore


def audit_export(path: Path) -> AuditReport:
    """Replay every event of the file, and prove that all else in it follows from them.

    Balances are those before the export's first event and after its last; the checksum in the
    file's name is compared too.

    Raises:
        StoreDamaged: it can't be read, is cut off, changed, or of another version.
    """
    checksum_in_name(path)
    with tempfile.TemporaryDirectory(prefix="supervisor-audit-") as folder:
        scratch = ScratchStore(Path(folder) / "export.db")
        try:
            load_export(path, scratch)
            return scratch.read(audit, is_export=True)
        finally:
            scratch.close()
