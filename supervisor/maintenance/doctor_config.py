"""What `supervisor doctor` finds of the config's own file and of who is told of what."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from supervisor.clock import from_us, iso
from supervisor.config import Config, models_of
from supervisor.config.checks import without_password
from supervisor.maintenance.doctor_site import Finding
from supervisor.storage.database import Transaction


def examine_config_file(path: Path, config: Config) -> Iterator[Finding]:
    """Look at who else may read or write the config, which names the code that is run."""
    area = f"file {path}"
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o022:
        what = f"has mode {mode:04o}: others can write it, and so choose what code is run"
        yield Finding(area=area, what=what, fix=f"`chmod go-w {path}`")
    folder = stat.S_IMODE(path.parent.stat().st_mode)
    if folder & 0o022 and not folder & stat.S_ISVTX:
        what = f"has mode {folder:04o}: others can put another config or worker there"
        yield Finding(area=f"folder {path.parent}", what=what, fix=f"`chmod go-w {path.parent}`")
    secrets = list(_secrets_in(config))
    if mode & 0o077 and secrets:
        what = f"has mode {mode:04o}, and others can read {' and '.join(secrets)} in it"
        yield Finding(area=area, what=what, fix=f"`chmod 0600 {path}`")


def examine_fallbacks(config: Config) -> Iterator[Finding]:
    """Look at whether a silent provider leaves the tick time to ask the models behind it."""
    for name, worker in config.worker.items():
        asked = (*models_of(worker.model or "", config), *worker.fallback)
        # The last one has nobody behind it.
        for provider in sorted({model.partition("/")[0] for model in asked[:-1]}):
            section = config.providers[provider]
            is_remote = section.kind in ("openai", "anthropic")
            silent_s = section.attempts_max * section.read_timeout_s
            if worker.fallback and is_remote and silent_s >= worker.tick_timeout_s:
                what = (
                    f"may not come to its fallback: {provider} may be silent for"
                    f" {section.attempts_max} x {section.read_timeout_s:g} s, and its ticks end"
                    f" after tick_timeout_s = {worker.tick_timeout_s:g}"
                )
                fix = f"lower [providers.{provider}] read_timeout_s or attempts_max, or raise that"
                yield Finding(area=f"worker {name}", what=what, fix=fix, is_hint=True)


def _secrets_in(config: Config) -> Iterator[str]:
    database = config.supervisor.database
    if without_password(database) != database:
        yield "the database's password"
    for name, channel in config.alerts.channel.items():
        if channel.url:
            # Who has the address of a webhook can post to it.
            yield f"the address of alerts channel {name} (url_env keeps it out)"


class ChannelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What waits for a channel since when, and why it was not taken, empty before the first try."""

    channel: str
    waiting: int
    oldest_at: int
    error: str


def read_channels(tx: Transaction) -> list[ChannelFacts]:
    """Return the channels for which messages wait."""
    return tx.rows("doctor.waiting_channels", ChannelFacts)


def examine_alerts(config: Config, waiting: Iterable[ChannelFacts]) -> Iterator[Finding]:
    """Look at whether anybody is told of anything, and whether it arrives."""
    if not config.alerts.channel:
        what = "there is no channel: nobody is told of what breaks at night"
        fix = "add an [alerts.channel.NAME] with kind and url, then `supervisor alerts test`"
        yield Finding(area="alerts", what=what, fix=fix, is_hint=True)
    for facts in waiting:
        area, since = f"alerts channel {facts.channel}", iso(from_us(facts.oldest_at))
        what = f"{facts.waiting} messages wait for it since {since}"
        if facts.channel not in config.alerts.channel:
            fix = "put it back into the config, if they are to arrive"
            yield Finding(area=area, what=f"{what}, and the config has none", fix=fix, is_hint=True)
        elif facts.error:
            fix = f"mend it, then `supervisor alerts test {facts.channel}`"
            yield Finding(area=area, what=f"{what}: {facts.error}", fix=fix)
