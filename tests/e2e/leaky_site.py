"""An installation in which canaries stand in every input, and all that it leaves behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from xml.sax.saxutils import escape

from tests.e2e.both_databases import PostgresInstallation
from tests.e2e.canaries import Canaries, at_a_cut, unpacked
from tests.e2e.daemon_process import Installation, RunningDaemon
from tests.unit.agents.git_repository import GitRepository

#: What people ask for, or what is written for them.
COMMANDS = (
    ("status",),
    ("events", "--json"),
    ("alerts", "--json"),
    ("sessions", "--json"),
    ("jobs", "--json"),
    ("dead", "--json"),
    ("approvals", "--json"),
    ("breakers", "--json"),
    ("report", "--json"),
    ("report",),
    ("scorecard", "--json"),
    ("value", "--json"),
    ("spend", "--json"),
    ("checkpoints", "leaky"),
    ("check",),
    ("doctor",),
    ("audit",),
)


@contextmanager
def echoing(canaries: Canaries) -> Iterator[str]:
    """Serve every canary as JSON, and at /feed as a feed, while the block runs."""
    plain = json.dumps(canaries.all).encode()
    titles = [*canaries.all, at_a_cut(canaries.all), at_a_cut([canaries.secret])]
    items = "".join(
        f"<item><title>{escape(text)}</title><guid>{number}</guid>"
        f"<link>http://example.test/{number}</link><description>{escape(text)}</description></item>"
        for number, text in enumerate(titles)
    )
    feed = f"<rss version='2.0'><channel><title>{escape(titles[0])}</title>{items}</channel></rss>"

    class Echo(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200, feed.encode() if self.path == "/feed" else plain)

        def do_POST(self) -> None:
            self._answer(400, json.dumps({"error": {"message": titles[-2]}}).encode())

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", canaries.secret.replace("\\", ""))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def plant_in_files(site: Installation, canaries: Canaries) -> None:
    """Write mail and a git history full of them."""
    shutil.copy(Path(__file__).with_name("leaky_workers.py"), site.folder)
    mail = site.folder / "mail"
    mail.mkdir()
    repository = GitRepository.init(site.folder / "repository")
    for number, text in enumerate([*canaries.all, at_a_cut(canaries.all)]):
        line = " ".join(text.split())
        letter = f"From: ann <{line[:60]}>\nSubject: {line}\n\nurgent: {text}\n"
        (mail / f"{number}.eml").write_text(letter)
        (repository.path / f"file-{number}").write_text(text)
        repository.git("add", ".")
        repository.git("commit", "--quiet", "-m", text)


def configure(site: Installation, canaries: Canaries, *, url: str, webhook: str) -> None:
    """Configure a worker of each kind, and each way to be told."""
    shared: dict[str, object] = {"canaries": canaries.by_form, "url": url}
    given: dict[str, object] = {"every_s": 3600.0, "secrets": ["LEAKY_KEY"], "options": shared}
    read: dict[str, object] = {"every_s": 3600.0, "model": "p/m"}
    http = {"allow": [url.removeprefix("http://")], "host_every_s": 0.0, "robots": False}
    steps = [{"text": "\n".join([*canaries.all, at_a_cut(canaries.all)])}]
    site.configure(
        {
            "supervisor": {
                "restarts_max": 0,
                "heartbeat_ping_url": f"http://127.0.0.1:1/{canaries.by_form[1]}",
            },
            "alerts": {
                "channel": {
                    "ops": {"kind": "webhook", "url": webhook},
                    "down": {"kind": "webhook", "url_env": "HOOK_URL"},
                }
            },
            # Each of its jobs fails, and each of them is to be done.
            "breakers": {"failures_max": 0},
            "policy": {"always_approve": ["merge"]},
            "providers": {
                "p": {"kind": "scripted", "price": "free", "script": {"steps": steps}},
                "q": {"kind": "openai", "base_url": url, "api_key_env": "Q_KEY", "price": "free"},
            },
            "jobs": {"attempts_max": 1},
            "worker": {
                "leaky": {"run": "leaky_workers:leaks", "model": "p/m", "http": http, **given},
                "crashing": {"run": "leaky_workers:crashes", "model": "q/m", **given},
                "asking": {"run": "leaky_workers:asks", "model": "q/m", **given},
                "handing": {
                    "run": "leaky_workers:publishes",
                    "output": {"checks": ["duplicates"]},
                    **given,
                },
                "queued": {"run": "leaky_workers:works", "queue": "q", "options": shared},
                "feeds": {
                    "run": "supervisor.agents.feed_digest:run",
                    "http": http,
                    "options": {"feeds": [f"{url}/feed"]},
                    **read,
                },
                "inbox": {
                    "run": "supervisor.agents.inbox_triage:run",
                    "options": {"inbox": "mail"},
                    **read,
                },
                "repositories": {
                    "run": "supervisor.agents.repository_digest:run",
                    "options": {"repositories": ["repository"]},
                    **read,
                },
            },
        }
    )


def plant_by_commands(site: Installation, daemon: RunningDaemon, canaries: Canaries) -> str:
    """Give them to commands and routes too, and return all that these answered."""
    said: list[str] = []

    def run(*words: str) -> str:
        answer = site.supervisor(*words, environment=canaries.environment)
        said.append(answer.stdout + answer.stderr)
        return answer.stdout

    opened = run("--json", "incident", "open", f"It leaks {canaries.secret}")
    incident = json.loads(opened)["incident"]
    session = str(site.rows("SELECT id FROM sessions WHERE worker = 'leaky'")[0][0])
    for number, canary in enumerate(canaries.all):
        why = f"since {canary} leaked"
        scope = "worker:leaky" if number % 2 else f"session:{session}"
        told = {"scope": scope, "why": why, "actor": f"me {canary}"[:80]}
        said.append(daemon.post("/kill", told).text)
        run("kill", "--worker", "leaky", "--why", why, "--actor", f"me {canary}"[:80])
        run("release", "--worker", "leaky", "--why", why)
        run("jobs", "enqueue", "q", json.dumps({"what": canary, canary: [canary]}))
        run("incident", "note", incident, f"It was {canary}")
        run("jobs", "show", canary)
    [ticket, *_] = json.loads(run("approvals", "--json"))["approvals"]
    run("approvals", "deny", ticket["id"], "--why", f"no, {canaries.secret} {canaries.by_form[0]}")
    run("stop", "--clear", "--why", canaries.secret)
    run("--config", f"/nowhere/{canaries.by_form[0]}", "status")
    return "\n".join(said)


def files_of(site: Installation) -> Mapping[str, bytes]:
    """Return every file of the state directory, of Postgres every one of its own folder too."""
    folders = [site.state_dir]
    if isinstance(site, PostgresInstallation):
        [[place]] = site.rows("SHOW data_directory")
        folders.append(Path(str(place)))
    return {
        str(path): unpacked(path.name, path.read_bytes())
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def told_by(site: Installation, daemon: RunningDaemon) -> dict[str, bytes]:
    """Return what routes answer, and commands that do not know the secrets: the store is clean."""
    routes = ("/metrics", "/status", "/approvals", "/readyz", "/nowhere")
    found = {f"GET {path}": daemon.get(path).content for path in routes}
    [[incident]] = site.rows("SELECT id FROM incidents")
    for words in (*COMMANDS, ("incident", "export", str(incident))):
        answer = site.supervisor(*words)
        found[" ".join(words)] = (answer.stdout + answer.stderr).encode()
    return found
