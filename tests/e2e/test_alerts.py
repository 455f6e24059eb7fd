"""Alerts as a user meets them: a real daemon, a real webhook, and the command line."""

from __future__ import annotations

import json
import signal

import pytest

from tests.e2e.daemon_process import PATIENCE_S, Installation, wait_until
from tests.e2e.ping_receiver import PingReceiver, receiving_pings

CLAIM_S = 60.0


class Webhook:
    """What has arrived at the other end of the config's channel."""

    def __init__(self, receiver: PingReceiver) -> None:
        self._receiver = receiver

    def told(self) -> list[str]:
        messages = [json.loads(body) for _, body in self._receiver.pings]
        return [f"{message['kind']} {message['title']}" for message in messages]

    def wait_for(self, text: str, *, within_s: float = PATIENCE_S) -> None:
        what = f"{text!r} arrives: {self.told()}"
        wait_until(lambda: text in self.told(), what=what, within_s=within_s)


def configure(site: Installation, url: str, **alerts: object) -> None:
    channel = {"kind": "webhook", "url": url}
    site.configure(
        {
            "alerts": {"channel": {"ops": channel}, **alerts},
            "worker": {"a": {"run": "agents:idle", "every_s": 0.2}},
        }
    )


def listed(site: Installation, *words: str) -> list[dict[str, object]]:
    answer = site.supervisor("alerts", *words, "--json")
    found: list[dict[str, object]] = json.loads(answer.stdout)["alerts"]
    return found


def test_a_kill_from_the_command_line_is_told_known_to_somebody_and_over(
    installation: Installation,
) -> None:
    with receiving_pings() as receiver:
        webhook = Webhook(receiver)
        configure(installation, receiver.url)
        daemon = installation.start_ready()
        installation.supervisor("kill", "--system", "--why", "it writes nonsense")
        webhook.wait_for("raised kill switch system is engaged")
        [alert] = listed(installation)
        assert alert["what"] == "it writes nonsense"
        assert "supervisor release --system" in str(alert["command"])
        known = installation.supervisor("alerts", "ack", str(alert["id"]), "--actor", "ada")
        assert "known to ada" in known.stdout
        installation.supervisor("release", "--system", "--why", "mended")
        webhook.wait_for("resolved kill switch system is engaged")
        assert listed(installation) == []
        wait_until(lambda: daemon.metric("supervisor_alerts_undelivered") == 0, what="all told")
        shown = installation.supervisor("alerts", "show", str(alert["id"]))
        assert shown.stdout.count("arrived at") == 2
        assert len(webhook.told()) == 2
        assert daemon.stop() == 0
    installation.check_audit()


def test_what_nobody_took_before_a_kill_9_arrives_after_the_next_start(
    installation: Installation,
) -> None:
    configure(installation, "http://127.0.0.1:1/hook")
    daemon = installation.start_ready()
    installation.supervisor("kill", "--worker", "a", "--why", "x")
    wait_until(
        lambda: daemon.metric("supervisor_alerts_undelivered") == 1, what="one waits in vain"
    )
    daemon.kill_9()
    with receiving_pings() as receiver:
        webhook = Webhook(receiver)
        configure(installation, receiver.url)
        daemon = installation.start_ready()
        # If it was just being told when the daemon died, it is nobody's for a minute.
        webhook.wait_for("raised kill switch worker:a is engaged", within_s=CLAIM_S + PATIENCE_S)
        assert webhook.told().count("raised kill switch worker:a is engaged") == 1
        assert daemon.stop() == 0


def test_a_changed_channel_is_taken_up_without_a_restart(installation: Installation) -> None:
    configure(installation, "http://127.0.0.1:1/hook")
    daemon = installation.start_ready()
    with receiving_pings() as receiver:
        webhook = Webhook(receiver)
        configure(installation, receiver.url)
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: installation.log_lines("reloaded"), what="it reloads")
        installation.supervisor("kill", "--system", "--why", "x")
        webhook.wait_for("raised kill switch system is engaged")
        assert daemon.stop() == 0


@pytest.mark.parametrize(("works", "code"), [(True, 0), (False, 1)])
def test_the_test_command_says_whether_each_channel_takes_a_message(
    installation: Installation, works: bool, code: int
) -> None:
    with receiving_pings() as receiver:
        configure(installation, receiver.url if works else "http://127.0.0.1:1/hook")
        answer = installation.supervisor("alerts", "test")
        assert answer.returncode == code
        assert ("channel ops: took it" in answer.stdout) is works
        assert bool(Webhook(receiver).told()) is works


@pytest.mark.parametrize(
    ("alerts", "said"),
    [
        ({"quiet_hours": "22-7"}, "alerts.quiet_hours"),
        ({"channel": {"ops": {"kind": "webhook"}}}, "has not one address"),
        ({"channel": {"ops": {"kind": "webhook", "url": "example"}}}, "alerts.channel.ops.url"),
        ({"channel": {"ops": {"kind": "carrier", "url": "x"}}}, "alerts.channel.ops.kind"),
        ({"rate": [{"kind": "call_refused", "rise": 0.5}]}, "rise"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(
    installation: Installation, alerts: dict[str, object], said: str
) -> None:
    installation.configure({"alerts": alerts})
    answer = installation.supervisor("check")
    assert answer.returncode == 78
    assert said in answer.stderr
