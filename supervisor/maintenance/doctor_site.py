"""What `supervisor doctor` finds around the store: the state directory, Python, the port."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import stat
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import msgspec

from supervisor.errors import text_of
from supervisor.lock import Holder

_FREE_BYTES_MIN = 256 * 1024 * 1024
_ASK_S = 2.0
_NEEDED = re.compile(r"(?P<name>[A-Za-z0-9_.-]+)>=(?P<version>[0-9.]+)$")
_LEFTOVERS = (".drill-restore-*", ".supervisor.db.*", ".*.db.*.new")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong, and what mends it; `area` is what was looked at.

    A hint may be as it should be here: only a person can tell.
    """

    area: str
    what: str
    fix: str
    is_hint: bool = False


def examine_state_dir(folder: Path) -> Iterator[Finding]:
    """Look at the state directory: there, ours, private, writable, with room."""
    area = f"state directory {folder}"
    try:
        found = folder.stat()
    except FileNotFoundError:
        fix = "the first `supervisor run` makes it"
        yield Finding(area=area, what="does not exist", fix=fix)
        return
    except OSError as error:
        fix = "run as the user that the daemon runs as"
        yield Finding(area=area, what=f"can't be looked at: {error.strerror}", fix=fix)
        return
    if not stat.S_ISDIR(found.st_mode):
        fix = "set [supervisor] state_dir to a folder, or move that file away"
        yield Finding(area=area, what="is no directory", fix=fix)
        return
    yield from _owner_and_mode(area, folder, found)
    yield from _room(area, folder)
    yield from _files(folder)


def _owner_and_mode(area: str, path: Path, found: os.stat_result) -> Iterator[Finding]:
    if found.st_uid != os.geteuid():
        what = f"belongs to uid {found.st_uid}, you are uid {os.geteuid()}"
        yield Finding(area=area, what=what, fix="run as the user that the daemon runs as")
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        allowed = "0700" if stat.S_ISDIR(found.st_mode) else "0600"
        what = f"has mode {mode:04o}: others can read what agents did and were told"
        yield Finding(area=area, what=what, fix=f"`chmod {allowed} {path}`")


def _room(area: str, folder: Path) -> Iterator[Finding]:
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        fix = "mount it writable; look into the kernel's log for why it is not"
        yield Finding(area=area, what="is on a file system that is read-only", fix=fix)
    elif not os.access(folder, os.W_OK | os.X_OK):
        fix = f"make it writable for this user: `chmod 0700 {folder}`"
        yield Finding(area=area, what="is not writable for this user", fix=fix)
    free = shutil.disk_usage(folder).free
    if free < _FREE_BYTES_MIN:
        what = f"has {free // 1024**2} MB of room, less than {_FREE_BYTES_MIN // 1024**2} MB"
        yield Finding(area=area, what=what, fix="free some space: a full disk stops all work")


def _files(folder: Path) -> Iterator[Finding]:
    for path in sorted(folder.glob("supervisor.*")):
        if path.is_file():
            yield from _owner_and_mode(f"file {path}", path, path.stat())
    for pattern in _LEFTOVERS:
        for path in sorted(folder.glob(pattern)):
            what = "was left by a backup, a restore or a drill that did not end"
            fix = f"if none is under way: `rm -r {path}`"
            yield Finding(area=f"file {path}", what=what, fix=fix)


def examine_port(listen: str, holder: Holder | None) -> Iterator[Finding]:
    """Ask the daemon over HTTP, or see whether its port is free where none runs."""
    if holder is None:
        yield from _examine_free_port(listen)
    elif holder.listen:
        for path in ("/healthz", "/readyz"):
            problem = _ask(holder.listen, path)
            if problem:
                fix = "look into supervisor.jsonl; `supervisor status` says more"
                yield Finding(area=f"http://{holder.listen}{path}", what=problem, fix=fix)


def _examine_free_port(listen: str) -> Iterator[Finding]:
    address, _, port = listen.rpartition(":")
    address = address.strip("[]")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, int(port)))
            probe.listen(1)
        except OSError as error:
            what = f"can't be listened on: {error.strerror or error}"
            fix = "end what uses that port, or choose another one in [http] listen"
            yield Finding(area=f"http.listen = {listen!r}", what=what, fix=fix)


def _ask(address: str, path: str) -> str:
    """Return what is wrong with the answer, empty where nothing is."""
    connection = http.client.HTTPConnection(address, timeout=_ASK_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = " ".join(answer.read(500).decode(errors="replace").split())
    except (OSError, http.client.HTTPException) as error:
        return f"does not answer: {text_of(error)}"
    finally:
        connection.close()
    return "" if answer.status == http.client.OK else f"answers {answer.status}: {text}"


def examine_python(distribution: str = "acp-supervisor") -> Iterator[Finding]:
    """Look at the packages that this needs, and at one that it can't live with."""
    area = f"Python {sys.version.split()[0]} at {sys.prefix}"
    if _version("supervisor") is not None:
        what = "has the distribution `supervisor` (supervisord), which imports by the same name"
        fix = "use an environment of its own: see the README, `Not to be mixed up`"
        yield Finding(area=area, what=what, fix=fix)
    try:
        needed = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        return  # run from a folder: what is missing has been an import error already
    for requirement in needed:
        match = _NEEDED.match(requirement.partition(";")[0].strip())
        if match is None or "extra ==" in requirement:
            continue
        found = _version(match["name"])
        if found is None or _numbers(found) < _numbers(match["version"]):
            what = f"has {match['name']} {found or 'not at all'}, {match['version']} is needed"
            fix = f"`{sys.executable} -m pip install --upgrade {distribution}`"
            yield Finding(area=area, what=what, fix=fix)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))[:3]
