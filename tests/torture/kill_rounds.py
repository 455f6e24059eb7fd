"""A kill switch that is engaged and released around the death of its daemon."""

from __future__ import annotations

import itertools
import os
from contextlib import suppress

import httpx

from tests.e2e.billing_server import BillingServer
from tests.e2e.daemon_process import RunningDaemon
from tests.torture.life import Life
from tests.torture.life_checks import boot_of, check_command_once, check_latched, ticks_begun
from tests.torture.site import TOKEN, TorturedSite

_numbers = itertools.count(1)


class KillRound:
    """One kill: told to the daemon, told again to the store, obeyed, and released by a person."""

    def __init__(
        self, site: TorturedSite, billing: BillingServer, *, scope: str = "system"
    ) -> None:
        self._site = site
        self._billing = billing
        self._scope = scope
        number = f"{os.getpid()}-{next(_numbers)}"
        self._kill_id = f"kill-{number}"
        self._release_id = f"release-{number}"
        self._is_answered = False

    def engage(self, daemon: RunningDaemon) -> None:
        """Tell the daemon, which may die before it answers."""
        self._is_answered = self._post(daemon, "/kill", self._kill_id)

    def release(self, daemon: RunningDaemon) -> None:
        """Tell the daemon that it may go on, which may die before it answers."""
        self._post(daemon, "/release", self._release_id)

    def engage_and_release(self, daemon: RunningDaemon) -> None:
        """Tell the daemon both."""
        self.engage(daemon)
        self.release(daemon)

    def _post(self, daemon: RunningDaemon, path: str, command_id: str) -> bool:
        body = {"scope": self._scope, "why": "torture", "command_id": command_id}
        with suppress(httpx.TransportError):
            answer = daemon.post(path, body, token=TOKEN)
            assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
            return True
        return False

    def engage_on_store(self) -> None:
        """Send the same command to the store, as a person does who has had no answer."""
        if self._is_answered:
            with self._site.looking() as look:
                check_latched(look, scope=self._scope)
        latched = self._site.latch(self._scope, command_id=self._kill_id, is_engaged=True)
        assert latched.changed, "the first answer to a command is its answer for ever"
        with self._site.looking() as look:
            check_latched(look, scope=self._scope)
            check_command_once(look, command_id=self._kill_id, kind="kill_switch_engaged")

    def check_quiet(self, life: Life) -> None:
        """Assert that a life under the kill has begun nothing that the kill reaches."""
        with self._site.looking() as look:
            check_latched(look, scope=self._scope)
            boot_id = boot_of(look, life)
            worker = self._scope.partition(":")[2]
            begun = ticks_begun(look, boot_id, worker=worker) if boot_id else 0
            assert begun == 0, f"{begun} ticks under the kill of {self._scope}"
        bills = [b for b in self._billing.bills() if life.began_at < b["at"] < life.ended_at]
        assert not bills or worker, f"{len(bills)} calls under a kill of the system"

    def release_on_store(self) -> None:
        """Release it in a person's name."""
        self._site.latch(self._scope, command_id=self._release_id, is_engaged=False)
        with self._site.looking() as look:
            check_command_once(look, command_id=self._release_id, kind="kill_switch_released")
