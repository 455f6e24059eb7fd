"""How each misfortune strikes the daemon of the moment, its clock, its store or its workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from supervisor.simulation.faults import Fault, FaultKind

if TYPE_CHECKING:
    from supervisor.simulation.world import World

_HOUR_S = 3_600.0
_TEN_YEARS_S = 3_652 * 86_400.0
_NUDGE_S = 5.0
_HURRY_S = 20.0
#: How long the kill watch takes to look again, while a tick runs and while none does.
_LOOKS_BUSY_S, _LOOKS_IDLE_S = 0.04, 0.5
_SYSTEM_SHARE, _SESSION_SHARE = 0.2, 0.4

_STEPS_S = {
    FaultKind.WALL_BACK_1H: -_HOUR_S,
    FaultKind.WALL_FORWARD_1H: _HOUR_S,
    FaultKind.SUSPEND_3H: 3 * _HOUR_S,
    FaultKind.WALL_FORWARD_10Y: _TEN_YEARS_S,
    FaultKind.WALL_BACK_10Y: -_TEN_YEARS_S,
}
_LASTING = frozenset(
    {
        FaultKind.OUTAGE,
        FaultKind.STORM_429,
        FaultKind.SLOW,
        FaultKind.HANGS,
        FaultKind.GREED,
        FaultKind.BAD_WORKER,
    }
)
_LOCKS = frozenset({FaultKind.STORE_LOCKED, FaultKind.DISK_FULL})
#: Ticks are short and days are long: without aim these would seldom meet any work in flight.
_AIMED = frozenset(
    {
        FaultKind.KILL,
        FaultKind.SIGTERM,
        FaultKind.SIGTERM_TWICE,
        FaultKind.STOP_FILE,
        FaultKind.RELOAD,
        FaultKind.SUSPEND_3H,
        FaultKind.STORE_LOCKED,
        FaultKind.DISK_FULL,
    }
)
_FINE = 1_000_000
_ARMED = frozenset(
    {
        FaultKind.CRASH_BEFORE_COMMIT,
        FaultKind.CRASH_AFTER_COMMIT,
        FaultKind.CRASH_BEFORE_CALL,
        FaultKind.CRASH_IN_CALL,
    }
)


class Strikes:
    """Turns a fault of the plan into what it does to the world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._caller = ""
        self._by_kind: dict[FaultKind, Callable[[Fault], bool]] = {
            FaultKind.CRASH: self._crash,
            FaultKind.SIGTERM: self._terminate,
            FaultKind.SIGTERM_TWICE: self._terminate,
            FaultKind.STOP_FILE: self._terminate,
            FaultKind.KILL: self._kill,
            FaultKind.RELOAD: self._reload,
            FaultKind.ROLLBACK: self._roll_back,
            FaultKind.WALL_NUDGE: self._nudge,
            FaultKind.VISIT: self._visit,
        }

    def strike(self, fault: Fault) -> None:
        """Let a fault happen: every second of some kinds while the next paid call is under way."""
        if fault.kind in _AIMED and int(fault.luck * _FINE) % 2:
            self._world.aim(fault)
        else:
            self.strike_now(fault)

    def strike_now(self, fault: Fault, caller: str = "") -> None:
        """Let a fault happen, and count it if it does; `caller` is the worker it is aimed at."""
        self._caller = caller
        world = self._world
        if fault.kind in _ARMED:
            world.fortune.arm(fault)
        elif fault.kind in _LASTING:
            world.fortune.begin(fault)
        elif fault.kind in _LOCKS:
            self._lock(fault)
        elif fault.kind in _STEPS_S:
            self._step(_STEPS_S[fault.kind])
            world.fortune.struck[fault.kind] += 1
        elif self._by_kind[fault.kind](fault):
            world.fortune.struck[fault.kind] += 1

    def _crash(self, fault: Fault) -> bool:
        world = self._world
        if world.life is None:
            return False
        world.die()
        world.fortune.downtime_s = fault.span_s
        return True

    def _terminate(self, fault: Fault) -> bool:
        world = self._world
        life = world.life
        if life is None:
            return False
        is_file = fault.kind is FaultKind.STOP_FILE
        life.request_stop(f"the seed says {fault.kind}", in_a_hurry=is_file)
        world.rules.disturb()
        world.fortune.downtime_s = fault.span_s
        if fault.kind is FaultKind.SIGTERM_TWICE:

            def again() -> None:
                if world.life is life:
                    life.request_stop("again", in_a_hurry=True)

            world.after(fault.luck * _HURRY_S, again)
        return True

    def _lock(self, fault: Fault) -> None:
        world = self._world
        world.fortune.begin(fault)
        world.rules.disturb()
        world.after(fault.span_s, world.rules.disturb)

    def _step(self, seconds: float) -> None:
        self._world.clock.step_wall(seconds)
        self._world.rules.work.disturb()
        self._world.rules.burns.troubled_s = self._world.clock.monotonic()

    def _nudge(self, fault: Fault) -> bool:
        self._step((2 * fault.luck - 1) * _NUDGE_S)
        return True

    def _kill(self, fault: Fault) -> bool:
        world = self._world
        scope = self._scope(fault)
        if world.fortune.locked_for() or scope in world.rules.sessions.latches:
            return False
        world.operator.kill(scope)
        self._notice(fault)
        world.after(fault.span_s, lambda: self._release(fault, scope))
        return True

    def _scope(self, fault: Fault) -> str:
        world = self._world
        names = list(world.loaded.config.worker)
        name = self._caller or names[int(fault.luck * 1_000) % len(names)]
        if fault.luck < _SYSTEM_SHARE:
            return "system"
        session = world.rules.sessions.open_of(name)
        if session is not None and fault.luck < _SESSION_SHARE:
            return f"session:{session.id}"
        return f"worker:{name}"

    def _release(self, fault: Fault, scope: str) -> None:
        if self._world.fortune.locked_for():
            self._world.after(_HOUR_S, lambda: self._release(fault, scope))
            return
        self._world.operator.release(scope)
        self._notice(fault)

    def _notice(self, fault: Fault) -> None:
        """Let the daemon see, a moment later, that somebody else has committed."""
        world = self._world
        life = world.life
        if life is None:
            return

        def notice() -> None:
            world.rules.work.disturb()
            # The next life reads the latches at its start; a dead one reads nothing.
            if world.life is life:
                life.notice()

        looks_s = _LOOKS_BUSY_S if len(life.kernel.in_flight) else _LOOKS_IDLE_S
        world.after(fault.luck * looks_s, notice)

    def _reload(self, fault: Fault) -> bool:
        world = self._world
        if world.life is None or not world.life.is_ready:
            return False
        world.life.reload(world.scripted_plans())
        return True

    def _roll_back(self, fault: Fault) -> bool:
        world = self._world
        names = list(world.loaded.config.worker)
        is_possible = not world.fortune.locked_for()
        return is_possible and world.operator.roll_back(names[int(fault.luck * len(names))])

    def _visit(self, fault: Fault) -> bool:
        world = self._world
        if not world.fortune.locked_for():
            world.operator.reconcile(world.rules.money)
            world.operator.resume()
            self._notice(fault)
        return False
