"""Finds out which commits of a repository are new."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

import msgspec

from supervisor.agents.git import Git, RepositoryNotDigested

_COUNT_MAX = 200_000
_TRAIL_COMMITS = 32
_OTHERS_MAX = 64
_SHA = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")
_UNSAFE_IN_FILE_NAMES = re.compile(r"[^A-Za-z0-9_-]+")


class Checkout(msgspec.Struct, frozen=True, kw_only=True):
    """One configured path and where its HEAD stood when it was looked at.

    `head` is None in an empty history, `branch` where HEAD is detached. `common_dir` is what all
    worktrees of one repository share.
    """

    path: Path
    common_dir: Path
    is_shallow: bool
    head: str | None
    branch: str | None


class Repository(msgspec.Struct, frozen=True, kw_only=True):
    """The checkouts of one repository: digested together, since they share their commits."""

    checkouts: tuple[Checkout, ...]

    @property
    def path(self) -> Path:
        """Where git is run."""
        return self.checkouts[0].path

    @property
    def name(self) -> str:
        """What people call it: its directory's name."""
        common_dir = self.checkouts[0].common_dir
        directory = common_dir.parent if common_dir.name == ".git" else common_dir
        return directory.name.removesuffix(".git") or "repository"

    @property
    def slug(self) -> str:
        """Its key in state and file names: the name, and a hash of where its commits lie."""
        safe = _UNSAFE_IN_FILE_NAMES.sub("-", self.name)[:40].strip("-") or "repository"
        place = os.fsencode(self.checkouts[0].common_dir)
        return f"{safe}-{hashlib.sha256(place).hexdigest()[:8]}"

    @property
    def heads(self) -> tuple[str, ...]:
        """The commits that its HEADs stand on; empty in an empty history."""
        return tuple(dict.fromkeys(one.head for one in self.checkouts if one.head is not None))

    @property
    def is_shallow(self) -> bool:
        return any(one.is_shallow for one in self.checkouts)


