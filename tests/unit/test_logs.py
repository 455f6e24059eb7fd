"""Lines: one JSON object each, bounded in total, without secrets, and never the daemon's end."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.typing import FilteringBoundLogger

from supervisor.config import LogSection
from supervisor.logs import LOG_NAME, open_log
from supervisor.redaction import REDACTION

CANARY = "a-canary=0123456789"
MB = 1_000_000

Open = Callable[..., FilteringBoundLogger]


class Terminal(io.StringIO):
    """A console in front of a person."""

    def isatty(self) -> bool:
        return True


class Deaf(io.StringIO):
    """A console that forgets what it was told."""

    def write(self, text: str) -> int:
        return len(text)


class Gone(io.StringIO):
    """A console whose other end is closed."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error: Exception | None = error
        self.attempts = 0

    def write(self, text: str) -> int:
        self.attempts += 1
        if self.error is not None:
            raise self.error
        return super().write(text)


@pytest.fixture
def open_in(tmp_path: Path) -> Iterator[Open]:
    """Open logs, and close their files when the test is over."""
    opened: list[FilteringBoundLogger] = []

    def open_in(
        section: LogSection | None = None,
        console: io.StringIO | None = None,
        folder: Path = tmp_path,
    ) -> FilteringBoundLogger:
        REDACTION.learn([CANARY, "abc"])
        log = open_log(
            section or LogSection(),
            state_dir=folder,
            console=console if console is not None else io.StringIO(),
        )
        opened.append(log)
        return log

    yield open_in
    for log in opened:
        with contextlib.suppress(OSError):  # what a full disk has not taken yet
            vars(vars(log)["_logger"])["_file"].close()


def raised(text: str) -> ValueError:
    """Return an error with a traceback."""
    with pytest.raises(ValueError, match=text) as caught:
        raise ValueError(text)
    return caught.value


def lines_of(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / LOG_NAME).read_text().splitlines()]


def total_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob(f"{LOG_NAME}*"))


def test_a_line_is_one_json_object_with_its_time_level_and_event_first(
    open_in: Open, tmp_path: Path
) -> None:
    open_in().warning("cap_hit", worker="a", cost_usd=0.5, text="two\nlines", accounts=("x", "y"))
    (line,) = (tmp_path / LOG_NAME).read_text().splitlines()
    parsed = json.loads(line)
    assert list(parsed)[:3] == ["ts", "level", "event"]
    assert parsed["ts"].endswith("Z")
    assert (parsed["level"], parsed["event"]) == ("warning", "cap_hit")
    assert (parsed["worker"], parsed["cost_usd"]) == ("a", 0.5)
    assert parsed["text"] == "two\nlines"
    assert parsed["accounts"] == ["x", "y"]


def test_lines_below_the_level_are_not_written(open_in: Open, tmp_path: Path) -> None:
    log = open_in(LogSection(level="warning"))
    log.info("quiet")
    log.error("loud")
    assert [line["event"] for line in lines_of(tmp_path)] == ["loud"]


def test_a_bound_logger_keeps_what_it_was_told(open_in: Open, tmp_path: Path) -> None:
    open_in().bind(worker="a", tick=3).info("said")
    assert lines_of(tmp_path)[0]["worker"] == "a"
    assert lines_of(tmp_path)[0]["tick"] == 3


def test_what_is_no_json_is_written_as_text(open_in: Open, tmp_path: Path) -> None:
    open_in().info("odd", path=Path("/x"), raw=b"\xff")
    assert lines_of(tmp_path)[0]["path"] == "/x"


def test_an_exception_is_written_with_its_traceback(open_in: Open, tmp_path: Path) -> None:
    open_in().error("crashed", exc_info=raised("no such thing"))
    assert "ValueError: no such thing" in str(lines_of(tmp_path)[0]["exception"])
    assert "Traceback" in str(lines_of(tmp_path)[0]["exception"])


def test_the_total_is_bounded_by_the_file_and_its_predecessors(
    open_in: Open, tmp_path: Path
) -> None:
    log = open_in(LogSection(file_max_mb=1, files_keep=2))
    for number in range(60):
        log.info("line", number=number, filler="x" * 100_000)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [LOG_NAME, f"{LOG_NAME}.1", f"{LOG_NAME}.2"]
    assert 2 * MB < total_bytes(tmp_path) <= 3 * MB
    assert lines_of(tmp_path)[-1]["number"] == 59


def test_the_total_is_bounded_where_no_predecessor_is_kept(open_in: Open, tmp_path: Path) -> None:
    log = open_in(LogSection(file_max_mb=1, files_keep=0))
    for number in range(30):
        log.info("line", number=number, filler="x" * 100_000)
    assert total_bytes(tmp_path) <= MB


def test_a_line_that_a_dead_daemon_left_half_written_is_appended_to(
    open_in: Open, tmp_path: Path
) -> None:
    (tmp_path / LOG_NAME).write_text('{"event": "before"}\n')
    open_in().info("after")
    assert [line["event"] for line in lines_of(tmp_path)] == ["before", "after"]


def written(open_in: Open, tmp_path: Path, **fields: object) -> str:
    """Return all that reached the file and the console."""
    console = io.StringIO()
    open_in(console=console).error(f"got {CANARY}", **fields)
    return (tmp_path / LOG_NAME).read_text() + console.getvalue()


