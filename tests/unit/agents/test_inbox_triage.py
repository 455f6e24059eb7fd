"""Inbox triage in real ticks: four labels, drafts only, each message once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.agents import inbox_triage
from supervisor.agents.inbox import Letter
from supervisor.agents.inbox_triage import Label, label_by_rule
from supervisor.clock import VirtualClock
from supervisor.outcome import Outcome
from supervisor.providers.scripted import Step
from supervisor.storage.database import Database
from supervisor.worker.context import Context
from supervisor.worker.plan import WorkerPlan
from supervisor.worker.tick import run_tick
from tests.unit.worker.conftest import Bench

REPLY = "LABEL: reply\nWHY: she asks for a date\nDRAFT: Tuesday suits me.\nBest"


def mail(subject: str, body: str = "Hello.", **headers: str) -> str:
    lines = ["From: Ann <ann@example.org>", f"Subject: {subject}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\n".join([*lines, "", body])


class Desk:
    """A worker that sorts an inbox, and what it left behind."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench = bench
        self.folder = folder
        self.inbox = folder / "inbox"
        self.inbox.mkdir()
        self.bench.script(Step(text=REPLY, output_tokens=5))

    def put(self, name: str, text: str | bytes) -> None:
        file = self.inbox / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)

    async def plan(self, **options: object) -> WorkerPlan:
        return await self.bench.plan(
            inbox_triage.run, options={"inbox": "inbox", **options}, timeout_s=20
        )

    async def tick(self, plan: WorkerPlan | None = None) -> Outcome:
        self.bench.clock.advance(60)
        return (await run_tick(self.bench.kernel, plan or await self.plan())).outcome

    @property
    def reports(self) -> list[str]:
        return [file.read_text() for file in sorted((self.folder / "reports").glob("*.md"))]

    def times(self, text: str) -> int:
        return sum(report.count(text) for report in self.reports)


@pytest.fixture
def desk(store: Database, clock: VirtualClock, tmp_path: Path) -> Desk:
    return Desk(Bench(store, clock, tmp_path), tmp_path)


async def test_a_message_gets_its_label_its_reason_and_a_draft_and_nothing_is_touched(
    desk: Desk,
) -> None:
    desk.put("1.eml", mail("When shall we meet?"))
    assert await desk.tick() is Outcome.OK
    (report,) = desk.reports
    assert "## Reply (1)" in report
    assert "`When shall we meet?` from `Ann <ann@example.org>`: `she asks for a date`" in report
    assert "> Tuesday suits me.\n> Best" in report
    assert "Nothing was sent" in report
    assert [file.name for file in desk.inbox.iterdir()] == ["1.eml"]


async def test_a_message_is_sorted_once_and_an_empty_inbox_costs_nothing(desk: Desk) -> None:
    desk.put("1.eml", mail("One"))
    outcomes = [await desk.tick(), await desk.tick()]
    desk.put("2.eml", mail("Two"))
    outcomes += [await desk.tick(), await desk.tick()]
    assert outcomes == [Outcome.OK, Outcome.NOOP, Outcome.OK, Outcome.NOOP]
    assert desk.bench.provider.calls == 2
    assert [desk.times("`One`"), desk.times("`Two`")] == [1, 1]


async def test_a_maildir_is_read_and_a_flag_makes_no_message_new(desk: Desk) -> None:
    (desk.inbox / "new").mkdir()
    desk.put("cur/17.host:2,", mail("One"))
    desk.put("new/18.host", mail("Two"))
    assert await desk.tick() is Outcome.OK
    (desk.inbox / "cur" / "17.host:2,").rename(desk.inbox / "cur" / "17.host:2,S")
    (desk.inbox / "new" / "18.host").rename(desk.inbox / "cur" / "18.host:2,")
    assert await desk.tick() is Outcome.NOOP
    assert [desk.times("`One`"), desk.times("`Two`")] == [1, 1]