class Memory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is remembered of the digested commits: all that these can reach were digested.

    `heads` is where the last digest ended, `others` the ends of other branches that were digested
    before, `trail` the commits just under the heads: after a rewrite whose old commits are gone,
    it still tells the old ones from the new.
    """

    heads: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    trail: tuple[str, ...] = ()

    @property
    def edition(self) -> tuple[str, ...]:
        """What no other memory of the repository has: where its last digest ended."""
        return self.heads

    @property
    def all(self) -> tuple[str, ...]:
        return (*self.heads, *self.others, *self.trail)


class Start(StrEnum):
    """Where a digest starts."""

    FIRST = "first"  # nothing was digested yet
    CONTINUES = "continues"  # where the last one ended
    MOVED = "moved"  # where this history leaves the digested one: other branch, or rewritten
    UNRELATED = "unrelated"  # nothing that was digested is in this history


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """The new commits: all that `heads` reach and `known` do not.

    `commits_count` is a lower bound if `is_more`. `known` are the remembered commits that still
    exist. `merge_base` is set where the history moved.
    """

    heads: tuple[str, ...]
    known: tuple[str, ...]
    start: Start
    merge_base: str | None
    commits_count: int
    is_more: bool

    @property
    def revisions(self) -> tuple[str, ...]:
        """The range, as arguments for git."""
        return _range(self.heads, self.known)


async def look_at(path: Path, *, budget_s: float) -> Checkout:
    """Resolve HEAD once, so that a HEAD that moves meanwhile changes nothing.

    Raises:
        RepositoryNotDigested: not a readable git repository.
    """
    _require_directory(path)
    git = Git(path, budget_s=budget_s)
    facts = await git.answer("rev-parse", "--is-shallow-repository", "--git-common-dir")
    is_shallow, common_dir = facts.text.split("\n", 1)
    head = await git.answer("rev-parse", "--verify", "--quiet", "HEAD^{commit}", accepted=(0, 1))
    branch = await git.answer("symbolic-ref", "--quiet", "HEAD", accepted=(0, 1))
    if not _SHA.match(head.text):
        await _require_empty(git, path, ref=branch.text)
    return Checkout(
        path=path,
        common_dir=(path / common_dir).resolve(),
        is_shallow=is_shallow == "true",
        head=head.text or None,
        branch=branch.text.removeprefix("refs/heads/") or None,
    )


def group(checkouts: Iterable[Checkout]) -> list[Repository]:
    """Put the checkouts of one repository together, in the order of their first path."""
    by_common_dir: dict[Path, list[Checkout]] = {}
    for checkout in checkouts:
        by_common_dir.setdefault(checkout.common_dir, []).append(checkout)
    return [Repository(checkouts=tuple(members)) for members in by_common_dir.values()]


async def survey(git: Git, heads: tuple[str, ...], memory: Memory) -> Survey | None:
    """Return what is new, or None if nothing is.

    Raises:
        RepositoryNotDigested: git refused or took too long.
    """
    if set(heads) <= set(memory.all):
        return None
    known = await _existing(git, memory.all)
    counted = await git.answer(
        "rev-list", "--count", f"--max-count={_COUNT_MAX + 1}", *_range(heads, known), "--"
    )
    count = int(counted.text)
    if count == 0:
        return None
    start, merge_base = await _start(git, heads, memory, known)
    return Survey(
        heads=heads,
        known=known,
        start=start,
        merge_base=merge_base,
        commits_count=min(count, _COUNT_MAX),
        is_more=count > _COUNT_MAX,
    )


async def remember(git: Git, found: Survey, memory: Memory) -> Memory:
    """Return the memory once the survey's commits are digested.

    Raises:
        RepositoryNotDigested: git refused or took too long.
    """
    trail = await git.answer(
        "rev-list", "--first-parent", f"--max-count={_TRAIL_COMMITS + 1}", *found.heads, "--"
    )
    others = tuple(sha for sha in memory.others if sha in found.known)
    if found.start in (Start.MOVED, Start.UNRELATED):
        ends = [sha for sha in memory.heads if sha in found.known]
        apart = await git.answer("merge-base", "--independent", *found.heads, *ends, *others)
        others = tuple(apart.text.split())
    return Memory(
        heads=found.heads,
        others=tuple(sha for sha in others if sha not in found.heads)[:_OTHERS_MAX],
        trail=tuple(sha for sha in trail.text.split() if sha not in found.heads),
    )


async def _start(
    git: Git, heads: tuple[str, ...], memory: Memory, known: tuple[str, ...]
) -> tuple[Start, str | None]:
    if not memory.heads:
        return Start.FIRST, None
    if set(memory.heads) <= set(known):
        left_behind = await git.answer(
            "rev-list", "--max-count=1", *_range(memory.heads, heads), "--"
        )
        if not left_behind.text:
            return Start.CONTINUES, None
    if not known:
        return Start.UNRELATED, None
    base = await git.answer("merge-base", heads[0], *known, accepted=(0, 1))
    if base.exit_status == 1:
        return Start.UNRELATED, None
    return Start.MOVED, base.text


async def _existing(git: Git, shas: tuple[str, ...]) -> tuple[str, ...]:
    if not shas:
        return ()
    answer = await git.answer("rev-list", "--no-walk=unsorted", "--ignore-missing", *shas, "--")
    return tuple(answer.text.split())


async def _require_empty(git: Git, path: Path, *, ref: str) -> None:
    """Tell a branch without commits from one whose commit can't be read."""
    named = await git.answer("rev-parse", "--verify", "--quiet", "HEAD", accepted=(0, 1))
    is_empty = named.exit_status == 1 and ref != ""
    if is_empty:
        # A reference that is there, yet names nothing, is complained about.
        found = await git.answer("for-each-ref", ref)
        is_empty = not (found.text or found.complaint)
    if not is_empty:
        raise RepositoryNotDigested(
            subject=f"repository {path}",
            what="HEAD names a commit that can't be read",
            fix=f"see what `git -C {path} fsck` says",
        )


def _require_directory(path: Path) -> None:
    try:
        is_directory = path.is_dir()
    except OSError as error:
        raise RepositoryNotDigested(
            subject=f"repository {path}",
            what=f"its directory can't be read: {error.strerror}",
            fix="let the daemon's user read it",
        ) from error
    if not is_directory:
        raise RepositoryNotDigested(
            subject=f"repository {path}",
            what="there is no such directory",
            fix="correct the worker's option `repositories`: a path is absolute, or relative to "
            "the config file",
        )


def _range(heads: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    return (*heads, "--not", *known)
