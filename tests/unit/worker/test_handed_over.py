"""What a worker hands over leaves only after all of it has passed the checks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from supervisor.errors import InputRefused, KillSwitchEngaged
from supervisor.events.log import Origin
from supervisor.governance.json_schema import compiled
from supervisor.governance.kill_switch import KillCommand, engage
from supervisor.governance.outputs import Output
from supervisor.governance.validators import Checks
from supervisor.outcome import Outcome
from supervisor.worker.context import Context
from supervisor.worker.plan import WorkerFunction
from supervisor.worker.tick import TickEnd, WorkerCrashed, run_tick
from tests.unit.worker.conftest import UTC_ZONE, Bench
from tests.unit.worker.hostile_server import answer, hostile
from tests.unit.worker.http_bench import rules_of


class Wire:
    """The world outside: what was sent to it."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def send(self, text: str) -> Any:
        async def send() -> None:
            self.sent.append(text)

        return send


def posting(wire: Wire, *texts: str) -> WorkerFunction:
    async def run(ctx: Context) -> None:
        sent_before = len(wire.sent)
        for text in texts:
            ctx.publish(text, send=wire.send(text))
        assert len(wire.sent) == sent_before, "nothing is sent before the worker has returned"

    return run


async def tick(bench: Bench, run: WorkerFunction, **checks: Any) -> TickEnd:
    return await run_tick(bench.kernel, await bench.plan(run, checks=Checks(**checks)))


def drafts(bench: Bench) -> list[str]:
    folder = bench.kernel.state_dir / "reports" / "drafts"
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def published(bench: Bench) -> list[str]:
    return sorted(p.name for p in (bench.kernel.state_dir / "reports").glob("*.md"))


async def test_47_duplicates_are_none_though_every_call_would_be_answered_200(
    bench: Bench,
) -> None:
    """Acceptance 8 of issue 5: failed, alertable, and nothing is published."""
    async with hostile(post=answer(b"ok")) as site:

        async def run(ctx: Context) -> None:
            async def send() -> None:
                response = await ctx.http.post(f"{site.url}/post", content=b"Hello")
                assert response.status_code == 200

            for _ in range(47):
                ctx.publish("Hello, world", send=send)
            ctx.report("What I posted", "47 posts, all answered 200")
            ctx.state["posted"] = 47

        rules = rules_of(site, publish_methods=("POST",))
        checks = Checks(names=("duplicates",))
        plan = await bench.plan(run, http=rules, checks=checks)
        end = await run_tick(bench.kernel, plan)
        assert end.outcome is Outcome.FAILED
        assert site.heads == []
    (event,) = await bench.events("guardrail_output")
    assert (event["check"], event["outputs"]) == ("duplicates", 48)
    assert "47 of 48 outputs are duplicates" in str(event["why"])
    assert await bench.events("output_published", "http_requested") == []
    (completed,) = await bench.events("cycle_completed")
    assert completed["code"] == "output_rejected"
    assert published(bench) == []
    assert drafts(bench) == ["w-00000001/2026-06-01-w-what-i-posted.md", "w-00000001/outputs.jsonl"]
    lines = Path(bench.kernel.state_dir, str(event["drafts"]), "outputs.jsonl").read_text()
    assert [json.loads(line)["content"] for line in lines.splitlines()] == ["Hello, world"] * 47


async def test_what_passes_is_sent_in_order_after_the_worker_has_returned(bench: Bench) -> None:
    wire = Wire()
    end = await tick(bench, posting(wire, "a", "b", "c"), names=("duplicates", "empty"))
    assert end.outcome is Outcome.OK
    assert wire.sent == ["a", "b", "c"]
    assert len(await bench.events("output_published")) == 3
    assert drafts(bench) == []


async def test_what_was_published_before_is_a_duplicate_also_in_another_tick(
    bench: Bench,
) -> None:
    wire = Wire()
    await tick(bench, posting(wire, "The  News"), names=("duplicates",))
    end = await tick(bench, posting(wire, "the news"), names=("duplicates",))
    assert end.outcome is Outcome.FAILED
    assert wire.sent == ["The  News"]
    (event,) = await bench.events("guardrail_output")
    assert "was published before" in str(event["why"])


async def test_the_last_n_alone_are_remembered(bench: Bench) -> None:
    wire = Wire()
    among = {"names": ("duplicates",), "duplicates_among": 2}
    for text in ("a", "b", "c"):
        assert (await tick(bench, posting(wire, text), **among)).outcome is Outcome.OK
        bench.clock.advance(1.0)
    assert (await tick(bench, posting(wire, "c"), **among)).outcome is Outcome.FAILED
    assert (await tick(bench, posting(wire, "a"), **among)).outcome is Outcome.OK


async def test_the_same_key_with_the_same_content_is_the_same_output_once_more(
    bench: Bench,
) -> None:
    async def run(ctx: Context) -> None:
        ctx.report("Digest", "the same text", name="digest-2026-06-01")

    for _ in range(2):
        assert (await tick(bench, run, names=("duplicates",))).outcome is Outcome.OK
    assert published(bench) == ["digest-2026-06-01.md"]


