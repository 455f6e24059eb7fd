"""What each route answers, over a real socket."""

from __future__ import annotations

import socket

import anyio
import httpx
import pytest

from supervisor.errors import CommandConflict, NotFound, StoreUnavailable, UsageError
from tests.unit.http.conftest import TOKEN, Asked, ScriptedAnswers, Serve

BODY = {"scope": "worker:a", "why": "drill", "command_id": "c-1", "actor": "ann"}


def error_of(answer: httpx.Response) -> dict[str, str]:
    """Return the error of an answer, which has this form and no other."""
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "fix"}
    assert all(isinstance(text, str) and text for text in body["error"].values())
    return dict(body["error"])


async def test_a_daemon_that_answers_is_alive(serve: Serve) -> None:
    async with serve() as served:
        answer = await served.client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"alive": True})


async def test_a_daemon_is_ready_once_it_can_work_and_says_why_not(
    serve: Serve, answers: ScriptedAnswers
) -> None:
    async with serve() as served:
        answers.not_ready = "starting: recovery has not ended"
        answer = await served.client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json() == {"ready": False, "why": "starting: recovery has not ended"}
        assert (await served.client.get("/healthz")).status_code == 200
        answers.not_ready = ""
        answer = await served.client.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"ready": True, "why": ""})


async def test_metrics_are_in_prometheus_text_form(serve: Serve) -> None:
    async with serve() as served:
        answer = await served.client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.text.endswith("x_total 1.0\n")


async def test_the_status_is_json(serve: Serve) -> None:
    async with serve() as served:
        answer = await served.client.get("/status")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"daemon": {"state": "running"}}


@pytest.mark.parametrize("what", ["kill", "release"])
async def test_a_kill_and_a_release_say_what_they_changed(
    serve: Serve, answers: ScriptedAnswers, what: str
) -> None:
    async with serve(token=TOKEN) as served:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        answer = await served.client.post(f"/{what}", json=BODY, headers=headers)
    assert answer.status_code == 200
    assert answer.json() == {
        "scope": "worker:a",
        "is_engaged": what == "kill",
        "changed": True,
    }
    assert answers.asked == [
        Asked(what=what, scope="worker:a", why="drill", actor="ann", command_id="c-1")
    ]


async def test_without_a_token_a_kill_is_possible_and_a_release_is_not(
    serve: Serve, answers: ScriptedAnswers
) -> None:
    async with serve() as served:
        assert (await served.client.post("/kill", json=BODY)).status_code == 200
        refused = await served.client.post("/release", json=BODY)
    assert refused.status_code == 403
    assert error_of(refused)["code"] == "access_denied"
    assert [asked.what for asked in answers.asked] == ["kill"]


async def test_a_stop_is_accepted(serve: Serve, answers: ScriptedAnswers) -> None:
    async with serve() as served:
        answer = await served.client.post("/stop", json={"why": "moving house"})
    assert answer.status_code == 202
    assert answer.json() == {"stopping": True, "why": "moving house"}
    assert [(asked.what, asked.why) for asked in answers.asked] == [("stop", "moving house")]


async def test_a_stop_of_less_than_the_whole_daemon_is_refused(
    serve: Serve, answers: ScriptedAnswers
) -> None:
    async with serve() as served:
        answer = await served.client.post("/stop", json=BODY)
    assert answer.status_code == 400
    assert answers.asked == []


async def test_no_body_is_the_whole_daemon(serve: Serve, answers: ScriptedAnswers) -> None:
    async with serve() as served:
        answer = await served.client.post("/kill")
    assert answer.status_code == 200
    assert answers.asked[0].scope == "system"


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"no json", "is malformed"),
        (b"[]", "got `array`"),
        (b"3", "got `int`"),
        (b'{"scope": 3}', "got `int` - at `$.scope`"),
        (b'{"scop": "system"}', "unknown field `scop`"),
        (b'{"why": null}', "got `null` - at `$.why`"),
        (b'{"why": "\xff"}', "is not what this route takes"),
        (b'{"why": "\\ud800"}', "is not what this route takes"),
        (b'{"why": "cut', "is not what this route takes"),
        (b"{" * 60_000, "is not what this route takes"),
    ],
)
async def test_a_body_of_another_form_is_refused_and_changes_nothing(
    serve: Serve, answers: ScriptedAnswers, body: bytes, what: str
) -> None:
    async with serve() as served:
        answer = await served.client.post("/kill", content=body)
    assert answer.status_code == 400
    error = error_of(answer)
    assert error["code"] == "usage"
    assert what in error["message"]
    assert '"scope": "system"' in error["fix"]
    assert answers.asked == []


async def test_a_body_that_is_too_large_is_refused_before_it_has_arrived(
    serve: Serve, answers: ScriptedAnswers
) -> None:
    async with serve() as served:
        with anyio.fail_after(5), socket.create_connection(served.host_and_port) as raw:
            raw.setblocking(False)
            head = f"POST /kill HTTP/1.1\r\nHost: {served.address}\r\nContent-Length: 9999999\r\n"
            raw.send(head.encode() + b"\r\n" + b" " * 70_000)
            received = b""
            while b"\r\n\r\n" not in received:
                await anyio.wait_readable(raw)
                received += raw.recv(65_536)
    assert received.startswith(b"HTTP/1.1 400")
    assert answers.asked == []


async def test_a_body_of_the_largest_size_is_read(serve: Serve, answers: ScriptedAnswers) -> None:
    body = b'{"why": "' + b"x" * (65_536 - 11) + b'"}'
    assert len(body) == 65_536
    async with serve() as served:
        assert (await served.client.post("/kill", content=body)).status_code == 200
        assert (await served.client.post("/kill", content=body + b" ")).status_code == 400
    assert len(answers.asked) == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/nope", 404), ("GET", "/kill", 405), ("POST", "/status", 405)],
)
async def test_an_unknown_route_is_answered_with_those_that_there_are(
    serve: Serve, method: str, path: str, status: int
) -> None:
    async with serve() as served:
        answer = await served.client.request(method, path)
    assert answer.status_code == status
    assert f"{method} {path} is not a route" in error_of(answer)["message"]
    assert "POST /kill /release /stop" in error_of(answer)["fix"]


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (UsageError, 400),
        (NotFound, 404),
        (CommandConflict, 409),
        (StoreUnavailable, 503),
    ],
)
async def test_an_expected_error_has_its_code_and_its_cure(
    serve: Serve,
    answers: ScriptedAnswers,
    kind: type[UsageError | NotFound | CommandConflict | StoreUnavailable],
    status: int,
) -> None:
    answers.error = kind(subject="worker b", what="is not there", fix="name another")
    async with serve() as served:
        answer = await served.client.post("/kill", json=BODY)
    assert answer.status_code == status
    assert error_of(answer) == {
        "code": kind.code,
        "message": "worker b: is not there",
        "fix": "name another",
    }


async def test_a_status_that_can_not_be_read_is_an_error_and_not_an_empty_answer(
    serve: Serve, answers: ScriptedAnswers, store_down: StoreUnavailable
) -> None:
    answers.error = store_down
    async with serve() as served:
        answer = await served.client.get("/status")
    assert answer.status_code == 503
    assert error_of(answer)["code"] == "store_unavailable"


async def test_a_bug_is_answered_in_the_same_form(
    serve: Serve, answers: ScriptedAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> object:
        raise AssertionError("a bug")

    monkeypatch.setattr(answers, "status", broken)
    async with serve() as served:
        answer = await served.client.get("/status")
    assert answer.status_code == 500
    assert error_of(answer)["code"] == "internal"
