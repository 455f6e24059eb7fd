"""Each commit is in exactly one digest, whatever dies when."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from supervisor import Outcome
from supervisor.errors import ProviderFailed

from .fake_context import Host
from .git_repository import GitRepository

STEPS = (
    "before model",
    "after model",
    "before journal",
    "after journal",
    "after report",
    "before commit",
    "never",
)


@pytest.fixture
def repository(tmp_path: Path) -> GitRepository:
    repository = GitRepository.init(tmp_path / "project")
    repository.commits("zero")
    return repository


@pytest.fixture
def host(tmp_path: Path, repository: GitRepository) -> Host:
    return Host(tmp_path / "host", repositories=[str(repository.path)])


async def _finish(host: Host) -> None:
    ticks = 0
    while await host.run_tick() is not Outcome.NOOP:
        ticks += 1
        assert ticks < 10


def _assert_each_in_one_report(repository: GitRepository, host: Host) -> None:
    assert {sha: host.reports_with(f"`{sha[:10]}`, ") for sha in repository.shas} == dict.fromkeys(
        repository.shas, 1
    )


@pytest.mark.parametrize("second", STEPS)
@pytest.mark.parametrize("first", STEPS)
@pytest.mark.parametrize("has_history", [False, True])
async def test_two_crashes_with_commits_made_meanwhile_leave_each_commit_in_one_digest(
    repository: GitRepository, host: Host, *, has_history: bool, first: str, second: str
) -> None:
    if has_history:
        await host.run_tick()
    repository.commits("one", "two")
    await host.run_to_crash(first)
    repository.commits("three")
    await host.run_to_crash(second)
    repository.commits("four")
    await _finish(host)
    _assert_each_in_one_report(repository, host)


@pytest.mark.parametrize("step", STEPS)
async def test_crash_among_several_repositories_leaves_each_commit_in_one_digest(
    repository: GitRepository, host: Host, tmp_path: Path, step: str
) -> None:
    other = GitRepository.init(tmp_path / "other")
    other.commits("elsewhere")
    host.options["repositories"] = [str(repository.path), str(other.path)]
    await host.run_tick()
    repository.commits("one")
    await host.run_to_crash(step)
    other.commits("two")
    await host.run_to_crash(step)
    await _finish(host)
    _assert_each_in_one_report(repository, host)
    _assert_each_in_one_report(other, host)


async def test_written_journal_is_finished_without_asking_the_model_again(
    repository: GitRepository, host: Host
) -> None:
    await host.run_to_crash("after journal")
    assert host.reports == []
    assert await host.run_tick() is Outcome.OK
    assert len(host.prompts) == 1
    _assert_each_in_one_report(repository, host)


async def test_journal_is_finished_though_the_history_was_rewritten_meanwhile(
    repository: GitRepository, host: Host
) -> None:
    await host.run_to_crash("after journal")
    repository.git("commit", "--quiet", "--amend", "--allow-empty", "-m", "zero, better")
    repository.git("reflog", "expire", "--expire=now", "--all")
    repository.git("gc", "--quiet", "--prune=now")
    await _finish(host)
    assert host.reports_with("`zero`") == host.reports_with("`zero, better`") == 1


async def test_report_deleted_after_its_tick_was_committed_is_not_written_again(
    host: Host,
) -> None:
    await host.run_tick()
    (report,) = host.reports_dir.iterdir()
    report.unlink()
    assert await host.run_tick() is Outcome.NOOP
    assert host.reports == []


async def test_ticks_that_never_commit_keep_one_step_in_the_journal(
    repository: GitRepository, host: Host, tmp_path: Path
) -> None:
    for number in range(5):
        repository.commits(f"more {number}")
        await host.run_to_crash("before commit")
    await _finish(host)
    _assert_each_in_one_report(repository, host)
    (journal,) = (host.path / "files").iterdir()
    assert len(json.loads(journal.read_text())["memory"]["trail"]) <= 32


async def test_damaged_journal_stops_the_repository_instead_of_repeating_a_digest(
    repository: GitRepository, host: Host
) -> None:
    await host.run_to_crash("before commit")
    (journal,) = (host.path / "files").iterdir()
    journal.write_text("{")
    assert await host.run_tick() is Outcome.FAILED
    assert "delete it" in str(host.errors[0]["error"])
    assert len(host.prompts) == 1


async def test_damaged_state_stops_the_repository_instead_of_repeating_a_digest(
    host: Host,
) -> None:
    await host.run_tick()
    host.state = dict.fromkeys(host.state, 7)
    assert await host.run_tick() is Outcome.FAILED
    assert "another name" in str(host.errors[0]["error"])


async def test_model_that_fails_for_ever_adds_nothing_to_what_is_kept(
    repository: GitRepository, host: Host
) -> None:
    host.answer = ProviderFailed(subject="provider x", what="hung up", fix="wait")
    for _ in range(3):
        with pytest.raises(ProviderFailed):
            await host.run_tick()
    assert not (host.path / "files").exists()
    assert host.state == {}
