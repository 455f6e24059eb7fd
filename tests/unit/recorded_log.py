"""A log that keeps its lines instead of writing them."""

from __future__ import annotations

import logging

import structlog
from structlog.testing import LogCapture
from structlog.typing import FilteringBoundLogger


class RecordedLog:
    """`log` for the code under test, and what it has been told."""

    def __init__(self, level: int = logging.DEBUG) -> None:
        self._capture = LogCapture()
        self.log: FilteringBoundLogger = structlog.wrap_logger(
            None,
            processors=[self._capture],
            wrapper_class=structlog.make_filtering_bound_logger(level),
        )

    @property
    def events(self) -> list[str]:
        return [str(line["event"]) for line in self._capture.entries]

    def lines(self, event: str) -> list[dict[str, object]]:
        return [dict(line) for line in self._capture.entries if line["event"] == event]

    def clear(self) -> None:
        self._capture.entries.clear()
