"""Real git repositories for tests, free of the machine's own git settings."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_IDENTITY = {
    "GIT_AUTHOR_NAME": "Ann Author",
    "GIT_AUTHOR_EMAIL": "ann@example.org",
    "GIT_COMMITTER_NAME": "Cleo Committer",
    "GIT_COMMITTER_EMAIL": "cleo@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}
_FIRST_COMMIT_AT_S = 1_780_000_000


class GitRepository:
    """A repository in `path`; each commit is made one minute after the one before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._commits_count = 0

    @classmethod
    def init(cls, path: Path, *options: str) -> GitRepository:
        path.mkdir(parents=True)
        repository = cls(path)
        repository.git("init", "--quiet", "--initial-branch=main", *options)
        return repository

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run git in the repository and return its output, stripped."""
        # Relative dates would make the order of commits depend on the machine's speed.
        date = f"{_FIRST_COMMIT_AT_S + 60 * self._commits_count} +0000"
        ended = subprocess.run(
            ["git", "-C", str(self.path), *arguments],
            input=stdin,
            capture_output=True,
            check=True,
            env={
                **_IDENTITY,
                "PATH": os.environ["PATH"],
                "HOME": os.devnull,
                "GIT_AUTHOR_DATE": date,
                "GIT_COMMITTER_DATE": date,
            },
        )
        return ended.stdout.decode(errors="replace").strip()

    def commit(self, subject: str, files: dict[str, str | bytes] | None = None) -> str:
        """Write the files, commit everything, and return the commit's sha."""
        for name, content in (files or {}).items():
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        self._commits_count += 1
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--allow-empty-message", "-m", subject)
        return self.head

    def commits(self, *subjects: str) -> list[str]:
        """Make an empty commit for each subject and return their shas."""
        return [self.commit(subject) for subject in subjects]

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    @property
    def shas(self) -> list[str]:
        """Every commit of HEAD's history, newest first."""
        return self.git("rev-list", "HEAD").split()
