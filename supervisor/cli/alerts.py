"""`supervisor alerts`."""

from __future__ import annotations

import anyio
import msgspec

from supervisor.alert_assembly import build_channels
from supervisor.alerts.acknowledging import AcknowledgeCommand, acknowledge
from supervisor.alerts.channels import Channel, NotDelivered
from supervisor.alerts.facts import Severity
from supervisor.alerts.record import (
    Alert,
    Message,
    Undelivered,
    find_alert,
    newest_alerts,
    open_alerts,
    undelivered,
)
from supervisor.cli.invocation import Invocation
from supervisor.cli.output import print_json, print_table, print_warning, print_wrapped
from supervisor.cli.parser import Parser, did_you_mean, whole_number
from supervisor.cli.signing import origin_of
from supervisor.cli.store import read_store, write_store
from supervisor.clock import SystemClock, from_us, iso
from supervisor.errors import UsageError
from supervisor.ids import RandomIds
from supervisor.storage.database import Transaction

_ACTIONS = ("list", "show", "ack", "test")
_ROWS = 50
_EXIT_FAILED = 1


class AlertsOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `alerts` is told."""

    action: str
    id: str | None
    all: bool
    limit: int
    why: str | None
    actor: str | None
    command_id: str | None


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a channel is told of an alert, and whether it has taken it."""

    channel: str
    body: str
    told_at: int
    attempts: int
    last_error: str
    delivered_at: int | None

    @property
    def kind(self) -> str:
        return msgspec.json.decode(self.body, type=Message).kind


class _Listed(msgspec.Struct, frozen=True, kw_only=True):
    alerts: list[Alert]
    undelivered: Undelivered


def add_options(parser: Parser) -> None:
    """Tell the parser the command's options."""
    parser.add_argument("action", nargs="?", default="list", metavar="list|show|ack|test")
    parser.add_argument(
        "id", nargs="?", metavar="ID", help="of show and ack: the alert; of test: one channel"
    )
    parser.add_argument("--all", action="store_true", help="list: also those that are over")
    parser.add_argument(
        "--limit",
        type=whole_number,
        default=_ROWS,
        metavar="N",
        help=f"list --all: at most N; {_ROWS} if left out",
    )
    parser.add_argument("--why", metavar="TEXT", help="ack: stands in the record")
    parser.add_argument("--actor", metavar="NAME", help="ack: who knows of it; else the user")
    parser.add_argument(
        "--command-id", metavar="ID", help="ack: repeating it repeats the answer, not the act"
    )
    parser.epilog = (
        "`ack` ends an alert's reminders; it is over only when its cause is.\n"
        "`test` sends a message to each channel of the config, or to the one that is named, and\n"
        "exits 1 where one does not take it; the store is left alone."
    )


def run(invocation: Invocation) -> int:
    """List, show or acknowledge alerts, or try the channels.

    Raises:
        UsageError: the words do not fit together, or there is no such channel.
        NotFound: the alert does not exist.
        IllegalMove: it is over, or somebody knows of it already.
    """
    options = invocation.options(AlertsOptions)
    _check(options)
    match options.action:
        case "show":
            return _show(invocation, options.id or "")
        case "ack":
            return _acknowledge(invocation, options)
        case "test":
            return _test(invocation, options.id)
        case _:
            return _list(invocation, options)


def _check(options: AlertsOptions) -> None:
    subject = f"supervisor alerts {options.action}"
    if options.action not in _ACTIONS:
        fix = did_you_mean(options.action, _ACTIONS) or f"there is: {', '.join(_ACTIONS)}"
        raise UsageError(subject=subject, what="is not known", fix=fix)
    if options.action in ("show", "ack") and options.id is None:
        fix = "`supervisor alerts` lists them"
        raise UsageError(subject=subject, what="needs the alert's ID", fix=fix)
    if options.action == "list" and options.id is not None:
        fix = "`supervisor alerts show ID` shows one"
        raise UsageError(subject=subject, what="takes no ID", fix=fix)