async def test_a_report_is_a_draft_until_its_tick_has_passed(bench: Bench) -> None:
    seen: list[list[str]] = []

    async def run(ctx: Context) -> None:
        path = ctx.report("Plan", "do this", name="plan")
        again = ctx.report("Plan", "do that", name="plan")
        other = ctx.report("Plan", "and this")
        third = ctx.report("Plan", "and that")
        assert path == again
        assert other != third
        seen.append(published(bench))

    await tick(bench, run, names=("empty",))
    assert seen == [[]]
    assert len(published(bench)) == 3
    text = (bench.kernel.state_dir / "reports" / "plan.md").read_text()
    assert text == "# Plan\n\ndo that\n"
    assert drafts(bench) == []


async def test_without_checks_a_report_is_there_at_once(bench: Bench) -> None:
    async def run(ctx: Context) -> None:
        assert ctx.report("Plan", "do this", name="plan").exists()

    assert (await tick(bench, run)).outcome is Outcome.OK


@pytest.mark.parametrize("outcome", [Outcome.FAILED, None])
async def test_what_a_failed_tick_has_handed_over_is_not_sent(
    bench: Bench, outcome: Outcome | None
) -> None:
    wire = Wire()

    async def run(ctx: Context) -> Outcome:
        ctx.publish("a", send=wire.send("a"))
        ctx.report("Plan", "do this")
        if outcome is None:
            raise RuntimeError("a crash")
        return outcome

    plan = await bench.plan(run, checks=Checks(names=("empty",)))
    if outcome is None:
        with pytest.raises(WorkerCrashed):
            await run_tick(bench.kernel, plan)
    else:
        await run_tick(bench.kernel, plan)
    assert wire.sent == []
    assert published(bench) == []
    assert len(drafts(bench)) == 2


async def test_a_kill_while_it_is_sent_ends_the_sending(bench: Bench) -> None:
    wire = Wire()

    async def killing() -> None:
        wire.sent.append("b")
        origin = Origin(at=bench.clock.now(), actor="me", command_id="k")
        await bench.store.write(engage, KillCommand(scope="system", why="test"), origin, UTC_ZONE)

    async def run(ctx: Context) -> None:
        ctx.publish("a", send=wire.send("a"))
        ctx.publish("b", send=killing)
        ctx.publish("c", send=wire.send("c"))

    end = await tick(bench, run, names=("duplicates",))
    assert end.outcome is Outcome.REFUSED
    assert isinstance(end.refusal, KillSwitchEngaged)
    assert wire.sent == ["a", "b"]
    assert drafts(bench) == ["w-00000001/outputs.jsonl"]


async def test_what_broke_while_it_was_sent_is_not_sent_again_unseen(bench: Bench) -> None:
    wire = Wire()

    async def run(ctx: Context) -> None:
        async def send() -> None:
            wire.sent.append("a")
            raise OSError("the line broke")

        ctx.publish("a", send=send)
        ctx.publish("b", send=wire.send("b"))

    for _ in range(2):
        plan = await bench.plan(run, checks=Checks(names=("duplicates",)))
        if wire.sent:
            assert (await run_tick(bench.kernel, plan)).outcome is Outcome.FAILED
        else:
            with pytest.raises(WorkerCrashed):
                await run_tick(bench.kernel, plan)
    assert wire.sent == ["a"]


async def test_what_a_rule_kept_from_being_sent_may_come_again(bench: Bench) -> None:
    async with hostile(post=answer(b"ok")) as site:

        async def run(ctx: Context) -> None:
            async def send() -> None:
                await ctx.http.post(f"{site.url}/post")

            ctx.publish("a", send=send)

        checks = Checks(names=("duplicates",))
        off = await bench.plan(run, http=rules_of(site), checks=checks)
        assert (await run_tick(bench.kernel, off)).outcome is Outcome.REFUSED
        on = await bench.plan(run, http=rules_of(site, publish_methods=("POST",)), checks=checks)
        assert (await run_tick(bench.kernel, on)).outcome is Outcome.OK
        assert len(site.heads) == 1


async def test_a_method_with_effects_is_off_outside_of_what_was_checked(bench: Bench) -> None:
    async with hostile(post=answer(b"ok")) as site:

        async def run(ctx: Context) -> None:
            await ctx.http.post(f"{site.url}/post")

        plan = await bench.plan(run, http=rules_of(site, publish_methods=("POST",)))
        end = await run_tick(bench.kernel, plan)
        assert end.outcome is Outcome.REFUSED
        assert site.heads == []
    (event,) = await bench.events("guardrail_tool")
    assert "call it in the send= of ctx.publish" in str(event["why"])


async def test_drafts_are_kept_up_to_their_number(bench: Bench) -> None:
    async def run(ctx: Context) -> None:
        ctx.report(f"Plan {ctx.tick}", "")

    for _ in range(5):
        await tick(bench, run, names=("empty",), drafts_keep=2)
    assert [name.partition("/")[0] for name in drafts(bench)] == ["w-00000004", "w-00000005"]


