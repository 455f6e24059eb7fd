"""An installation whose daemon can be told where to die, on either database."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from supervisor.cli.store import opened
from supervisor.clock import SystemClock
from supervisor.config import Loaded, load
from supervisor.events.log import Origin
from supervisor.governance.audit import AuditReport, audit
from supervisor.governance.kill_switch import KillCommand, Latched, engage, release
from tests.e2e.billing_server import CHARGE, DEAR, DEAR_PRICE, BillingServer
from tests.e2e.daemon_process import Installation, Tables
from tests.torture.looking import Look, looking_at

CAP_MICRO_USD = 1_000_000
WINDOW_S = 2
#: Breakers open when they do for everybody; here they come round often enough to be killed in it.
COOLDOWN_S, COOLDOWN_MAX_S = 0.2, 0.8
#: A campaign spends its day's cap as fast as it can: that is no news to anybody.
BREAKERS = {
    "cooldown_s": COOLDOWN_S,
    "cooldown_max_s": COOLDOWN_MAX_S,
    "rate_multiple": 0.0,
    "open_ratio": 0.0,
}
#: With it a release is possible over HTTP, too.
TOKEN = "torture"  # noqa: S105 - of a daemon that lives for a second
#: Those whose calls cost money, and those that tick on when it is spent.
PAID = ("fan", "streamer", "dear", "spender", "raiser")
FREE = ("counter", "digest", "failer")
#: The models that a hold can name, and what the bills of each are called.
BILLED_AS = {"paid/model": "model", f"dear/{DEAR}": DEAR, "": CHARGE}


class TorturedSite(Installation):
    """The folder of one campaign: its config, its store, its lives."""

    def __init__(self, folder: Path, *, database: str) -> None:
        super().__init__(folder)
        self._database = database

    @property
    def loaded(self) -> Loaded:
        """The config as the commands read it."""
        return load(self.config)

    @property
    def name(self) -> str:
        return self.folder.name

    def _command(self, *words: str) -> list[str]:
        if words[0] != "run":
            return super()._command(*words)
        module = [sys.executable, "-m", "tests.torture.tortured_daemon"]
        return [*module, "--config", str(self.config), *words[1:]]

    def set_up(self, billing: BillingServer, repository: Path) -> None:
        """Write the config of workers that spend in every way."""
        retries = {"attempts_max": 2, "retry_delay_s": 0.01, "retry_delay_max_s": 0.02}
        workers = _workers(billing.base_url, repository)
        self.configure(
            {
                "supervisor": {
                    "database": self._database,
                    "restart_delay_max_s": 0.05,
                    "restarts_max": 1_000_000,
                    "grace_s": 5.0,
                },
                "session": {
                    "window": f"{WINDOW_S}s",
                    "max_cost_usd": 0.08,
                    "checkpoint_every": 5,
                },
                "spend": {"daily_cap_usd": CAP_MICRO_USD / 1e6, "min_output_tokens": 1},
                "breakers": BREAKERS,
                "log": {"level": "warning"},
                "providers": {
                    "paid": billing.provider(**retries),
                    "dear": billing.provider(price=DEAR_PRICE),
                    "free": billing.provider(price="free"),
                },
                "worker": workers,
            }
        )

    def looking(self) -> AbstractContextManager[Look]:
        """Give a way to ask the store, read-only, of one moment."""
        is_file = not self._database.startswith("postgres")
        return looking_at(self.store if is_file else self._database)

    def latch(self, scope: str, *, command_id: str, is_engaged: bool) -> Latched:
        """Engage or release a kill on the store itself, as the command line does."""
        return asyncio.run(self._latch(scope, command_id, is_engaged=is_engaged))

    async def _latch(self, scope: str, command_id: str, *, is_engaged: bool) -> Latched:
        loaded = self.loaded
        origin = Origin(at=SystemClock().now(), actor="torture", command_id=command_id)
        command = KillCommand(scope=scope, why="torture")
        async with opened(loaded, is_read_only=False) as database:
            turn = engage if is_engaged else release
            return await database.write(turn, command, origin, loaded.timezone)

    def audited(self) -> AuditReport:
        """Return what the product's own audit says of the store as it stands."""
        return asyncio.run(self._audited())

    async def _audited(self) -> AuditReport:
        async with opened(self.loaded, is_read_only=True) as database:
            return await database.read(audit)

    def reports(self) -> list[Path]:
        """Return the digests that were written."""
        return sorted((self.state_dir / "reports").glob("*.md"))


def _workers(base_url: str, repository: Path) -> Tables:
    def worker(run: str, model: str, every_s: float, **options: object) -> dict[str, object]:
        section = {"run": f"tests.torture.workers:{run}", "every_s": every_s, "options": options}
        return {**section, "tick_timeout_s": 20.0, **({"model": model} if model else {})}

    summary = {"repositories": [str(repository)], "summary_tokens_max": 20}
    return {
        "fan": worker("fans_out", "paid/model", 0.03, callers=3, tokens=10),
        "streamer": worker("streams", "paid/model", 0.04, tokens=20),
        "dear": worker("calls_dearly", f"dear/{DEAR}", 0.4, tokens=50),
        "spender": worker("spends", "", 0.05, micro_usd=1_500, url=f"{base_url}/charges"),
        "raiser": worker("raises", "paid/model", 0.05, tokens=10),
        "counter": worker("counts", "free/free", 0.02),
        "failer": worker("fails", "free/free", 0.03),
        "digest": worker("digests", "free/free", 0.2, **summary),
    }
