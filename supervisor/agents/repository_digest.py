"""The repository digest: what is new in git repositories, as reports for people.

Each commit is in exactly one digest. It only reads the repositories and never fetches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor import Outcome
from supervisor.agents.added_todos import read_todos
from supervisor.agents.digest_facts import Tally
from supervisor.agents.digest_options import Options, parse_options
from supervisor.agents.digest_report import Digest, Summary, prompt, render, title
from supervisor.agents.git import Git, RepositoryNotDigested
from supervisor.agents.git_history import (
    Checkout,
    Memory,
    Repository,
    Start,
    Survey,
    group,
    look_at,
    remember,
    survey,
)
from supervisor.agents.git_log import read_commits
from supervisor.agents.report_journal import Journal
from supervisor.errors import ProviderFailed

if TYPE_CHECKING:
    from supervisor import Context


async def run(ctx: Context) -> Outcome | None:
    """Digest what is new in each repository: ok if a report was written, else noop.

    A repository that can't be read is logged and makes the tick `failed`, after the others are
    done; returning that, instead of raising, lets the tick commit what they remember.

    Raises:
        ConfigError: an option is unknown or can't be used.
        Refusal: a call of the model was refused; the commits wait.
        ProviderFailed: the model did not answer; the commits wait, the other repositories were
            tried. What they remember is not committed, but safe in their journals.
    """
    options = parse_options(ctx.name, ctx.options)
    tick = _Tick(ctx, options)
    repositories = group(await tick.find())
    for done, repository in enumerate(repositories):
        if ctx.stopping:
            break
        ctx.progress(done=done, total=len(repositories), item=repository.name)
        await tick.digest(repository)
    return tick.outcome()


class _Tick:
    """One pass over the repositories, and what came of it."""

    def __init__(self, ctx: Context, options: Options) -> None:
        self._ctx = ctx
        self._options = options
        self._has_reported = False
        self._failures: list[str] = []
        self._model_failure: ProviderFailed | None = None

    async def find(self) -> list[Checkout]:
        """Look at each configured path; those that can't be read are left out."""
        found = []
        for option in self._options.repositories:
            path = self._ctx.config_dir / option
            try:
                found.append(await look_at(path, budget_s=self._options.git_timeout_s))
            except RepositoryNotDigested as error:
                self._fail(option, error)
        return found

    async def digest(self, repository: Repository) -> None:
        """Digest one repository, or note why it could not be."""
        try:
            self._has_reported |= await digest_repository(self._ctx, self._options, repository)
        except RepositoryNotDigested as error:
            self._fail(repository.name, error)
        except ProviderFailed as error:
            # A model may choke on one repository's text, which must not starve the others.
            self._model_failure = self._model_failure or error

    def outcome(self) -> Outcome:
        if self._model_failure is not None:
            raise self._model_failure
        if self._failures:
            return self._ctx.failed("; ".join(self._failures))
        return Outcome.OK if self._has_reported else Outcome.NOOP

    def _fail(self, repository: str, error: RepositoryNotDigested) -> None:
        self._failures.append(str(error))
        self._ctx.log.error(
            "repository not digested", repository=repository, code=error.code, error=str(error)
        )


async def digest_repository(ctx: Context, options: Options, repository: Repository) -> bool:
    """Finish an interrupted digest, then digest what is new; return whether a report was written.

    Raises:
        RepositoryNotDigested: git or the journal could not be read.
        Refusal, ProviderFailed: from the model; nothing is remembered, so that the commits wait.
    """
    journal = Journal(ctx, repository.slug, Memory, RepositoryNotDigested)
    has_finished = journal.finish()
    git = Git(
        repository.path,
        budget_s=options.git_timeout_s,
        has_roots=not repository.is_shallow,
    )
    found = await survey(git, repository.heads, journal.memory)
    if found is None:
        return has_finished
    memory = await remember(git, found, journal.memory)
    digest = await _read(git, options, repository, found)
    summary = await _summarise(ctx, options, digest)
    report = _report_name(ctx, repository, found, journal.memory)
    journal.write(
        memory=memory, report=report, title=title(digest), markdown=render(digest, summary)
    )
    ctx.log.info("digest written", report=report, commits=found.commits_count)
    return True


async def _read(git: Git, options: Options, repository: Repository, found: Survey) -> Digest:
    is_new = found.start in (Start.FIRST, Start.UNRELATED)
    commits_max = options.first_commits_max if is_new else options.commits_max
    tally = Tally()
    bytes_max = options.git_output_bytes_max
    cut = await read_commits(
        git, found.revisions, tally.add, commits_max=commits_max, bytes_max=bytes_max
    )
    todos = await read_todos(git, tally.patched_shas, bytes_max=bytes_max)
    return Digest(repository=repository, survey=found, facts=tally.facts(), cut=cut, todos=todos)


async def _summarise(ctx: Context, options: Options, digest: Digest) -> Summary:
    reply = await ctx.model.complete(
        prompt(digest), max_tokens=options.summary_tokens_max, purpose="digest summary"
    )
    return Summary(text=reply.text, model=reply.model, cost_usd=float(reply.cost_usd))


def _report_name(ctx: Context, repository: Repository, found: Survey, memory: Memory) -> str:
    """Return a name that no other digest has: a head that is new is new only once."""
    head = next(head for head in found.heads if head not in memory.heads)
    return f"digest-{repository.slug}-{ctx.clock.now():%Y%m%dT%H%M%SZ}-{head[:10]}"
