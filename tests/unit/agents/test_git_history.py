"""What is new in histories that moved, were rewritten, cut off, or are not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor import Outcome

from .fake_context import Host
from .git_repository import GitRepository


@pytest.fixture
def repository(tmp_path: Path) -> GitRepository:
    repository = GitRepository.init(tmp_path / "project")
    repository.commits("one", "two")
    return repository


@pytest.fixture
def host(tmp_path: Path, repository: GitRepository) -> Host:
    return Host(tmp_path / "host", repositories=[str(repository.path)])


def _forget_the_unreachable(repository: GitRepository) -> None:
    repository.git("reflog", "expire", "--expire=now", "--all")
    repository.git("gc", "--quiet", "--prune=now")


async def test_rewritten_history_is_digested_from_its_merge_base_and_says_so(
    repository: GitRepository, host: Host
) -> None:
    base = repository.shas[1]
    await host.run_tick()
    repository.git("commit", "--quiet", "--amend", "--allow-empty", "-m", "two, better")
    repository.commits("three")
    await host.run_tick()
    assert f"merge base `{base[:10]}`" in host.reports[1]
    assert "2 new commits" in host.reports[1]
    assert "`one`" not in host.reports[1]


async def test_rewrite_whose_old_commits_are_gone_repeats_nothing(
    repository: GitRepository, host: Host
) -> None:
    await host.run_tick()
    repository.git("commit", "--quiet", "--amend", "--allow-empty", "-m", "two, better")
    _forget_the_unreachable(repository)
    await host.run_tick()
    assert "1 new commit\n" in host.reports[1]
    assert "HEAD is not where the last digest left it" in host.reports[1]


async def test_replaced_history_is_digested_as_a_new_one(
    repository: GitRepository, host: Host
) -> None:
    await host.run_tick()
    repository.git("checkout", "--quiet", "--orphan", "fresh")
    repository.commits("alpha", "beta", "gamma")
    host.options["first_commits_max"] = 2
    await host.run_tick()
    assert "Nothing of the earlier digests is in this history" in host.reports[1]
    assert "the newest 2 of 3 commits" in host.reports[1]


async def test_replaced_history_whose_old_one_is_gone_is_digested_as_a_new_one(
    repository: GitRepository, host: Host
) -> None:
    await host.run_tick()
    repository.git("checkout", "--quiet", "--orphan", "fresh")
    repository.commits("alpha")
    repository.git("branch", "--quiet", "--delete", "--force", "main")
    _forget_the_unreachable(repository)
    await host.run_tick()
    assert "Nothing of the earlier digests is in this history" in host.reports[1]
    assert await host.run_tick() is Outcome.NOOP


async def test_head_moved_back_is_no_news(repository: GitRepository, host: Host) -> None:
    await host.run_tick()
    repository.git("reset", "--quiet", "--hard", "HEAD~1")
    assert await host.run_tick() is Outcome.NOOP
    repository.commits("three")
    await host.run_tick()
    assert "1 new commit\n" in host.reports[1]


async def test_going_back_and_forth_between_branches_repeats_nothing(
    repository: GitRepository, host: Host
) -> None:
    await host.run_tick()
    repository.git("checkout", "--quiet", "-b", "side")
    repository.commits("side one")
    await host.run_tick()
    repository.git("checkout", "--quiet", "main")
    for number in range(3):
        repository.commits(f"main {number}")
        await host.run_tick()
    repository.git("checkout", "--quiet", "side")
    assert await host.run_tick() is Outcome.NOOP
    repository.commits("side two")
    await host.run_tick()
    repository.git("checkout", "--quiet", "main")
    assert await host.run_tick() is Outcome.NOOP
    repository.git("merge", "--quiet", "--no-edit", "side")
    await host.run_tick()
    assert host.reports_with("`side one`") == host.reports_with("`side two`") == 1
    assert "1 new commit\n" in host.reports[-1]
    assert host.reports_with("`main 0`") == 1


async def test_detached_head_is_digested_and_named_so(
    repository: GitRepository, host: Host
) -> None:
    repository.git("checkout", "--quiet", "--detach")
    await host.run_tick()
    assert "detached HEAD" in host.report


async def test_bare_repository_is_digested(
    repository: GitRepository, host: Host, tmp_path: Path
) -> None:
    bare = tmp_path / "bare.git"
    repository.git("clone", "--quiet", "--bare", str(repository.path), str(bare))
    host.options["repositories"] = [str(bare)]
    await host.run_tick()
    assert host.report.startswith("# Digest of bare: 2 new commits")


async def test_shallow_clone_says_so_and_counts_no_size_for_its_boundary(
    repository: GitRepository, host: Host, tmp_path: Path
) -> None:
    repository.commit("a large tree", {f"src/{n}": "line\n" * 50 for n in range(20)})
    repository.commit("a line", {"src/1": "line\n" * 51})
    repository.commit("another", {"src/2": "line\n" * 51})
    shallow = tmp_path / "shallow"
    url = f"file://{repository.path}"
    repository.git("clone", "--quiet", "--depth=2", url, str(shallow))
    host.options["repositories"] = [str(shallow)]
    await host.run_tick()
    assert "Shallow clone: commits beyond its boundary are not here" in host.report
    assert "the newest 2 of 2 commits" in host.report
    assert "Size: +1 -0 lines in 1 file" in host.report


async def test_shallow_clone_that_moves_on_digests_only_what_is_new_in_it(
    repository: GitRepository, host: Host, tmp_path: Path
) -> None:
    shallow = GitRepository(tmp_path / "shallow")
    url = f"file://{repository.path}"
    repository.git("clone", "--quiet", "--depth=1", url, str(shallow.path))
    host.options["repositories"] = [str(shallow.path)]
    await host.run_tick()
    repository.commits("three", "four")
    shallow.git("fetch", "--quiet", "--depth=1", "origin", "main")
    shallow.git("reset", "--quiet", "--hard", "FETCH_HEAD")
    assert await host.run_tick() is Outcome.OK
    assert "1 new commit\n" in host.reports[1]
    shallow.git("fetch", "--quiet", "--unshallow", "origin", "main")
    assert await host.run_tick() is Outcome.NOOP


async def test_root_commit_counts_with_its_size_in_a_full_clone(host: Host, tmp_path: Path) -> None:
    fresh = GitRepository.init(tmp_path / "fresh")
    fresh.git("config", "log.showRoot", "false")
    fresh.commit("root", {"a": "1\n2\n3\n"})
    host.options["repositories"] = [str(fresh.path)]
    await host.run_tick()
    assert "Size: +3 -0 lines in 1 file" in host.report


async def _error(host: Host) -> str:
    assert await host.run_tick() is Outcome.FAILED
    assert host.reports == []
    (error,) = host.errors
    return str(error["error"])


async def test_missing_directory_is_named(host: Host) -> None:
    host.options["repositories"] = ["not/here"]
    assert "not/here: there is no such directory; correct" in await _error(host)


async def test_missing_git_is_named(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "install git and have it on the daemon's PATH" in await _error(host)


async def test_repository_of_another_owner_is_refused_with_the_cure(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _wrap_git(tmp_path, monkeypatch, "export GIT_TEST_ASSUME_DIFFERENT_OWNER=1")
    monkeypatch.setenv("HOME", str(tmp_path))
    error = await _error(host)
    assert "dubious ownership" in error
    assert "git config --global --add safe.directory" in error


async def test_branch_whose_commit_is_damaged_is_not_taken_for_an_empty_history(
    repository: GitRepository, host: Host
) -> None:
    (repository.path / ".git/refs/heads/main").write_text("")
    assert "HEAD" in await _error(host)


async def test_branch_whose_commit_is_missing_is_not_taken_for_an_empty_history(
    repository: GitRepository, host: Host
) -> None:
    (repository.path / ".git/refs/heads/main").write_text("1" * 40 + "\n")
    assert "HEAD names a commit that can't be read" in await _error(host)


async def test_partial_clone_is_refused_rather_than_fetched_from(
    repository: GitRepository, host: Host, tmp_path: Path
) -> None:
    repository.git("config", "uploadpack.allowFilter", "true")
    repository.commit("a", {"file": "a\n"})
    repository.commit("b", {"file": "b\n"})
    partial = tmp_path / "partial"
    url = f"file://{repository.path}"
    repository.git("clone", "--quiet", "--no-checkout", "--filter=blob:none", url, str(partial))
    host.options["repositories"] = [str(partial)]
    assert "use a full clone" in await _error(host)


async def test_programs_named_by_the_repository_are_not_run(
    repository: GitRepository, host: Host, tmp_path: Path
) -> None:
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path / 'sprung'}\n")
    trap.chmod(0o755)
    keys = (
        "core.fsmonitor", "core.pager", "core.sshCommand", "diff.external", "diff.evil.command",
        "diff.evil.textconv", "gpg.program", "filter.evil.clean", "filter.evil.smudge",
        "filter.evil.process", "alias.log", "core.hooksPath",
    )  # fmt: skip
    repository.commit("attributes", {".gitattributes": "* diff=evil filter=evil\n"})
    repository.commit("a TODO", {"file": "TODO\n"})
    _sign_head(repository)
    for key in keys:
        repository.git("config", key, str(trap))
    repository.git("config", "log.showSignature", "true")
    assert await host.run_tick() is Outcome.OK
    assert "`a TODO`" in host.report
    assert not (tmp_path / "sprung").exists()


def _sign_head(repository: GitRepository) -> None:
    """Give the last commit a signature, which git would have a program check."""
    header, message = repository.git("cat-file", "commit", "HEAD").split("\n\n", 1)
    signature = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n -----END PGP SIGNATURE-----"
    signed = f"{header}\n{signature}\n\n{message}\n".encode()
    sha = repository.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=signed)
    repository.git("reset", "--quiet", "--soft", sha)


async def test_the_users_git_settings_change_nothing(repository: GitRepository, host: Host) -> None:
    lines = [f"line {number}" for number in range(9)]
    repository.commit("a", {"b/a": "\n".join(lines), "b/ü": "TODO ü\n"})
    repository.git("mv", "b/a", "b/c")
    lines[2], lines[6] = "TODO early", "FIXME late"
    repository.commit("renamed by Jörg", {"b/c": "\n".join(lines)})
    await host.run_tick()
    plain = host.report
    assert "`TODO ü` in `b/ü`" in plain
    assert "`FIXME late` in `b/c`" in plain
    assert "`b/c`: 1 commit, +2 -2" in plain
    assert "`renamed by Jörg`" in plain
    settings = {
        "color.ui": "always", "color.diff": "always", "diff.noprefix": "true",
        "diff.mnemonicPrefix": "true", "diff.renames": "false", "diff.interHunkContext": "9",
        "diff.context": "9", "diff.orderFile": "/nowhere", "log.showRoot": "false",
        "log.decorate": "full", "log.date": "relative", "core.quotePath": "true",
        "i18n.logOutputEncoding": "latin-1", "diff.wordRegex": ".", "log.abbrevCommit": "true",
    }  # fmt: skip
    for key, value in settings.items():
        repository.git("config", key, value)
    again = Host(host.path.with_name("again"), **host.options)
    await again.run_tick()
    assert again.report == plain


def _wrap_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """Put a `git` first on the PATH that runs a line of shell and then the real one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    path = os.environ["PATH"]
    wrapper = folder / "git"
    wrapper.write_text(f'#!/bin/sh\n{line}\nPATH="{path}" exec git "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{path}")