async def test_what_does_not_fit_into_a_tick_comes_in_the_next(desk: Desk) -> None:
    for number in range(5):
        desk.put(f"{number}.eml", mail(f"Subject {number}"))
    plan = await desk.plan(messages_max=2)
    outcomes = [await desk.tick(plan) for _ in range(4)]
    assert outcomes == [Outcome.OK] * 3 + [Outcome.NOOP]
    assert "3 more wait for the next tick" in desk.reports[0]
    assert [desk.times(f"`Subject {number}`") for number in range(5)] == [1] * 5


async def test_a_model_that_gives_no_label_is_stood_in_for_by_a_rule_and_that_is_said(
    desk: Desk,
) -> None:
    desk.bench.script(Step(text="I think this is nice."))
    desk.put("1.eml", mail("Offer", "Buy!", List_Unsubscribe="<mailto:x@example.org>"))
    await desk.tick()
    (report,) = desk.reports
    assert "## Ignore (1)" in report
    assert "by rule: the model gave no label" in report


async def test_where_the_model_fails_halfway_what_is_done_is_reported_and_the_rest_waits(
    desk: Desk,
) -> None:
    desk.bench.script(Step(text=REPLY), Step(does="server_error"), Step(text=REPLY))
    for number in range(2):
        desk.put(f"{number}.eml", mail(f"Subject {number}"))
    assert await desk.tick() is Outcome.OK
    assert [desk.times(f"`Subject {number}`") for number in range(2)] == [1, 0]
    assert await desk.tick() is Outcome.OK
    assert [desk.times(f"`Subject {number}`") for number in range(2)] == [1, 1]


async def test_a_tick_that_dies_after_its_report_repeats_nothing(desk: Desk) -> None:
    async def die_at_the_end(ctx: Context) -> Outcome | None:
        await inbox_triage.run(ctx)
        raise KeyboardInterrupt

    desk.put("1.eml", mail("One"))
    plan = await desk.plan()
    with pytest.raises(BaseException):  # noqa: B017, PT011 - whatever a crash is told as
        await desk.tick(replace(plan, function=die_at_the_end))
    assert await desk.tick(plan) is Outcome.NOOP
    assert desk.times("`One`") == 1
    assert desk.bench.provider.calls == 1


@pytest.mark.parametrize(
    ("name", "content", "subject"),
    [
        ("note.txt", b"call the bank", "note.txt"),
        ("bad.eml", b"\x00\xff\xfe\x80", "bad.eml"),
        ("huge.eml", b"Subject: Huge\n\n" + b"x" * 3_000_000, "Huge"),
        ("empty.eml", b"", "empty.eml"),
        ("charset.eml", b"Subject: Odd\nContent-Type: text/plain; charset=klingon\n\nx", "Odd"),
    ],
)
async def test_whatever_lies_in_the_inbox_is_sorted(
    desk: Desk, name: str, content: bytes, subject: str
) -> None:
    desk.put(name, content)
    assert await desk.tick() is Outcome.OK
    assert desk.times(f"`{subject}`") == 1


async def test_a_link_out_of_the_inbox_is_not_followed(desk: Desk) -> None:
    secret = desk.folder / "secret"
    secret.write_text(mail("Secret"))
    (desk.inbox / "1.eml").symlink_to(secret)
    assert await desk.tick() is Outcome.NOOP


async def test_an_inbox_that_is_not_there_says_what_to_do(desk: Desk) -> None:
    plan = await desk.plan(inbox="elsewhere")
    with pytest.raises(Exception, match=r".") as crash:
        await desk.tick(plan)
    assert "name a folder of messages or a Maildir" in str(crash.value.__cause__)


@pytest.mark.parametrize(
    ("subject", "text", "is_bulk", "label"),
    [
        ("Final notice", "Pay now", False, Label.ACT),
        ("Lunch", "Could you come?", False, Label.REPLY),
        ("Minutes", "As agreed.", False, Label.READ),
        ("Urgent offer?", "Buy", True, Label.IGNORE),
    ],
)
def test_the_rules_behind_the_model(subject: str, text: str, is_bulk: bool, label: Label) -> None:
    letter = Letter(id="1", name="1", sender="a", subject=subject, text=text, is_bulk=is_bulk)
    assert label_by_rule(letter)[0] is label