async def test_what_is_no_output_is_refused_at_once(bench: Bench) -> None:
    async def run(ctx: Context) -> None:
        with pytest.raises(InputRefused, match="is no JSON"):
            ctx.publish(object())
        with pytest.raises(InputRefused, match="bytes"):
            ctx.publish("x" * 1_000_001)
        with pytest.raises(InputRefused, match="timezone"):
            ctx.publish("x", at=datetime(2026, 6, 1))  # noqa: DTZ001 - the point of it
        ctx.publish("a")
        ctx.publish("b")
        with pytest.raises(InputRefused, match="outputs_max = 2"):
            ctx.publish("c")

    assert (await tick(bench, run, outputs_max=2)).outcome is Outcome.OK


NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def handing(*outputs: dict[str, Any]) -> WorkerFunction:
    async def run(ctx: Context) -> None:
        for output in outputs:
            ctx.publish(output.get("content", "text"), at=output.get("at"))

    return run


def own(outputs: Sequence[Output]) -> str | None:
    return "it shouts" if any(o.text.isupper() for o in outputs) else None


async def own_async(outputs: Sequence[Output]) -> str | None:
    return own(outputs)


def own_broken(outputs: Sequence[Output]) -> str | None:
    raise ZeroDivisionError("a bug in the check")


SCHEMA = {"type": "object", "required": ["title"], "properties": {"title": {"type": "string"}}}
#: what is handed over, the checks, and what is found
FOUND: dict[str, tuple[list[dict[str, Any]], dict[str, Any], str]] = {
    "more than 1.5 times": (
        [{"content": str(n)} for n in range(16)],
        {"names": ("count",), "count_expected": 10},
        "16 outputs, where 10 are expected",
    ),
    "nothing at all": ([], {"names": ("empty",)}, "handed nothing over"),
    "an empty one": ([{"content": " \n"}, {}], {"names": ("empty",)}, "1 of 2 outputs are empty"),
    "an empty object": ([{"content": {}}], {"names": ("empty",)}, "1 of 1 outputs are empty"),
    "too old": (
        [{"at": datetime(2026, 5, 1, tzinfo=UTC)}],
        {"names": ("age",), "age_max_s": 86400.0},
        "older than 86400 s",
    ),
    "of an age that nobody said": (
        [{}],
        {"names": ("age",), "age_max_s": 86400.0},
        "was not said (at=)",
    ),
    "too large": (
        [{"content": "é" * 51}],
        {"names": ("size",), "size_max_bytes": 100},
        "102 bytes",
    ),
    "off its schema": (
        [{"content": {"title": 3}}],
        {"names": ("schema",), "schema": SCHEMA},
        "title must be string",
    ),
    "a worker's own": (
        [{"content": "LOUD"}],
        {"names": ("m:own",), "own": {"m:own": own}},
        "shouts",
    ),
    "an async one": (
        [{"content": "LOUD"}],
        {"names": ("m:own",), "own": {"m:own": own_async}},
        "shouts",
    ),
    "one that fails": (
        [{}],
        {"names": ("m:own",), "own": {"m:own": own_broken}},
        "the check failed: ZeroDivisionError",
    ),
    "the second of two": (
        [{"content": "a"}, {"content": "a"}],
        {"names": ("empty", "duplicates")},
        "2 of 2 outputs are duplicates",
    ),
}


@pytest.mark.parametrize("name", FOUND)
async def test_a_check_finds_what_it_is_for(bench: Bench, name: str) -> None:
    outputs, checks, found = FOUND[name]
    assert (await tick(bench, handing(*outputs), **checks)).outcome is Outcome.FAILED
    (event,) = await bench.events("guardrail_output")
    assert found in str(event["why"])


async def test_what_is_as_it_should_be_passes_all_of_them(bench: Bench) -> None:
    outputs = [{"content": {"title": str(n)}, "at": bench.clock.now()} for n in range(15)]
    checks = Checks(
        names=("duplicates", "count", "empty", "age", "size", "schema", "m:own"),
        count_expected=10,
        age_max_s=60.0,
        schema=SCHEMA,
        own={"m:own": own},
    )
    end = await run_tick(bench.kernel, await bench.plan(handing(*outputs), checks=checks))
    assert end.outcome is Outcome.OK


async def test_a_schema_fetches_nothing(bench: Bench) -> None:
    with pytest.raises(ValueError, match="put that into its own definitions"):
        compiled({"$ref": "http://127.0.0.1:1/schema.json"})
    with pytest.raises(ValueError, match="no schema that can be used"):
        compiled({"type": "nonsense"})


async def test_a_noop_has_nothing_to_hand_over(bench: Bench) -> None:
    async def run(ctx: Context) -> Outcome:
        return Outcome.NOOP

    assert (await tick(bench, run, names=("empty",))).outcome is Outcome.NOOP
