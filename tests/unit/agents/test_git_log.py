"""Commits come out of `git log` as they went in, whatever they are called."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.agents.bounded_split import BoundedSplit
from supervisor.agents.git import Git
from supervisor.agents.git_log import Commit, CommitParser, FileChange, read_commits

from .fake_context import Host
from .git_repository import GitRepository


@pytest.fixture
def repository(tmp_path: Path) -> GitRepository:
    return GitRepository.init(tmp_path / "project")


async def _read(repository: GitRepository) -> list[Commit]:
    commits: list[Commit] = []
    git = Git(repository.path, budget_s=60.0)
    cut = await read_commits(
        git, [repository.head], commits.append, commits_max=100, bytes_max=10_000_000
    )
    assert cut is None
    return commits


async def test_commit_is_read_with_its_author_subject_and_files(repository: GitRepository) -> None:
    sha = repository.commit("subject\n\nbody\n", {"a/b": "1\n2\n", "c": "1\n"})
    (commit,) = await _read(repository)
    assert (commit.sha, commit.author, commit.subject) == (sha, "Ann Author", "subject")
    assert [(change.path, change.lines_added) for change in commit.files] == [("a/b", 2), ("c", 1)]
    assert (commit.files_count, commit.lines_added, commit.lines_deleted) == (2, 3, 0)


async def test_renamed_file_counts_under_its_new_name(repository: GitRepository) -> None:
    repository.commit("one", {"old": "1\n2\n3\n"})
    repository.git("mv", "old", "new")
    repository.commit("two")
    renamed = (await _read(repository))[0]
    assert [(change.path, change.lines_added) for change in renamed.files] == [("new", 0)]


async def test_binary_file_has_no_lines(repository: GitRepository) -> None:
    repository.commit("one", {"picture": b"\0\1\2"})
    (commit,) = await _read(repository)
    assert commit.files == (
        FileChange(path="picture", lines_added=0, lines_deleted=0, is_binary=True),
    )


async def test_merge_has_two_parents_and_no_files(repository: GitRepository) -> None:
    repository.commit("base")
    repository.git("checkout", "--quiet", "-b", "side")
    repository.commit("side", {"side": "1\n"})
    repository.git("checkout", "--quiet", "main")
    repository.commit("main", {"main": "1\n"})
    repository.git("merge", "--quiet", "--no-edit", "side")
    merge = (await _read(repository))[0]
    assert merge.is_merge
    assert merge.files == ()


@pytest.mark.parametrize(
    "name", ["tab\there", "new\nline", "1\t2\tthree", "\x01", '"quoted"', " - -\t", "-\t-\tx"]
)
async def test_hostile_file_names_are_files_and_nothing_else(
    repository: GitRepository, name: str
) -> None:
    repository.commit("one", {name: "1\n", "plain": "1\n2\n3\n"})
    repository.git("mv", "--", name, f"{name} moved")
    repository.commit("two")
    second, first = await _read(repository)
    assert {change.path for change in first.files} == {name, "plain"}
    assert [change.path for change in second.files] == [f"{name} moved"]


async def test_text_that_is_not_utf8_is_replaced_not_refused(repository: GitRepository) -> None:
    stream = (
        b"commit refs/heads/main\ncommitter J\xf6rg <j@x> 1780000000 +0000\n"
        b'data 6\nm\xfcller\nM 100644 inline "f\\374r"\ndata 2\na\n\n'
    )
    repository.git("fast-import", "--quiet", stdin=stream)
    (commit,) = await _read(repository)
    assert (commit.author, commit.subject) == ("J\ufffdrg", "m\ufffdller")
    assert commit.files[0].path == "f\ufffdr"


async def test_huge_subject_is_cut_and_the_commit_after_it_is_whole(
    repository: GitRepository,
) -> None:
    repository.commit("before", {"a": "1\n"})
    huge = b"y" * 3_000_000
    stream = (
        b"commit refs/heads/main\ncommitter A <a@x> 1780009999 +0000\n"
        b"data %d\n%s\nfrom refs/heads/main^0\n" % (len(huge), huge)
    )
    repository.git("fast-import", "--quiet", stdin=stream)
    second, first = await _read(repository)
    assert len(second.subject) == 4_096
    assert (first.subject, first.files_count) == ("before", 1)


async def test_mailmap_joins_the_names_of_one_author(repository: GitRepository) -> None:
    repository.commit("one", {".mailmap": "Anna Author <ann@example.org>\n"})
    (commit,) = await _read(repository)
    assert commit.author == "Anna Author"


async def test_commit_with_more_files_than_are_kept_is_counted_whole(
    repository: GitRepository,
) -> None:
    repository.commit("vendor", {f"vendor/{number}": "1\n" for number in range(2_100)})
    (commit,) = await _read(repository)
    assert (len(commit.files), commit.files_count, commit.lines_added) == (2_000, 2_100, 2_100)


def _bytes(commits: list[Commit]) -> bytes:
    """Write commits as git does."""
    fields = []
    for commit in commits:
        parents = " ".join("p" for _ in range(commit.parents_count))
        fields += ["\x01", commit.sha, parents, str(commit.committed_at_s), commit.author]
        fields += [commit.subject, ""]
        for place, change in enumerate(commit.files):
            lines = f"{change.lines_added}\t{change.lines_deleted}\t"
            lead = "" if place else "\n"
            fields += (
                [f"{lead}{lines}", "old", change.path]
                if place % 2
                else [f"{lead}{lines}{change.path}"]
            )
    return "".join(f"{field}\0" for field in fields).encode()


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
_PATHS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)


@st.composite
def _commits(draw: st.DrawFn) -> Commit:
    counts = st.integers(0, 10**9)
    files = tuple(
        FileChange(
            path=draw(_PATHS), lines_added=draw(counts), lines_deleted=draw(counts), is_binary=False
        )
        for _ in range(draw(st.integers(0, 4)))
    )
    return Commit(
        sha="a" * 40,
        parents_count=draw(st.integers(0, 3)),
        committed_at_s=draw(counts),
        author=draw(_TEXT),
        subject=draw(_TEXT),
        files=files,
        files_count=len(files),
        lines_added=sum(change.lines_added for change in files),
        lines_deleted=sum(change.lines_deleted for change in files),
    )


@given(st.lists(_commits(), max_size=4), st.integers(1, 50))
def test_commits_are_read_back_however_the_stream_is_cut_into_chunks(
    commits: list[Commit], chunk_bytes: int
) -> None:
    read: list[Commit] = []
    parser = CommitParser(read.append)
    data = _bytes(commits)
    for start in range(0, len(data), chunk_bytes):
        parser.feed(data[start : start + chunk_bytes])
    assert read == commits[:-1]
    parser.close()
    assert read == commits


@given(st.binary(max_size=200), st.integers(1, 20), st.integers(1, 20))
def test_split_stream_is_its_tokens_each_cut_to_the_limit(
    data: bytes, chunk_bytes: int, token_bytes_max: int
) -> None:
    split = BoundedSplit(b"\0", token_bytes_max=token_bytes_max)
    tokens = []
    for start in range(0, len(data), chunk_bytes):
        tokens += split.feed(data[start : start + chunk_bytes])
    assert tokens == [token[:token_bytes_max] for token in data.split(b"\0")[:-1]]


@pytest.fixture(scope="module")
def long_history(tmp_path_factory: pytest.TempPathFactory) -> GitRepository:
    """A repository of 100,000 commits; most are empty, because trees are what takes long."""
    repository = GitRepository.init(tmp_path_factory.mktemp("long") / "project")
    lines = []
    for number in range(1, 100_001):
        message = f"commit {number}"
        lines.append(f"commit refs/heads/main\nmark :{number}\n")
        lines.append(f"committer Ann <a@example.org> {1_700_000_000 + number} +0000\n")
        lines.append(f"data {len(message)}\n{message}\n")
        if number > 1:
            lines.append(f"from :{number - 1}\n")
        if number > 99_900:
            lines.append(f"M 100644 inline f{number % 10}\ndata 3\n{number % 100:02}\n\n")
    repository.git("fast-import", "--quiet", stdin="".join(lines).encode())
    return repository


async def test_first_digest_of_100_000_commits_reads_only_its_newest(
    long_history: GitRepository, tmp_path: Path
) -> None:
    host = Host(tmp_path, repositories=[str(long_history.path)])
    await host.run_tick()
    assert "the newest 50 of 100000 commits" in host.report
    assert "`commit 100000`" in host.report


async def test_100_000_new_commits_are_all_counted_and_500_are_read(
    long_history: GitRepository, tmp_path: Path
) -> None:
    host = Host(tmp_path, repositories=[str(long_history.path)])
    head = long_history.head
    long_history.git("update-ref", "refs/heads/main", long_history.shas[-1])
    await host.run_tick()
    long_history.git("update-ref", "refs/heads/main", head)
    await host.run_tick()
    assert "newest 500 of 99999 commits; the others (99499) are only counted" in host.reports[1]
    assert len(host.reports[1].encode()) < 40_000
    assert sum(len(message["content"].encode()) for message in host.prompts[1]) < 7_000


async def test_bytes_read_of_100_000_commits_are_those_of_the_commits_asked_for(
    long_history: GitRepository,
) -> None:
    commits: list[Commit] = []
    git = Git(long_history.path, budget_s=60.0)
    # 500 commits make about 100 bytes each; all of them would be 10 MB, and be cut.
    cut = await read_commits(
        git, [long_history.head], commits.append, commits_max=500, bytes_max=100_000
    )
    assert cut is None
    assert len(commits) == 500