def _list(invocation: Invocation, options: AlertsOptions) -> int:
    listed = read_store(invocation.load(), _read, options.limit if options.all else None)
    if invocation.is_json:
        print_json(listed)
        return 0
    if listed.undelivered.oldest_at is not None:
        since = iso(from_us(listed.undelivered.oldest_at))
        number = listed.undelivered.count
        print_warning(f"{number} messages wait for their channels since {since}")
    if not listed.alerts:
        print("no alert is open" if not options.all else "there are no alerts")
        return 0
    table = [
        (
            one.id,
            _standing(one),
            one.severity,
            iso(from_us(one.raised_at)),
            str(one.count),
            one.title,
        )
        for one in listed.alerts
    ]
    print_table(("ALERT", "STATUS", "SEVERITY", "SINCE", "COUNT>", "WHAT"), table)
    return 0


def _read(tx: Transaction, limit: int | None) -> _Listed:
    alerts = open_alerts(tx) if limit is None else newest_alerts(tx, limit)
    return _Listed(alerts=alerts, undelivered=undelivered(tx))


def _standing(alert: Alert) -> str:
    if alert.resolved_at is not None:
        return "over"
    return f"known to {alert.acknowledged_by}" if alert.acknowledged_at is not None else "open"


def _show(invocation: Invocation, alert_id: str) -> int:
    alert, messages = read_store(invocation.load(), _read_one, alert_id)
    if invocation.is_json:
        print_json({"alert": alert, "messages": messages})
        return 0
    print_wrapped(f"[{alert.severity.upper()}] {alert.title}")
    print_wrapped(alert.what)
    print_wrapped(f"done about it  {alert.done}")
    print_wrapped(f"to do          {alert.command}")
    print_wrapped(f"since          {iso(from_us(alert.raised_at))}, seen {alert.count} times")
    ended = f": {alert.resolved_why}" if alert.resolved_at is not None else ""
    print_wrapped(f"status         {_standing(alert)}{ended}")
    for one in messages:
        print_wrapped(f"{one.kind:<14} {one.channel}: {_arrival(one)}")
    return 0


def _arrival(one: Told) -> str:
    if one.delivered_at is not None:
        return f"arrived at {iso(from_us(one.delivered_at))}"
    tried = f" after {one.attempts} tries: {one.last_error}" if one.attempts else ""
    return f"waits{tried}"


def _read_one(tx: Transaction, alert_id: str) -> tuple[Alert, list[Told]]:
    return find_alert(tx, alert_id), tx.rows("alerts.messages_of", Told, id=alert_id)


def _acknowledge(invocation: Invocation, options: AlertsOptions) -> int:
    loaded = invocation.load()
    command = AcknowledgeCommand(alert=options.id or "", why=options.why or "")
    # Before the write, which would make a store where there is none.
    read_store(loaded, find_alert, command.alert)
    origin = origin_of(options)
    done = write_store(loaded, acknowledge, command, origin, loaded.timezone)
    if invocation.is_json:
        print_json(done)
    else:
        print(f"alert {done.alert}: known to {done.by}, no more reminders: {done.title}")
    return 0


def _test(invocation: Invocation, name: str | None) -> int:
    loaded = invocation.load_with_secrets()
    channels = build_channels(loaded)
    if not channels:
        fix = "add [alerts.channel.NAME] with kind and url to the config"
        raise UsageError(subject="supervisor alerts test", what="there is no channel", fix=fix)
    if name is not None and name not in channels:
        fix = did_you_mean(name, channels) or f"there is: {', '.join(channels)}"
        raise UsageError(subject=f"channel {name!r}", what="is not in the config", fix=fix)
    chosen = {key: one for key, one in channels.items() if name in (None, key)}
    failures = anyio.run(_send_all, chosen)
    if invocation.is_json:
        print_json({"channels": {key: failures.get(key) for key in chosen}})
    else:
        for key in chosen:
            print(f"channel {key}: {failures.get(key) or 'took it'}")
    return _EXIT_FAILED if failures else 0


async def _send_all(channels: dict[str, Channel]) -> dict[str, str]:
    now = SystemClock().now()
    message = Message(
        id=RandomIds().new("test"),
        alert="test",
        kind="test",
        severity=Severity.INFO,
        title="supervisor can reach you here",
        what="somebody ran `supervisor alerts test`",
        done="",
        command="",
        count=1,
        since=iso(now),
        at=iso(now),
    )
    failures: dict[str, str] = {}
    for name, channel in channels.items():
        try:
            await channel.send(message)
        except NotDelivered as error:
            failures[name] = f"did not take it: {error}"
        finally:
            await channel.close()
    return failures
