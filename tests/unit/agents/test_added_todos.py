"""TODO and FIXME lines are found where they were added, and only there."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.agents.added_todos import Todos, read_todos
from supervisor.agents.git import Cut, Git

from .git_repository import GitRepository


@pytest.fixture
def repository(tmp_path: Path) -> GitRepository:
    return GitRepository.init(tmp_path / "project")


async def _todos(repository: GitRepository, *, bytes_max: int = 1_000_000) -> Todos:
    git = Git(repository.path, budget_s=60.0)
    return await read_todos(git, repository.shas, bytes_max=bytes_max)


async def test_added_line_is_found_with_its_file_and_commit(repository: GitRepository) -> None:
    repository.commit("one", {"a b.py": "x = 1\n  # TODO: mend\n"})
    todos = await _todos(repository)
    (todo,) = todos.samples
    assert (todo.sha, todo.path, todo.line) == (repository.head, "a b.py", "# TODO: mend")
    assert todos.count == 1


async def test_removed_and_untouched_lines_are_not_added(repository: GitRepository) -> None:
    repository.commit("one", {"a": "TODO one\nTODO two\nTODO three\n"})
    repository.commit("two", {"a": "TODO one\nTODO three\nplain\n"})
    assert (await _todos(repository)).count == 3


@pytest.mark.parametrize("line", ["TODOs", "mastodon TODOLIST", "todo", "FIXMEUP"])
async def test_words_that_only_look_alike_do_not_count(
    repository: GitRepository, line: str
) -> None:
    repository.commit("one", {"a": f"{line}\n"})
    assert (await _todos(repository)).count == 0


async def test_content_that_looks_like_a_header_is_content(repository: GitRepository) -> None:
    content = "++ b/elsewhere\n@@ -1 +1 @@\ndiff --git a/x b/x\n\x01abc\n-- a/x\nFIXME here"
    repository.commit("one", {"true/path": content})
    (todo,) = (await _todos(repository)).samples
    assert (todo.sha, todo.path, todo.line) == (repository.head, "true/path", "FIXME here")


async def test_binary_files_are_not_searched(repository: GitRepository) -> None:
    repository.commit("one", {"a": b"\0TODO\n"})
    assert (await _todos(repository)).count == 0


async def test_many_lines_are_counted_and_twenty_are_kept(repository: GitRepository) -> None:
    repository.commit("one", {"a": "TODO\n" * 30})
    todos = await _todos(repository)
    assert (todos.count, len(todos.samples), todos.cut) == (30, 20, None)


async def test_search_that_is_cut_says_that_its_count_is_a_lower_bound(
    repository: GitRepository,
) -> None:
    repository.commit("one", {"a": "TODO\n" * 30_000})
    todos = await _todos(repository, bytes_max=10_000)
    assert todos.cut is Cut.BYTES
    assert 0 < todos.count < 30_000


async def test_no_commits_have_no_todos_though_the_history_has(repository: GitRepository) -> None:
    repository.commit("one", {"a": "TODO\n"})
    git = Git(repository.path, budget_s=60.0)
    assert (await read_todos(git, [], bytes_max=1_000_000)).count == 0
