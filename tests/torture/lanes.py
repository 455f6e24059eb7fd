"""Campaigns one after the other, in lanes beside each other, until there were enough kills."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, TypeAlias

from tests.e2e.billing_server import running_billing_server
from tests.torture.campaign import Campaign, folders_of
from tests.torture.fates import Dealt
from tests.torture.record import Record, Violation
from tests.torture.site import TorturedSite

Kind: TypeAlias = Literal["sqlite", "postgres"]

_TOLD_EVERY_S = 15.0


class Torture:
    """One run of the harness. Its lanes write to the record alone."""

    def __init__(
        self, folder: Path, *, kills: int, seed: str, kind: Kind, postgres_url: str = ""
    ) -> None:
        self.record = Record()
        self._dealt = Dealt()
        self._folder = folder
        self._kills = kills
        self._seed = seed
        self._kind = kind
        self._postgres_url = postgres_url
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, *, lanes: int, tell: Callable[[str], None] = lambda _: None) -> Record:
        """Run the lanes until there were enough kills, or a lane finds a broken promise."""
        self._campaign("look", lambda campaign: campaign.look_around())
        threads = [
            threading.Thread(target=self._run_lane, args=(f"{lane}",), daemon=True)
            for lane in range(lanes)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(_TOLD_EVERY_S)
                tell(self.record.progress())
        return self.record

    def _run_lane(self, lane: str) -> None:
        number = 0
        while not self._is_over():
            number += 1
            name = f"{self._seed}-{lane}-{number}"
            self._campaign(name, lambda campaign: campaign.run(is_over=self._is_over))

    def _is_over(self) -> bool:
        return self.record.kills >= self._kills or bool(self.record.violations)

    def _campaign(self, name: str, run: Callable[[Campaign], None]) -> None:
        """Run one campaign; its folder is kept where a promise was broken."""
        self.record.add_seed(name)
        bills = self._folder / f"{name}-bills"
        bills.mkdir()
        site = TorturedSite(self._folder / name, database=self._database(name))
        with ExitStack() as stack:
            stack.callback(site.end)
            billing = stack.enter_context(running_billing_server(bills))
            campaign = Campaign(site, billing, self.record, dealt=self._dealt, seed=name)
            try:
                run(campaign)
            except Exception as error:  # noqa: BLE001 - a lane's border: whatever it is, it is told
                self.record.add_violation(self._violation(site, campaign, error))
                return
        for folder in (*folders_of(site), bills):
            shutil.rmtree(folder)

    def _violation(self, site: TorturedSite, campaign: Campaign, error: Exception) -> Violation:
        what = str(error) if isinstance(error, AssertionError) else repr(error)
        return Violation(
            what=what or repr(error),
            fate=campaign.last_fate,
            life=campaign.lives,
            folder=site.folder,
            reproduce=f"--seed {self._seed}, campaign {site.name}, at {time.strftime('%X')}",
        )

    def _database(self, name: str) -> str:
        if self._kind == "sqlite":
            return "sqlite"
        from tests.databases import store_url

        return store_url("postgres", self._folder / name, self._postgres_url)
