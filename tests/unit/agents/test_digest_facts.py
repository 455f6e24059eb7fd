"""Commits are counted by author, area, file, test and kind."""

from __future__ import annotations

import msgspec
import pytest

from supervisor.agents.digest_facts import Facts, Tally, area_of, is_test, kind_of
from supervisor.agents.git_log import Commit, FileChange


def _commit(
    subject: str = "work", *paths: str, author: str = "Ann", lines: int = 1, parents: int = 1
) -> Commit:
    files = tuple(
        FileChange(path=path, lines_added=lines, lines_deleted=0, is_binary=False) for path in paths
    )
    return Commit(
        sha=f"{subject}{paths}",
        parents_count=parents,
        committed_at_s=1_780_000_000,
        author=author,
        subject=subject,
        files=files,
        files_count=len(files),
        lines_added=lines * len(files),
        lines_deleted=0,
    )


def _facts(*commits: Commit) -> Facts:
    tally = Tally()
    for commit in commits:
        tally.add(commit)
    return tally.facts()


def test_no_commits_have_facts_of_zero() -> None:
    facts = _facts()
    assert (facts.commits_count, facts.authors, facts.groups) == (0, (), ())


def test_commit_with_more_files_than_are_kept_makes_the_facts_partial() -> None:
    assert not _facts(_commit("one", "a")).is_partial
    assert _facts(msgspec.structs.replace(_commit("one", "a"), files_count=2)).is_partial


def test_area_of_a_commit_counts_once_however_many_files_it_changed() -> None:
    facts = _facts(_commit("one", "src/a", "src/b"), _commit("two", "src/a", "README"))
    assert [(row.name, row.commits_count, row.lines_added) for row in facts.areas] == [
        ("src", 2, 3),
        ("(top level)", 1, 1),
    ]


def test_most_touched_comes_first_and_only_ten_are_kept() -> None:
    commits = [_commit("x", *(f"d/{n}" for n in range(upto))) for upto in range(1, 13)]
    facts = _facts(*commits)
    assert facts.files_count == 12
    assert [row.name for row in facts.files] == [f"d/{n}" for n in range(10)]


def test_paths_beyond_the_bound_share_one_row() -> None:
    tally = Tally()
    for start in range(0, 21_000, 1_000):
        tally.add(_commit("x", *(f"d/{start + n}" for n in range(1_000))))
    facts = tally.facts()
    assert facts.files_count == 20_001
    assert facts.files[0].name == "(further paths)"
    assert facts.lines_added == 21_000
    assert facts.is_partial


def test_test_files_and_the_commits_with_them_are_counted() -> None:
    facts = _facts(
        _commit("one", "tests/test_a.py", "a.py"), _commit("two", "a.py"), _commit("three", "b.go")
    )
    assert (facts.test_files_count, facts.tested_commits_count) == (1, 1)


@pytest.mark.parametrize(
    "path",
    [
        "tests/data.json", "src/test/java/A.java", "test_a.py", "a_test.go", "a.test.ts",
        "a-spec.js", "Tests/x", "AppTests.swift", "conftest.py", "pkg/__tests__/a.js",
    ],
)  # fmt: skip
def test_path_of_a_test_is_known_by_its_directories_or_name(path: str) -> None:
    assert is_test(path)


@pytest.mark.parametrize("path", ["latest.py", "contest/a.py", "attest.go", "src/testing.py", "a"])
def test_path_that_only_sounds_like_a_test_is_none(path: str) -> None:
    assert not is_test(path)


@pytest.mark.parametrize(
    ("subject", "paths", "kind"),
    [
        ("feat: x", ("a",), "feat"),
        ("Fix(parser)!: x", ("a",), "fix"),
        ("feature: x", ("src/a",), "src"),
        ("x", ("src/a", "src/b", "doc/c"), "src"),
        ("x", ("a",), "(top level)"),
        ("x", (), "(no files)"),
    ],
)
def test_kind_is_the_conventional_prefix_or_the_largest_area(
    subject: str, paths: tuple[str, ...], kind: str
) -> None:
    assert kind_of(_commit(subject, *paths)) == kind


def test_merge_is_a_kind_of_its_own() -> None:
    assert kind_of(_commit("Merge branch 'x'", parents=2)) == "merge"


def test_each_commit_is_in_exactly_one_group() -> None:
    commits = [_commit(f"{kind}: {n}", "a") for kind in ("feat", "fix", "odd") for n in range(3)]
    groups = _facts(*commits).groups
    assert sorted(subject.sha for _, members in groups for subject in members) == sorted(
        commit.sha for commit in commits
    )


def test_top_level_file_is_in_no_directory() -> None:
    assert area_of("README") == "(top level)"
    assert area_of("a/b/c") == "a"
