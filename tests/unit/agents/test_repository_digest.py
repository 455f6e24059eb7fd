"""What the digest does with repositories, tick after tick."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor import Outcome
from supervisor.errors import BudgetExceeded, ConfigError, ProviderFailed

from .fake_context import Host
from .git_repository import GitRepository


@pytest.fixture
def repository(tmp_path: Path) -> GitRepository:
    return GitRepository.init(tmp_path / "project")


@pytest.fixture
def host(tmp_path: Path, repository: GitRepository) -> Host:
    return Host(tmp_path / "host", repositories=[str(repository.path)])


async def test_first_digest_covers_the_history_and_says_so(
    repository: GitRepository, host: Host
) -> None:
    repository.commit("feat: add the parser", {"src/parser.py": "a\nb\n"})
    assert await host.run_tick() is Outcome.OK
    assert "First digest of this repository: the newest 1 of 1 commit;" in host.report
    assert "`feat: add the parser`" in host.report
    assert "`src`: 1 commit, +2 -0" in host.report


async def test_first_digest_of_a_long_history_is_its_newest_commits(
    repository: GitRepository, host: Host
) -> None:
    repository.commits("one", "two", "three")
    host.options["first_commits_max"] = 2
    await host.run_tick()
    assert "the newest 2 of 3 commits" in host.report
    assert "`three`" in host.report
    assert "`one`" not in host.report


async def test_tick_without_new_commits_is_a_noop_that_asks_no_model(
    repository: GitRepository, host: Host
) -> None:
    repository.commits("one")
    await host.run_tick()
    assert await host.run_tick() is Outcome.NOOP
    assert len(host.reports) == len(host.prompts) == 1


async def test_later_digest_has_only_the_new_commits(repository: GitRepository, host: Host) -> None:
    repository.commits("one")
    await host.run_tick()
    repository.commits("two", "three")
    assert await host.run_tick() is Outcome.OK
    assert [host.reports_with(f"`{subject}`") for subject in ("one", "two", "three")] == [1, 1, 1]
    assert "2 new commits" in host.reports[1]


async def test_default_is_the_repository_that_the_config_stands_in(
    repository: GitRepository, tmp_path: Path
) -> None:
    repository.commits("one")
    host = Host(repository.path / "deploy" / "host")
    assert await host.run_tick() is Outcome.OK
    assert "`one`" in host.report


async def test_empty_history_is_a_noop(host: Host) -> None:
    assert await host.run_tick() is Outcome.NOOP
    assert host.reports == []


async def test_commits_above_the_limit_are_counted_and_named_as_left_out(
    repository: GitRepository, host: Host
) -> None:
    repository.commits("zero")
    await host.run_tick()
    repository.commits("one", "two", "three")
    host.options["commits_max"] = 2
    await host.run_tick()
    assert (
        "The detail covers the newest 2 of 3 commits; the others (1) are only counted"
        in host.reports[1]
    )
    assert await host.run_tick() is Outcome.NOOP


async def test_refused_model_call_leaves_the_commits_waiting(
    repository: GitRepository, host: Host
) -> None:
    repository.commits("one")
    host.answer = BudgetExceeded(
        account="daily", unit="micro_usd", needed=2, free=1, resets_at=None
    )
    with pytest.raises(BudgetExceeded):
        await host.run_tick()
    assert host.reports == []
    repository.commits("two")
    host.answer = "Now it works."
    assert await host.run_tick() is Outcome.OK
    assert "`one`" in host.report
    assert "`two`" in host.report


async def test_failed_model_call_loses_and_repeats_nothing_of_the_other_repositories(
    repository: GitRepository, host: Host, tmp_path: Path
) -> None:
    other = GitRepository.init(tmp_path / "other")
    host.options["repositories"] = [str(repository.path), str(other.path)]
    repository.commits("one")
    await host.run_tick()
    repository.commits("two")
    other.commits("three")
    host.answer = ProviderFailed(subject="provider x", what="hung up", fix="wait")
    with pytest.raises(ProviderFailed):
        await host.run_tick()
    assert len(host.prompts) == 3
    host.answer = "Well."
    assert await host.run_tick() is Outcome.OK
    assert [host.reports_with(f"`{subject}`") for subject in ("one", "two", "three")] == [1, 1, 1]


async def test_unreadable_repository_fails_the_tick_after_the_others_are_digested(
    repository: GitRepository, host: Host, tmp_path: Path
) -> None:
    (tmp_path / "plain").mkdir()
    host.options["repositories"] = [str(tmp_path / "plain"), str(repository.path)]
    repository.commits("one")
    assert await host.run_tick() is Outcome.FAILED
    assert host.reports_with("`one`") == 1
    (error,) = host.errors
    assert "not a git repository" in str(error["error"])
    assert str(tmp_path / "plain") in str(error["error"])
    assert "option `repositories`" in str(error["error"])
    assert host.why == error["error"]


async def test_what_a_failed_tick_digested_is_not_digested_again(
    repository: GitRepository, host: Host, tmp_path: Path
) -> None:
    host.options["repositories"] = [str(repository.path), str(tmp_path / "missing")]
    repository.commits("one")
    await host.run_tick()
    assert await host.run_tick() is Outcome.FAILED
    assert len(host.reports) == len(host.prompts) == 1


async def test_one_repository_named_twice_is_digested_once(
    repository: GitRepository, host: Host
) -> None:
    repository.commit("one", {"src/a": "a"})
    host.options["repositories"] = [str(repository.path), str(repository.path / "src")]
    await host.run_tick()
    assert host.reports_with("`one`") == len(host.reports) == 1


async def test_worktrees_of_one_repository_share_one_digest(
    repository: GitRepository, host: Host, tmp_path: Path
) -> None:
    repository.commits("shared")
    repository.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    side = GitRepository(tmp_path / "side")
    host.options["repositories"] = [str(repository.path), str(side.path)]
    side.commits("from the side")
    repository.commits("from the main")
    await host.run_tick()
    assert "3 new commits" in host.report
    side.commits("side again")
    await host.run_tick()
    assert "1 new commit\n" in host.reports[1]
    assert "HEAD is not where" not in host.reports[1]


async def test_two_clones_with_one_name_have_reports_of_their_own(
    repository: GitRepository, host: Host, tmp_path: Path
) -> None:
    repository.commits("one")
    copy = tmp_path / "copy" / "project"
    repository.git("clone", "--quiet", str(repository.path), str(copy))
    host.options["repositories"] = [str(repository.path), str(copy)]
    await host.run_tick()
    assert len(host.reports) == 2


async def test_stopping_daemon_leaves_the_further_repositories_for_later(
    repository: GitRepository, host: Host
) -> None:
    repository.commits("one")
    host.is_stopping = True
    assert await host.run_tick() is Outcome.NOOP
    host.is_stopping = False
    assert await host.run_tick() is Outcome.OK


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"repos": ["."]}, "repos"),
        ({"repositories": []}, "repositories"),
        ({"repositories": "."}, "repositories"),
        ({"repositories": ["--upload-pack=x"]}, "starts with a dash"),
        ({"commits_max": 0}, "commits_max"),
        ({"git_timeout_s": -1}, "git_timeout_s"),
        ({"git_timeout_s": float("nan")}, "git_timeout_s"),
        ({"summary_tokens_max": "many"}, "summary_tokens_max"),
    ],
)
async def test_bad_option_is_refused_with_its_path_and_value(
    tmp_path: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=r"\[worker\.digest\.options\]") as refused:
        await Host(tmp_path, **options).run_tick()
    assert words in str(refused.value)
    (value,) = options.values()
    assert repr(value).strip("[]") in str(refused.value)


async def test_repository_is_left_exactly_as_it_was(repository: GitRepository, host: Host) -> None:
    repository.commit("one", {"a": "a"})
    (repository.path / "a").touch()  # a stale index, which `git status` would write anew

    def everything() -> dict[Path, tuple[int, bytes]]:
        files = (file for file in repository.path.rglob("*") if file.is_file())
        return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in files}

    before = everything()
    await host.run_tick()
    assert everything() == before
