"""The secrets that the config gives to a worker, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from supervisor.errors import AccessDenied
from supervisor.hands.records import ToolRecords


class Secrets(Mapping[str, str]):
    """Names of environment variables and their values: those granted to this worker alone.

    It shows no value but to who asks for it by name; all that is written has it redacted.
    """

    def __init__(self, granted: Mapping[str, str], records: ToolRecords) -> None:
        self._granted = granted
        self._records = records

    def __getitem__(self, name: str) -> str:
        """Return a secret's value.

        Raises:
            AccessDenied: it is not granted to this worker, whether or not it is set.
        """
        value = self._granted.get(name)
        if value is not None:
            return value
        worker = self._records.tick.worker
        denied = AccessDenied(
            subject=f"secret {name[:80]}",
            what=f"is not granted to worker {worker}",
            fix=f'add it to secrets = ["{name[:80]}"] under [worker.{worker}], if it may have it',
        )
        self._records.refused("secrets", name, denied)
        raise denied

    def __contains__(self, name: object) -> bool:
        return name in self._granted

    def __iter__(self) -> Iterator[str]:
        return iter(self._granted)

    def __len__(self) -> int:
        return len(self._granted)

    def __repr__(self) -> str:
        return f"Secrets({', '.join(self._granted)})"
