"""Logs: one JSON line an event in a rotated file, and a console for whoever watches."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Mapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from supervisor.config import LogSection
from supervisor.redaction import REDACTION

LOG_NAME = "supervisor.jsonl"
_MB = 1_000_000
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_FIRST = ("ts", "level", "event")


class _File(RotatingFileHandler):
    """The rotated file. A full disk costs lines, never the daemon."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's
        return

    def doRollover(self) -> None:  # noqa: N802 - the library's
        """Empty the file where it has no predecessor: the library would go on appending."""
        if not self.backupCount:
            os.truncate(self.baseFilename, 0)
        super().doRollover()


class _Sinks:
    """Writes each line to the file and to the console; the one place that writes logs."""

    def __init__(self, file: logging.Handler, console: TextIO | None) -> None:
        self._file = file
        self._console = console

    def write(self, line: str, shown: str) -> None:
        # `handle` takes the lock that a rollover needs: the loop guard logs from its own thread.
        self._file.handle(logging.makeLogRecord({"msg": line}))
        if self._console is None:
            return
        try:
            self._console.write(shown + "\n")
            self._console.flush()
        except (OSError, ValueError) as error:
            # Full now, it may have room again: only this line is lost to it. Else the terminal or
            # the pipe is gone: the file has the line.
            has_no_room = getattr(error, "errno", None) in _NO_ROOM
            if not has_no_room and not isinstance(error, BlockingIOError):
                self._console = None

    debug = info = warning = error = critical = msg = write


class _Render:
    """Ends the chain: JSON for the file, and for the console what suits it."""

    def __init__(self, *, is_terminal: bool) -> None:
        self._json = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
        self._human = structlog.dev.ConsoleRenderer(colors=True) if is_terminal else None

    def __call__(
        self, logger: WrappedLogger, method: str, event: EventDict
    ) -> tuple[tuple[str, str], dict[str, str]]:
        ordered = {key: event[key] for key in _FIRST if key in event} | dict(event)
        line = _text(self._json(logger, method, ordered))
        return (line, _text(self._human(logger, method, event)) if self._human else line), {}


def _text(rendered: str | bytes) -> str:
    # What is no Unicode, such as half of a file's name, is written as an escape, which JSON knows.
    text = rendered if isinstance(rendered, str) else rendered.decode()
    return text.encode(errors="backslashreplace").decode()


def _redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Clean whatever stands in a line, whatever it is: all of it becomes text in the end."""
    return {REDACTION.text(key): _clean(value) for key, value in event.items()}


def _clean(value: object) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case Mapping():
            return {REDACTION.text(str(key)): _clean(inner) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_clean(inner) for inner in value]
        case _:
            return REDACTION.text(str(value))


def open_log(
    section: LogSection, *, state_dir: Path, console: TextIO | None = None
) -> FilteringBoundLogger:
    """Return the daemon's logger.

    The file holds at most `file_max_mb` and has `files_keep` predecessors, so that the total is
    bounded. The console is human on a terminal and the same JSON elsewhere.
    """
    # Started without a standard error, there is nobody to show anything to.
    shown_on: TextIO | None = console or sys.stderr
    file = _File(
        state_dir / LOG_NAME,
        maxBytes=section.file_max_mb * _MB,
        backupCount=section.files_keep,
        encoding="utf-8",
        delay=True,
    )
    log: FilteringBoundLogger = structlog.wrap_logger(
        _Sinks(file, shown_on),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
            structlog.processors.format_exc_info,
            _redact,
            _Render(is_terminal=shown_on is not None and shown_on.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[section.level.upper()]
        ),
        cache_logger_on_first_use=True,
    )
    return log
