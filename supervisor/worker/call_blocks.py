"""What is done at the end of a call's blocks, however they end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.errors import ProviderFailed, Refusal
from supervisor.governance.breakers import Fault
from supervisor.ledger.holds import Hold

if TYPE_CHECKING:
    from supervisor.worker.calls import Calls


class RecordingRefusal:
    """A block whose refusal is recorded; it is raised all the same."""

    __slots__ = ("_calls", "_model")

    def __init__(self, calls: Calls, model: str) -> None:
        self._calls = calls
        self._model = model

    def __enter__(self) -> None:
        return

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, Refusal):
            self._calls.record_refusal(self._model, error)


class Ending:
    """A block that sees to it that a hold has ended when it does, however it does."""

    __slots__ = ("_calls", "_hold")

    def __init__(self, calls: Calls, hold: Hold) -> None:
        self._calls = calls
        self._hold = hold

    def __enter__(self) -> None:
        return

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, ProviderFailed):
            # A request that a provider turns down for good says nothing against the provider.
            is_providers = error.is_retryable or not error.was_refused
            fault = Fault.PROVIDER if is_providers else Fault.CALL
            end = self._calls.release if error.was_refused else self._calls.forfeit
            end(self._hold, why=error.what, fault=fault)
        elif error is not None:
            self._calls.forfeit(self._hold, why="cancelled while it was in flight")
        else:
            self._calls.forfeit(self._hold, why="left before the answer was whole")
