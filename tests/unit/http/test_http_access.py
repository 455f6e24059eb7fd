"""Who may change state over HTTP: the token, the site, and the host's name."""

from __future__ import annotations

import hmac

import pytest
from starlette.datastructures import Headers

from supervisor.http.access import Access, AccessDenied
from tests.unit.http.conftest import TOKEN, TOKEN_ENV, ScriptedAnswers, Serve

HOST = "127.0.0.1:9464"
OPEN = Access(token=None, token_env=TOKEN_ENV, address="127.0.0.1")
GUARDED = Access(token=TOKEN, token_env=TOKEN_ENV, address="127.0.0.1")
PUBLIC = Access(token=TOKEN, token_env=TOKEN_ENV, address="0.0.0.0")  # noqa: S104 - its address
ROUTES = ["/kill", "/release", "/stop"]


def denied(access: Access, *, is_loosening: bool = False, **headers: str) -> AccessDenied:
    with pytest.raises(AccessDenied) as caught:
        check(access, is_loosening=is_loosening, **headers)
    return caught.value


def check(access: Access, *, is_loosening: bool = False, **headers: str) -> None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    access.check(Headers({"host": HOST} | named), is_loosening=is_loosening)


def test_without_a_token_stopping_is_free_and_loosening_impossible() -> None:
    check(OPEN)
    error = denied(OPEN, is_loosening=True)
    assert error.status == 403
    assert "`supervisor release`" in error.fix
    assert "$SUPERVISOR_TOKEN" in error.fix


@pytest.mark.parametrize("is_loosening", [False, True])
def test_with_a_token_every_change_needs_it(is_loosening: bool) -> None:
    check(GUARDED, is_loosening=is_loosening, authorization=f"Bearer {TOKEN}")
    error = denied(GUARDED, is_loosening=is_loosening)
    assert error.status == 401
    assert "$SUPERVISOR_TOKEN" in error.fix


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Bearer",
        "Bearer ",
        TOKEN,
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN.upper()}",
        f"Bearer x {TOKEN}",
        "Bearer \xff\xfe",
    ],
)
def test_a_wrong_token_is_refused(given: str) -> None:
    assert denied(GUARDED, authorization=given).status == 401


@pytest.mark.parametrize("given", [f"bearer {TOKEN}", f"Bearer  {TOKEN} "])
def test_the_schemes_case_and_spaces_do_not_matter(given: str) -> None:
    check(GUARDED, authorization=given)


def test_a_refusal_says_nothing_of_the_token() -> None:
    error = denied(GUARDED, authorization="Bearer guess-0123456789")
    assert TOKEN not in str(error)
    assert "guess-0123456789" not in str(error)


def test_the_token_is_not_kept_but_its_hash() -> None:
    assert TOKEN not in repr(vars(GUARDED))
    assert TOKEN.encode() not in list(vars(GUARDED).values())


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def note(first: bytes, second: bytes) -> bool:
        compared.append((first, second))
        return compare(first, second)

    monkeypatch.setattr(hmac, "compare_digest", note)
    check(GUARDED, authorization=f"Bearer {TOKEN}")
    denied(GUARDED, authorization="Bearer x")
    assert [len(first) == len(second) == 32 for first, second in compared] == [True, True]


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost:9464", "file://", ""],
)
def test_a_page_of_another_site_is_refused(origin: str) -> None:
    assert denied(OPEN, origin=origin).status == 403
    assert denied(GUARDED, origin=origin, authorization=f"Bearer {TOKEN}").status == 403


def test_a_page_of_the_daemons_own_is_let_through() -> None:
    check(OPEN, origin=f"http://{HOST}", sec_fetch_site="same-origin")


@pytest.mark.parametrize("site", ["cross-site", "same-site", "CROSS-SITE", ""])
def test_a_browser_that_says_it_comes_from_elsewhere_is_refused(site: str) -> None:
    assert denied(OPEN, sec_fetch_site=site).status == 403


@pytest.mark.parametrize("site", ["none", "same-origin"])
def test_a_person_who_typed_the_address_is_let_through(site: str) -> None:
    check(OPEN, sec_fetch_site=site)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:9464",
        "127.0.0.1.evil.example",
        "localhost.evil.example:9464",
        "192.168.1.5:9464",
        "127.0.0.1@evil.example",
        "",
    ],
)
def test_a_name_that_was_pointed_at_this_machine_is_refused(host: str) -> None:
    assert denied(OPEN, host=host).status == 403
    assert denied(OPEN, host=host, origin=f"http://{host}").status == 403


@pytest.mark.parametrize("host", ["127.0.0.1:9464", "localhost:9464", "[::1]:9464", "LOCALHOST"])
def test_this_machines_own_names_are_let_through(host: str) -> None:
    check(OPEN, host=host)


def test_beyond_loopback_any_name_may_be_the_daemons() -> None:
    check(PUBLIC, host="agents.example", authorization=f"Bearer {TOKEN}")
    assert denied(PUBLIC, host="agents.example").status == 401


@pytest.mark.parametrize(
    ("host", "origin"), [("[::1", f"http://{HOST}"), (HOST, "http://["), ("[x]:1", "http://x")]
)
def test_a_header_that_is_no_address_is_refused_like_a_foreign_one(host: str, origin: str) -> None:
    assert denied(OPEN, host=host, origin=origin).status == 403


@pytest.mark.parametrize("path", ROUTES)
async def test_every_route_that_changes_state_is_guarded(
    serve: Serve, answers: ScriptedAnswers, path: str
) -> None:
    body = {"why": "x"}
    right = {"Authorization": f"Bearer {TOKEN}"}
    async with serve(token=TOKEN) as served:
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            right | {"Origin": "https://evil.example"},
            right | {"Sec-Fetch-Site": "cross-site"},
            right | {"Host": "evil.example"},
        ):
            refused = await served.client.post(path, json=body, headers=headers)
            assert refused.status_code in (401, 403), headers
            assert refused.json()["error"]["code"] == "access_denied"
        assert answers.asked == []
        done = await served.client.post(path, json=body, headers=right)
        assert done.status_code in (200, 202)
    assert len(answers.asked) == 1


async def test_a_foreign_request_is_refused_before_its_body_is_read(
    serve: Serve, answers: ScriptedAnswers
) -> None:
    async with serve(token=TOKEN) as served:
        refused = await served.client.post("/kill", content=b"no json")
    assert refused.status_code == 401
    assert answers.asked == []


async def test_reading_needs_no_token_on_this_machine(serve: Serve) -> None:
    async with serve(token=TOKEN) as served:
        for path in ("/healthz", "/readyz", "/metrics", "/status"):
            assert (await served.client.get(path)).status_code == 200
