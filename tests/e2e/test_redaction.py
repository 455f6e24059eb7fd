"""Canaries planted in every input of a full run are found nowhere in what it leaves behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote, quote_plus

import pytest

from tests.e2e.conftest import Measure
from tests.e2e.daemon_process import Installation, RunningDaemon, wait_until
from tests.e2e.ping_receiver import PingReceiver, receiving_pings

#: Made up here; a secret by its value, and keys by their form.
SECRET = 'open"sesame\\behind & the/door=1'  # noqa: S105 - it opens nothing
API_KEY = "plain-looking-value-of-a-key"
LINES = ("MIIEowIBAAKCAQEA0123canary", "ZZZZlastlineofthecanary")
CANARIES = [
    "sk-" + "canary0A" * 4,
    "ghp_" + "canary0A" * 5,
    "AKIA" + "CANARY00" * 2,
    f"Bearer {'canary.' * 3}token",
    "xoxb-1234567890-" + "canary0A" * 2,
    f"-----BEGIN PRIVATE KEY-----\n{LINES[0]}\n{LINES[1]}\n-----END PRIVATE KEY-----",
]
#: What may be found nowhere: of a token its own part, of a block its lines.
HIDDEN = [*CANARIES[:3], "canary.canary.canary", *CANARIES[4:5], *LINES, SECRET, API_KEY]


#: In the environment of the daemon, and of the commands: by its value a process redacts what it
#: was given.
KEYS = {"LEAKY_KEY": SECRET, "Q_KEY": API_KEY}


class Echo(BaseHTTPRequestHandler):
    """Answers with all of the canaries."""

    def do_GET(self) -> None:
        body = json.dumps([*CANARIES, SECRET]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def echo_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def configure(site: Installation, *, url: str, webhook: str) -> None:
    shutil.copy(Path(__file__).with_name("leaky_workers.py"), site.folder)
    options = {"canaries": CANARIES, "url": url}
    given = {"every_s": 3600.0, "secrets": ["LEAKY_KEY"], "options": options}
    http = {"allow": [url.removeprefix("http://")], "host_every_s": 0.0, "robots": False}
    steps = [{"text": " ".join([*CANARIES, SECRET])}]
    site.configure(
        {
            "supervisor": {"restarts_max": 0},
            "alerts": {"channel": {"ops": {"kind": "webhook", "url": webhook}}},
            "policy": {"always_approve": ["merge"]},
            "providers": {
                "p": {"kind": "scripted", "price": "free", "script": {"steps": steps}},
                "q": {"kind": "openai", "base_url": url, "api_key_env": "Q_KEY"},
            },
            "worker": {
                "leaky": {"run": "leaky_workers:leaks", "model": "p/m", "http": http, **given},
                "crashing": {"run": "leaky_workers:crashes", "model": "q/m", **given},
                "handing": {
                    "run": "leaky_workers:publishes",
                    "output": {"checks": ["duplicates"]},
                    **given,
                },
            },
        }
    )


def forms(hidden: str) -> set[bytes]:
    """Return a secret as it may stand in a file, in JSON, and in a URL."""
    escaped = json.dumps(hidden)[1:-1]
    texts = {hidden, escaped, quote(hidden, safe=""), quote_plus(hidden)}
    return {text.encode() for text in texts}


def plant_from_outside(site: Installation, daemon: RunningDaemon) -> None:
    """Give the canaries to commands and routes too."""
    for number, canary in enumerate([*CANARIES, SECRET]):
        why = f"since {canary} leaked"
        scope = "worker:leaky" if number % 2 else "session:" + session_of(site)
        daemon.post("/kill", {"scope": scope, "why": why, "actor": f"me {canary}"[:80]})
        site.supervisor("kill", "--worker", "leaky", "--why", why, environment=KEYS)
        site.supervisor("release", "--worker", "leaky", "--why", why, environment=KEYS)
    [ticket, *_] = json.loads(site.supervisor("approvals", "--json").stdout)["approvals"]
    why = f"no, {SECRET} {CANARIES[0]}"
    site.supervisor("approvals", "deny", ticket["id"], "--why", why, environment=KEYS)


def has_ended(site: Installation, worker: str) -> bool:
    return site.outcomes(worker)[-1:] not in ([], [None])


def session_of(site: Installation) -> str:
    return str(site.rows("SELECT id FROM sessions WHERE worker = 'leaky'")[0][0])


def left_behind(site: Installation, daemon: RunningDaemon, told: PingReceiver) -> dict[str, bytes]:
    """Return all that the run has written, by where."""
    found = {
        f"GET {path}": daemon.get(path).content for path in ("/metrics", "/status", "/approvals")
    }
    for words in (("status",), ("events", "--json"), ("alerts", "--json"), ("sessions", "--json")):
        answer = site.supervisor(*words)
        found[" ".join(words)] = (answer.stdout + answer.stderr).encode()
    assert daemon.stop() == 0
    found["alerts"] = b"\n".join(str(ping).encode() for ping in told.pings)
    found["console"] = daemon.said().encode()
    files = (path for path in site.state_dir.rglob("*") if path.is_file())
    return found | {str(path.relative_to(site.folder)): path.read_bytes() for path in files}


def test_no_canary_is_found_in_anything_that_a_full_run_leaves_behind(
    installation: Installation, echo_url: str, measure: Measure
) -> None:
    with receiving_pings() as told:
        configure(installation, url=echo_url, webhook=told.url)
        daemon = installation.start(environment=KEYS)
        daemon.wait_until_ready()
        for worker, outcome in (("leaky", "ok"), ("crashing", "failed"), ("handing", "failed")):
            wait_until(partial(has_ended, installation, worker), what=f"{worker} has ticked")
            assert installation.outcomes(worker) == [outcome], daemon.said()[-3000:]
        wait_until(lambda: len(told.pings) >= 2, what="alerts arrive")

        plant_from_outside(installation, daemon)
        found = left_behind(installation, daemon, told)
    hits = [
        (hidden, where)
        for where, content in found.items()
        for hidden in HIDDEN
        if any(form in content for form in forms(hidden))
    ]
    assert hits == []
    # All of it went through, and can be proved: what was hidden was hidden before it was hashed.
    kept = b"".join(found.values())
    assert kept.count(b"[redacted]") > 100
    assert {"events --json", "var/supervisor.db", "var/supervisor.jsonl"} <= set(found)
    assert sum(name.startswith("var/reports/") for name in found) > 10
    assert any(name.startswith("var/reports/drafts/") for name in found)
    installation.check_audit()
    size_kb = len(kept) // 1000
    measure("redaction", f"0 hits of {len(HIDDEN)} canaries in {len(found)} places, {size_kb} kB")
