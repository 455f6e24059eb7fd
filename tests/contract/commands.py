"""A case of every operation that takes a command id: how it is sent, and with what else instead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from supervisor import Context
from supervisor.alerts import incidents
from supervisor.alerts.acknowledging import AcknowledgeCommand, acknowledge
from supervisor.alerts.facts import Fact, Severity
from supervisor.alerts.record import Terms, open_alerts, raise_fact
from supervisor.governance import drills, kill_switch, session_commands
from supervisor.governance.approvals import DecideCommand, approve, deny
from supervisor.governance.clock_reset import ResetClockCommand, reset_clock
from supervisor.governance.drills import BeginCommand, Drill, Verdict
from supervisor.governance.kill_switch import KillCommand
from supervisor.governance.policy import route
from supervisor.governance.proposals import Proposal
from supervisor.governance.proposing import Judgement, ProposalRequest, propose
from supervisor.governance.reconciliation import ReconcileCommand, reconcile_hold
from supervisor.governance.restoring import RestoreCommand
from supervisor.governance.risk import Assessment, Risk
from supervisor.governance.rollback import RollbackCommand, roll_back
from supervisor.governance.rotation import open_session_of, pause_session
from supervisor.governance.session import AbortReason
from supervisor.governance.session_commands import AbortCommand, ResumeCommand
from supervisor.governance.session_grants import Scope
from supervisor.governance.token_budgets import Party, Usage, record_usage
from supervisor.identity import Identity
from supervisor.ledger.accounts import Amounts
from supervisor.ledger.gaps import Spent
from supervisor.ledger.holds import HoldRequest, HoldStatus
from supervisor.maintenance.restore import restored_in_place
from supervisor.storage.database import Transaction
from supervisor.worker.actions import Ticket
from supervisor.worker.placing import Granted, HoldEnd, end_holds, place
from supervisor.worker.tick import run_tick
from tests.contract.breaker_case import closing_breaker
from tests.contract.command_case import Case, Content, Send, origin_of, sender
from tests.contract.policy_bench import SURE, TERMS, UTC_ZONE, PolicyBench


async def session_id(bench: PolicyBench, worker: str = "w") -> str:
    session = await bench.store.read(open_session_of, worker)
    assert session is not None
    return session.id


async def _live(bench: PolicyBench, *workers: str) -> None:
    async def nothing(_: Context) -> None:
        return

    for worker in workers:
        await bench.tick(nothing, name=worker)


async def _ticket(bench: PolicyBench) -> str:
    async def work(ctx: Context) -> str:
        answer = await ctx.propose("merge", **SURE)
        assert isinstance(answer, Ticket)
        return answer.id

    return await bench.tick(work)


# --- people's


async def kill(bench: PolicyBench) -> Case:
    send = sender(bench, kill_switch.engage, UTC_ZONE)
    command = KillCommand(scope="worker:w", why="x")
    return Case(send=send, content=command, others={"scope": "nonsense", "why": "y"})


async def release(bench: PolicyBench) -> Case:
    send = sender(bench, kill_switch.release, UTC_ZONE)
    command = KillCommand(scope="worker:w", why="x")
    await bench.store.write(kill_switch.engage, command, origin_of(bench, "k-1"), UTC_ZONE)
    return Case(send=send, content=command, others={"scope": "system", "why": "y"})


async def approving(bench: PolicyBench) -> Case:
    return await _deciding(bench, sender(bench, approve, TERMS))


async def denying(bench: PolicyBench) -> Case:
    return await _deciding(bench, sender(bench, deny, TERMS))


async def _deciding(bench: PolicyBench, send: Send) -> Case:
    command = DecideCommand(ticket=await _ticket(bench), why="x")
    others = {"ticket": await _ticket(bench), "why": "y", "for_session": Scope(count_max=2)}
    return Case(send=send, content=command, others=others)


async def reconcile(bench: PolicyBench) -> Case:
    send = sender(bench, reconcile_hold, UTC_ZONE)
    await _place(bench, "h-1", end=HoldStatus.FORFEITED)
    command = ReconcileCommand(hold_id="h-1", cost=5)
    return Case(send=send, content=command, others={"hold_id": "none", "cost": 6})


async def rollback(bench: PolicyBench) -> Case:
    send = sender(bench, roll_back, UTC_ZONE)

    async def nothing(_: Context) -> None:
        return

    for worker in ("w", "v"):
        await run_tick(bench.kernel, await bench.plan(nothing, name=worker, checkpoint_every=1))
    command = RollbackCommand(worker="w", checkpoint="w#1:periodic")
    return Case(send=send, content=command, others={"worker": "v", "checkpoint": "v#1:periodic"})


async def restore(bench: PolicyBench) -> Case:
    await _live(bench, "w")
    send = sender(bench, restored_in_place, UTC_ZONE)
    others = {"backup_sha256": "b", "why": "y", "spent": Spent(cost=1)}
    return Case(send=send, content=RestoreCommand(backup_sha256="a", why="x"), others=others)


async def reset(bench: PolicyBench) -> Case:
    send = sender(bench, reset_clock, UTC_ZONE)
    bench.clock.step_wall(86_400)
    await _live(bench, "w")
    bench.clock.step_wall(-86_400)
    return Case(send=send, content=ResetClockCommand(why="x"), others={"why": "y"})


async def resume(bench: PolicyBench) -> Case:
    send = sender(bench, session_commands.resume)

    def pause(tx: Transaction) -> None:
        session = open_session_of(tx, "w")
        assert session is not None
        pause_session(tx, session, bench.origin(), why="looked at")

    await _live(bench, "w", "v")
    await bench.store.write(pause)
    command = ResumeCommand(session_id=await session_id(bench), why="x")
    others = {"session_id": await session_id(bench, "v"), "why": "y"}
    return Case(send=send, content=command, others=others)


async def abort(bench: PolicyBench) -> Case:
    await _live(bench, "w", "v")
    command = AbortCommand(session_id=await session_id(bench), why="x")
    reason = AbortReason.POLICY_VIOLATION
    others = {"session_id": await session_id(bench, "v"), "why": "y", "reason": reason}
    return Case(send=sender(bench, session_commands.abort), content=command, others=others)


async def drill(bench: PolicyBench) -> Case:
    async def send(command_id: str, content: Content) -> object:
        assert isinstance(content, BeginCommand)
        origin = origin_of(bench, command_id)
        done = await bench.store.write(drills.begin, content.drill, origin, UTC_ZONE)
        if done is None:
            kind = content.drill
            done = Verdict(drill=kind, id=command_id, passed=True, measured_s=1.0, what="x")
            await bench.store.write(drills.finish, done, origin, UTC_ZONE)
        return done

    return Case(send=send, content=BeginCommand(drill=Drill.KILL), others={"drill": Drill.RESTORE})


async def acknowledging(bench: PolicyBench) -> Case:
    terms = Terms(routes=(), remind_after_s=3_600.0, timezone=UTC_ZONE)
    broken = Fact(key="k", severity=Severity.CRITICAL, title="t", what="w", done="d", command="c")
    await bench.store.write(raise_fact, broken, terms, bench.origin())
    (alert,) = await bench.store.read(open_alerts)
    send = sender(bench, acknowledge, UTC_ZONE)
    command = AcknowledgeCommand(alert=alert.id, why="x")
    return Case(send=send, content=command, others={"alert": "none", "why": "y"})


async def opening_incident(bench: PolicyBench) -> Case:
    send = sender(bench, incidents.open_incident, UTC_ZONE)
    return Case(send=send, content=incidents.OpenCommand(title="x"), others={"title": "y"})


async def noting_incident(bench: PolicyBench) -> Case:
    incident = await _incident(bench)
    command = incidents.NoteCommand(incident=incident, text="x")
    others = {"incident": "none", "text": "y", "alert": "none", "drill": "none"}
    return Case(
        send=sender(bench, incidents.note_incident, UTC_ZONE), content=command, others=others
    )


async def closing_incident(bench: PolicyBench) -> Case:
    command = incidents.CloseCommand(incident=await _incident(bench), why="x")
    send = sender(bench, incidents.close_incident, UTC_ZONE)
    return Case(send=send, content=command, others={"incident": "none", "why": "y"})


async def _incident(bench: PolicyBench) -> str:
    command, origin = incidents.OpenCommand(title="x"), origin_of(bench, "i-1")
    return (await bench.store.write(incidents.open_incident, command, origin, UTC_ZONE)).incident


# --- agents'


def proposal_request(
    bench: PolicyBench, worker: str, session: str, made: Proposal, command_id: str
) -> ProposalRequest:
    judged = Judgement(
        route=route(bench.kernel.policy.actions, made, worker),
        assessment=Assessment(risk=Risk.LOW, why=""),
    )
    return ProposalRequest(
        id=command_id, worker=worker, session_id=session, tick=1, proposal=made, judgement=judged
    )


async def proposing(bench: PolicyBench) -> Case:
    await _live(bench, "w")
    session = await session_id(bench)

    async def send(command_id: str, content: Content) -> object:
        assert isinstance(content, Proposal)
        asked = proposal_request(bench, "w", session, content, command_id)
        policy, origin = bench.kernel.policy.actions, origin_of(bench, "")
        return await bench.store.write(propose, asked, policy, UTC_ZONE, origin)

    others = {
        "action": "note",
        "resource": "issue:8",
        "reasoning": "y",
        "cost": 1,
        "tokens": 1,
        "weight": 1.0,
        "score": 0.8,
        "risk_factors": ("y",),
        "metadata": {"y": 1},
    }
    return Case(send=send, content=Proposal(action="merge", **SURE), others=others)


def hold_request(
    bench: PolicyBench, worker: str, session: str, hold_id: str, what: str = "test"
) -> HoldRequest:
    return HoldRequest(
        id=hold_id,
        boot_id=bench.kernel.boot_id,
        worker=worker,
        session_id=session,
        tick=1,
        model="",
        what=what,
        amounts=Amounts(cost=10, tokens=10, actions=1),
    )


async def holding(bench: PolicyBench) -> Case:
    await _live(bench, "w", "v")
    budgets = bench.kernel.policy.budgets

    async def send(command_id: str, content: Content) -> object:
        assert isinstance(content, HoldRequest)
        asked = msgspec.structs.replace(content, id=command_id)
        return await bench.store.write(place, asked, None, budgets, origin_of(bench, command_id))

    others = {
        "worker": "v",
        "session_id": await session_id(bench, "v"),
        "tick": 2,
        "model": "p/m",
        "what": "other",
        "identity": Identity(user="eve"),
        "conversation": "other",
        "amounts": Amounts(cost=11, tokens=10, actions=1),
    }
    return Case(
        send=send,
        content=hold_request(bench, "w", await session_id(bench), ""),
        others=others,
        named={"amounts": "cost", "identity": "user"},
        left_out=frozenset({"id", "boot_id", "is_of_session"}),
    )


async def _place(bench: PolicyBench, hold_id: str, *, end: HoldStatus | None = None) -> Granted:
    await _live(bench, "w")
    asked = hold_request(bench, "w", await session_id(bench), hold_id)
    budgets, origin = bench.kernel.policy.budgets, origin_of(bench, hold_id)
    placed = await bench.store.write(place, asked, None, budgets, origin)
    assert isinstance(placed, Granted)
    if end is not None:
        ending = HoldEnd(hold=placed.hold, status=end, origin=origin, why="x")
        await bench.store.write(end_holds, placed.hold.session_id, [ending])
    return placed


async def settling(bench: PolicyBench) -> Case:
    hold = (await _place(bench, "c-1")).hold

    async def send(_: str, content: Content) -> object:
        assert isinstance(content, Amounts)
        origin = origin_of(bench, hold.id)
        end = HoldEnd(hold=hold, status=HoldStatus.SETTLED, origin=origin, actual=content)
        return await bench.store.write(end_holds, hold.session_id, [end])

    others = {"cost": 4, "tokens": 4, "actions": 0}
    named = dict.fromkeys(others, "amounts")
    actual = Amounts(cost=5, tokens=5, actions=1)
    return Case(send=send, content=actual, others=others, named=named)


async def reporting(bench: PolicyBench) -> Case:
    await _live(bench, "w")
    budgets = bench.kernel.policy.budgets

    async def send(command_id: str, content: Content) -> object:
        assert isinstance(content, Usage)
        usage = msgspec.structs.replace(content, id=command_id)
        origin = origin_of(bench, command_id)
        return await bench.store.write(record_usage, usage, budgets, UTC_ZONE, origin)

    party = Party(worker="w", session_id=await session_id(bench))
    others = {"party": Party(worker="v"), "input_tokens": 4, "output_tokens": 4, "cost": 6}
    return Case(
        send=send,
        content=Usage(id="", party=party, input_tokens=5, output_tokens=5, cost=5),
        others=others,
        named={"party": "worker", "input_tokens": "in", "output_tokens": "out", "cost": "amounts"},
        left_out=frozenset({"id"}),
    )


class End(msgspec.Struct, frozen=True):
    """How a hold ends where nothing is settled."""

    status: HoldStatus


async def forfeiting(bench: PolicyBench) -> Case:
    hold = (await _place(bench, "c-1")).hold

    async def send(_: str, content: Content) -> object:
        assert isinstance(content, End)
        end = HoldEnd(hold=hold, status=content.status, origin=origin_of(bench, hold.id), why="x")
        return await bench.store.write(end_holds, hold.session_id, [end])

    others = {"status": HoldStatus.RELEASED}
    return Case(
        send=send, content=End(HoldStatus.FORFEITED), others=others, named={"status": "end"}
    )


CASES: Mapping[str, Callable[[PolicyBench], Awaitable[Case]]] = {
    "kill": kill,
    "release": release,
    "approve": approving,
    "deny": denying,
    "close_breaker": closing_breaker,
    "reconcile": reconcile,
    "rollback": rollback,
    "restore": restore,
    "reset_clock": reset,
    "resume": resume,
    "abort": abort,
    "drill": drill,
    "acknowledge_alert": acknowledging,
    "incident_open": opening_incident,
    "incident_note": noting_incident,
    "incident_close": closing_incident,
    "propose": proposing,
    "hold": holding,
    "settle": settling,
    "record_usage": reporting,
    "forfeit": forfeiting,
}