def test_a_secret_is_redacted_in_the_event_and_in_texts(open_in: Open, tmp_path: Path) -> None:
    text = written(open_in, tmp_path, error=f"401 for {CANARY}!", other="plain")
    assert CANARY not in text
    assert "401 for [redacted]!" in text
    assert "plain" in text


def test_a_secret_is_redacted_in_a_traceback(open_in: Open, tmp_path: Path) -> None:
    assert CANARY not in written(open_in, tmp_path, exc_info=raised(CANARY))


@pytest.mark.parametrize(
    "value",
    [
        [CANARY],
        {"key": CANARY},
        {"deep": [{"er": (CANARY,)}]},
        ValueError(CANARY),
        CANARY.encode(),
        Path("/keys") / CANARY,
    ],
    ids=["list", "dict", "nested", "exception", "bytes", "path"],
)
def test_a_secret_is_redacted_wherever_it_stands_in_a_value(
    open_in: Open, tmp_path: Path, value: object
) -> None:
    assert CANARY not in written(open_in, tmp_path, detail=value)


def test_a_secret_is_redacted_in_a_fields_name(open_in: Open, tmp_path: Path) -> None:
    assert CANARY not in written(open_in, tmp_path, **{CANARY: 1})


def test_a_short_secret_is_left_alone_so_that_lines_stay_readable(
    open_in: Open, tmp_path: Path
) -> None:
    assert "abcdef" in written(open_in, tmp_path, detail="abcdef")


def test_a_terminal_gets_lines_for_people_and_the_file_json(open_in: Open, tmp_path: Path) -> None:
    console = Terminal()
    open_in(console=console).info("started", worker="a")
    assert "started" in console.getvalue()
    assert not console.getvalue().startswith("{")
    assert lines_of(tmp_path)[0]["event"] == "started"


def test_a_console_that_is_no_terminal_gets_the_same_json(open_in: Open, tmp_path: Path) -> None:
    console = io.StringIO()
    open_in(console=console).info("started", worker="a")
    assert json.loads(console.getvalue()) == lines_of(tmp_path)[0]


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(5, "gone"), ValueError("closed")])
def test_a_console_that_is_gone_costs_no_line_of_the_file(
    open_in: Open, tmp_path: Path, error: Exception
) -> None:
    log = open_in(console=Gone(error))
    log.info("first")
    log.info("second")
    assert [line["event"] for line in lines_of(tmp_path)] == ["first", "second"]


def kept_bytes(log: FilteringBoundLogger) -> int:
    """Return what two million bytes of lines leave in memory."""
    log.info("first")
    tracemalloc.start()
    try:
        for _ in range(2_000):
            log.info("line", filler="x" * 1_000)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return kept


def test_lines_for_a_console_that_is_gone_are_not_kept_in_memory(open_in: Open) -> None:
    assert kept_bytes(open_in(console=Gone(BrokenPipeError()))) < MB


@pytest.mark.parametrize("error", [BlockingIOError(), OSError(errno.ENOSPC, "No space left")])
def test_a_console_that_can_not_take_a_line_now_gets_the_next_ones(
    open_in: Open, error: OSError
) -> None:
    # Another process has made the shared terminal or pipe non-blocking, and it is full; or it is
    # sent to a file on a full disk.
    console = Gone(error)
    log = open_in(console=console)
    log.info("lost")
    console.error = None
    log.info("seen")
    assert "seen" in console.getvalue()


def test_a_full_disk_costs_lines_and_never_raises(
    open_in: Open, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / LOG_NAME).symlink_to("/dev/full")
    console = io.StringIO()
    log = open_in(console=console)
    log.info("lost")
    log.info("lost_too", filler="x" * 100_000)
    assert "lost_too" in console.getvalue()
    assert capfd.readouterr().err == "", "a traceback a line would fill what is left"


def test_a_full_disk_costs_no_memory(open_in: Open, tmp_path: Path) -> None:
    (tmp_path / LOG_NAME).symlink_to("/dev/full")
    assert kept_bytes(open_in(console=Deaf())) < MB


def test_a_directory_that_is_gone_costs_lines_and_never_raises(
    open_in: Open, tmp_path: Path
) -> None:
    console = io.StringIO()
    open_in(folder=tmp_path / "gone", console=console).info("said")
    assert "said" in console.getvalue()


def test_a_text_that_is_no_unicode_is_not_lost(open_in: Open, tmp_path: Path) -> None:
    open_in().info("found", file=os.fsdecode(b"caf\xe9.txt"))
    assert [line["event"] for line in lines_of(tmp_path)] == ["found"]


def test_threads_that_log_around_a_rollover_lose_no_line(open_in: Open, tmp_path: Path) -> None:
    log = open_in(LogSection(file_max_mb=1, files_keep=9), console=Deaf())
    threads, lines, filler = 4, 200, "x" * 5_000

    def write(thread: int) -> None:
        for number in range(lines):
            log.info("line", at=f"{thread}.{number}", filler=filler)

    writing = [threading.Thread(target=write, args=(thread,)) for thread in range(threads)]
    for thread in writing:
        thread.start()
    for thread in writing:
        thread.join()
    files = sorted(tmp_path.glob(f"{LOG_NAME}*"))
    seen = [json.loads(line)["at"] for file in files for line in file.read_text().splitlines()]
    assert len(files) > 3
    assert sorted(seen) == sorted(f"{t}.{n}" for t in range(threads) for n in range(lines))
