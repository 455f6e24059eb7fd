"""What `supervisor doctor` finds of installed units of systemd and launchd.

The shipped ones (deploy/) have each key for a reason; what has drifted from them is told with it.
"""

from __future__ import annotations

import os
import plistlib
import pwd
import re
import shlex
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from supervisor.maintenance.doctor_site import Finding

_SYSTEMD = ("etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system")
_LAUNCHD = ("Library/LaunchDaemons", "Library/LaunchAgents")
_HOME_UNITS = (".config/systemd/user", "Library/LaunchAgents")
#: systemd.service(5) and launchd.plist(5), read 2026-11-21.
_SYSTEMD_STOP_S = 90.0
_LAUNCHD_STOP_S = 20.0
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|sec|m|min|h|)(?=\s|\d|$)")
_SPANS_S = {"": 1.0, "ms": 0.001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3_600.0}
_SIZE = re.compile(r"(\d+)([KMGT]?)")
_SIZES_MB = {"": 1 / 1024**2, "K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2}


class UnitNeeds(msgspec.Struct, frozen=True, kw_only=True):
    """What the config asks of a unit: its file, spans in seconds, and the keys by variable."""

    config: Path
    grace_s: float
    loop_block_abort_s: float
    rss_max_mb: int
    keys: Sequence[str] = ()


def examine_units(needs: UnitNeeds, root: Path = Path("/")) -> Iterator[Finding]:
    """Look at each installed unit that runs this config; `root` has the machine's files."""
    home = root / Path(pwd.getpwuid(os.geteuid()).pw_dir).relative_to("/")
    folders = [*(root / name for name in (*_SYSTEMD, *_LAUNCHD)), *(home / n for n in _HOME_UNITS)]
    for folder in folders:
        for path in sorted(folder.glob("*.service")) if folder.is_dir() else ():
            yield from _examine_systemd(path, needs, root)
        for path in sorted(folder.glob("*.plist")) if folder.is_dir() else ():
            yield from _examine_launchd(path, needs)


# --- systemd


def _examine_systemd(path: Path, needs: UnitNeeds, root: Path) -> Iterator[Finding]:
    service = _read_unit(path)
    words = _words(_last(service, "ExecStart"))
    if _config_of(words, _last(service, "WorkingDirectory")) != needs.config:
        return
    area, edit = f"unit {path}", f"`systemctl edit {path.stem}`"
    for what, line in _drifted(service, needs):
        fix = f"{edit}: under [Service] write {line}, then `systemctl daemon-reload`"
        yield Finding(area=area, what=what, fix=fix)
    program = root / words[0].lstrip("-@:+!/")
    if not os.access(program, os.X_OK):
        what = f"starts {words[0]}, which is no program here"
        yield Finding(area=area, what=what, fix=f"{edit}: correct ExecStart")
    yield from _examine_environment(area, service, needs, root)


def _drifted(service: Mapping[str, Sequence[str]], needs: UnitNeeds) -> Iterator[tuple[str, str]]:
    """Yield what is not as the shipped unit has it, and the line that mends it."""
    kind = _last(service, "Type") or "simple"
    if kind != "notify":
        yield f"has Type={kind}: a start counts before recovery is done", "Type=notify"
    restart = _last(service, "Restart") or "no"
    if restart != "on-failure":
        what = f"has Restart={restart}: on-failure restarts crashes, and no requested stop"
        yield what, "Restart=on-failure"
    if not {"64", "78"} <= set(_last(service, "RestartPreventExitStatus").split()):
        what = "restarts it after 64 or 78, which no restart mends"
        yield what, "RestartPreventExitStatus=64 78"
    stop_s = _seconds(_last(service, "TimeoutStopSec"), default=_SYSTEMD_STOP_S)
    if stop_s <= needs.grace_s:
        what = f"kills it {stop_s:g} s after a stop, within grace_s = {needs.grace_s:g}"
        yield what, f"TimeoutStopSec={needs.grace_s + 15:g}"
    watchdog_s = _seconds(_last(service, "WatchdogSec"), default=0.0)
    if watchdog_s <= needs.loop_block_abort_s:
        least_s = needs.loop_block_abort_s
        what = "has no watchdog" if not watchdog_s else f"has a watchdog of {watchdog_s:g} s"
        what += f": one above loop_block_abort_s = {least_s:g} ends what hangs, and nothing else"
        yield what, f"WatchdogSec={least_s + 10:g}"
    mode = _last(service, "KillMode") or "control-group"
    if mode not in ("mixed", "process"):
        what = f"has KillMode={mode}: its children are told to stop before it can drain them"
        yield what, "KillMode=mixed"
    memory_mb = _megabytes(_last(service, "MemoryMax"))
    if memory_mb is not None and memory_mb <= needs.rss_max_mb:
        what = f"is killed at {memory_mb:g} MB, before it drains at rss_max_mb = {needs.rss_max_mb}"
        yield what, f"MemoryMax={needs.rss_max_mb + 256}M"


def _examine_environment(
    area: str, service: Mapping[str, Sequence[str]], needs: UnitNeeds, root: Path
) -> Iterator[Finding]:
    """Look at the files of keys: there, for their owner alone, and with every key in them."""
    given = {
        word.partition("=")[0] for line in service.get("Environment", ()) for word in _words(line)
    }
    is_whole = True
    for line in service.get("EnvironmentFile", ()):
        file = root / line.lstrip("-").lstrip("/")
        try:
            mode = stat.S_IMODE(file.stat().st_mode)
            text = file.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            if not line.startswith("-"):
                what = f"needs {line}, which is not there: it does not start"
                yield Finding(area=area, what=what, fix=f"write {line}, mode 0600, owner root")
            continue
        except OSError:
            is_whole = False  # for root alone, as it should be
            continue
        if mode & 0o077:
            what = f"has mode {mode:04o}: others can read the keys in it"
            yield Finding(area=f"file {file}", what=what, fix=f"`chmod 0600 {file}`")
        given |= {name.partition("=")[0].strip() for name in text.splitlines()}
    for key in needs.keys:
        if is_whole and key not in given:
            what = f"gives the daemon no ${key}, which a model of the config needs"
            fix = f"add {key}=... to its EnvironmentFile (mode 0600, owner root)"
            yield Finding(area=area, what=what, fix=fix)


def _read_unit(path: Path) -> dict[str, list[str]]:
    """Return [Service] of a unit and its drop-ins: a key's lines, which an empty one clears."""
    found: dict[str, list[str]] = {}
    for file in (path, *sorted(Path(f"{path}.d").glob("*.conf"))):
        for key, value in _service_lines(file):
            if value:
                found.setdefault(key, []).append(value)
            else:
                found.pop(key, None)
    return found


def _service_lines(file: Path) -> Iterator[tuple[str, str]]:
    try:
        text = file.read_text(encoding="utf-8", errors="replace").replace("\\\n", " ")
    except OSError:
        return
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and line[0] not in "#;":
            key, _, value = line.partition("=")
            yield key.strip(), value.strip()


def _last(service: Mapping[str, Sequence[str]], key: str) -> str:
    return (service.get(key) or [""])[-1]


def _seconds(text: str, *, default: float) -> float:
    """Return a span of systemd.time(7) in seconds; `infinity` never comes."""
    if text == "infinity":
        return float("inf")
    parts = _SPAN.findall(text)
    if not parts:
        return default
    return sum(float(number) * _SPANS_S[unit] for number, unit in parts)


def _megabytes(text: str) -> float | None:
    size = _SIZE.fullmatch(text)
    return None if size is None else int(size[1]) * _SIZES_MB[size[2]]


# --- launchd


def _examine_launchd(path: Path, needs: UnitNeeds) -> Iterator[Finding]:
    try:
        job = plistlib.loads(path.read_bytes())
    except (OSError, ValueError):
        return  # not for us to read, or not a job of launchd's
    words = [str(word) for word in job.get("ProgramArguments", ())] if isinstance(job, dict) else []
    if _config_of(words, str(job.get("WorkingDirectory", ""))) != needs.config:
        return
    area = f"unit {path}"
    fix = "`launchctl bootout` it, edit the file, `launchctl bootstrap` it: {}"
    if job.get("KeepAlive") != {"SuccessfulExit": False}:
        what = "has another KeepAlive than SuccessfulExit = false: a requested stop is undone"
        yield Finding(area=area, what=what, fix=fix.format("see deploy/launchd"))
    stop_s = float(job.get("ExitTimeOut", _LAUNCHD_STOP_S))
    if stop_s <= needs.grace_s:
        what = f"kills it {stop_s:g} s after a stop, within grace_s = {needs.grace_s:g}"
        yield Finding(area=area, what=what, fix=fix.format(f"ExitTimeOut {needs.grace_s + 15:g}"))
    if job.get("ProcessType") == "Background":
        what = "has ProcessType Background: its timers and its disk are slowed down"
        yield Finding(area=area, what=what, fix=fix.format("ProcessType Standard"))
    given = job.get("EnvironmentVariables", {})
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077 and any(key in given for key in needs.keys):
        what = f"has mode {mode:04o}: others can read the keys in it"
        yield Finding(area=area, what=what, fix=f"`sudo chmod 0600 {path}`")
    for key in needs.keys:
        if key not in given:
            what = f"gives the daemon no ${key}, which a model of the config needs"
            yield Finding(area=area, what=what, fix=fix.format(f"EnvironmentVariables {key}"))


# --- both


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


def _config_of(words: Sequence[str], folder: str) -> Path | None:
    """Return the config of the daemon that a command line starts, None where it starts none."""
    if "run" not in words or not any(Path(word).name == "supervisor" for word in words):
        return None
    named = [word.partition("=")[2] for word in words if word.startswith("--config=")]
    if "--config" in words[:-1]:
        named.append(words[words.index("--config") + 1])
    return Path(folder) / (named[-1] if named else "config.toml")
