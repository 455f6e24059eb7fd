"""git is run within limits, and nothing of it is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from supervisor.agents.git import Cut, Git, RepositoryNotDigested

from .fake_context import Host
from .git_repository import GitRepository

_LONG_S = 60.0


@pytest.fixture
def fake_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script that is found as `git`; it writes its process id before it does anything."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder / "git"


def _script(fake_git: Path, body: str) -> None:
    fake_git.write_text(f'#!/bin/sh\necho $$ > "{fake_git.with_name("pid")}"\n{body}\n')
    fake_git.chmod(0o755)


def _is_running(fake_git: Path) -> bool:
    """Whether anything of the script's process group still runs, its own children included.

    A killed grandchild may stay a zombie where the machine's first process does not reap.
    """
    group = fake_git.with_name("pid").read_text().strip()
    listed = subprocess.run(
        ["ps", "-A", "-o", "pgid=,stat="], capture_output=True, text=True, check=True
    )
    rows = (line.split() for line in listed.stdout.splitlines())
    return any(pgid == group and not state.startswith("Z") for pgid, state in rows)


async def test_command_above_the_time_budget_is_killed_with_its_children(
    fake_git: Path, tmp_path: Path
) -> None:
    _script(fake_git, "sleep 60 & sleep 60")
    with pytest.raises(RepositoryNotDigested, match=r"within the budget of 0\.2 s; raise `git_"):
        await Git(tmp_path, budget_s=0.2).answer("rev-parse")
    assert not _is_running(fake_git)


async def test_stream_above_the_time_budget_keeps_what_came_and_says_so(
    fake_git: Path, tmp_path: Path
) -> None:
    _script(fake_git, "echo first; sleep 60")
    pieces: list[bytes] = []
    # Long enough for a shell to start, so that the first line is there.
    git = Git(tmp_path, budget_s=1.0)
    assert await git.stream("log", sink=pieces.append, bytes_max=100) is Cut.TIME
    assert pieces == [b"first\n"]
    assert not _is_running(fake_git)


async def test_budget_is_one_for_all_commands(fake_git: Path, tmp_path: Path) -> None:
    git = Git(tmp_path, budget_s=0.2)
    _script(fake_git, "sleep 60")
    with pytest.raises(RepositoryNotDigested):
        await git.answer("first")
    _script(fake_git, "exit 0")
    with pytest.raises(RepositoryNotDigested):
        await git.answer("second")


async def test_endless_output_is_cut_at_the_limit_and_its_writer_killed(
    fake_git: Path, tmp_path: Path
) -> None:
    _script(fake_git, "exec yes")
    pieces: list[bytes] = []
    git = Git(tmp_path, budget_s=_LONG_S)
    assert await git.stream("log", sink=pieces.append, bytes_max=1_000) is Cut.BYTES
    assert len(b"".join(pieces)) == 1_000
    assert not _is_running(fake_git)


async def test_output_of_exactly_the_limit_is_whole(fake_git: Path, tmp_path: Path) -> None:
    _script(fake_git, "printf 12345")
    pieces: list[bytes] = []
    git = Git(tmp_path, budget_s=_LONG_S)
    assert await git.stream("log", sink=pieces.append, bytes_max=5) is None
    assert b"".join(pieces) == b"12345"


async def test_endless_complaints_neither_block_nor_fill_the_memory(
    fake_git: Path, tmp_path: Path
) -> None:
    _script(fake_git, "yes complaint | head -c 3000000 >&2; exit 128")
    with pytest.raises(RepositoryNotDigested, match="status 128: complaint; see") as refused:
        await Git(tmp_path, budget_s=_LONG_S).answer("log")
    assert len(str(refused.value)) < 1_000


async def test_cancelled_reading_kills_and_reaps_git(fake_git: Path, tmp_path: Path) -> None:
    _script(fake_git, "sleep 60 & echo started; wait")
    started = anyio.Event()
    async with anyio.create_task_group() as tasks:
        git = Git(tmp_path, budget_s=_LONG_S)

        async def read() -> None:
            await git.stream("log", sink=lambda _chunk: started.set(), bytes_max=1_000)

        tasks.start_soon(read)
        await started.wait()
        tasks.cancel_scope.cancel()
    assert not _is_running(fake_git)


async def test_git_gets_an_allowlisted_environment(
    fake_git: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _script(fake_git, "env")
    monkeypatch.setenv("SECRET_API_KEY", "canary")
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    answer = await Git(tmp_path, budget_s=_LONG_S).answer("env")
    names = {line.partition("=")[0] for line in answer.text.splitlines()}
    assert names - {"PWD", "OLDPWD", "SHLVL", "_"} <= {
        "PATH", "HOME", "LANG", "LC_ALL", "GIT_OPTIONAL_LOCKS", "GIT_TERMINAL_PROMPT",
        "GIT_CONFIG_NOSYSTEM", "GIT_NO_LAZY_FETCH", "GIT_ALLOW_PROTOCOL",
    }  # fmt: skip
    assert "GIT_OPTIONAL_LOCKS=0" in answer.text


async def test_git_is_in_a_session_of_its_own_without_input(fake_git: Path, tmp_path: Path) -> None:
    leads = "import os, sys; print(os.getsid(0) == os.getpid(), sys.stdin.read() == '')"
    _script(fake_git, f'exec {sys.executable} -c "{leads}"')
    answer = await Git(tmp_path, budget_s=_LONG_S).answer("anything")
    assert answer.text == "True True"


async def test_detail_cut_by_size_covers_whole_commits_and_counts_the_rest(
    tmp_path: Path,
) -> None:
    repository = GitRepository.init(tmp_path / "project")
    names = {f"{number:03}-{'x' * 200}": "a\n" for number in range(200)}
    for number in range(5):
        repository.commit(f"commit {number}", {k: v * (number + 1) for k, v in names.items()})
    host = Host(tmp_path, repositories=["project"], git_output_bytes_max=100_000)
    await host.run_tick()
    assert "cut short by the size limit" in host.report
    assert "the newest 2 of 5 commits" in host.report
    assert "Size: +400 -0 lines in 200 files" in host.report


async def test_detail_cut_by_time_still_makes_an_honest_report(
    tmp_path: Path, fake_git: Path
) -> None:
    repository = GitRepository.init(tmp_path / "project")
    repository.commits("one", "two")
    path = os.environ["PATH"].partition(":")[2]
    _script(fake_git, f'PATH="{path}"; case "$*" in *" log "*) sleep 60;; *) exec git "$@";; esac')
    host = Host(tmp_path, repositories=["project"], git_timeout_s=2.0)
    await host.run_tick()
    assert "cut short by the time limit" in host.report
    assert "the newest 0 of 2 commits" in host.report
    assert "Commits: 0 in detail" in host.report
