"""What is secret is found by its value and by its form, and what is not is left as it is."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.events.approval_kinds import ProposalMade
from supervisor.redaction import REDACTED, Redaction

#: Made up here; each has the form of a vendor's key and opens nothing.
FORMS = {
    "openai": "sk-" + "a1B2" * 8,
    "openai project": "sk-proj-" + "a1B2_-" * 6,
    "anthropic": "sk-ant-api03-" + "a1B2" * 8,
    "stripe": "sk_live_" + "a1B2" * 6,
    "github": "ghp_" + "a1B2" * 9,
    "github app": "ghs_" + "a1B2" * 9,
    "github fine": "github_pat_" + "a1B2_" * 9,
    "gitlab": "glpat-" + "a1B2" * 5,
    "aws": "AKIA" + "A1B2" * 4,
    "google": "AIza" + "a1B2_" * 7,
    "slack": "xoxb-1234567890-" + "a1B2" * 4,
    "hugging face": "hf_" + "a1B2" * 8,
    "npm": "npm_" + "a1B2" * 9,
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLW9mLWl0",
}
PRIVATE_KEY = (
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA0123/+ab\nZZZZ==\n"
    "-----END RSA PRIVATE KEY-----"
)


@pytest.fixture
def redaction() -> Redaction:
    return Redaction()


@pytest.mark.parametrize("name", FORMS)
def test_a_key_is_known_by_its_form(redaction: Redaction, name: str) -> None:
    key = FORMS[name]
    assert redaction.text(f"the key {key} was refused") == f"the key {REDACTED} was refused"
    assert redaction.text(json.dumps({"why": f"<{key}>"})) == f'{{"why":"<{REDACTED}>"}}'


@pytest.mark.parametrize("word", ["Bearer", "bearer", "BEARER"])
def test_a_bearer_token_is_known_by_the_word_before_it(redaction: Redaction, word: str) -> None:
    assert redaction.text(f"{word} abc.def-123") == f"{word} {REDACTED}"


def test_a_password_in_a_url_is_known_by_its_place(redaction: Redaction) -> None:
    text = redaction.text("at postgresql://me:hunter2@db/x and http://example.org:80/a@b")
    assert text == f"at postgresql://{REDACTED}@db/x and http://example.org:80/a@b"


def test_a_private_key_is_known_by_its_lines_also_in_json_and_cut_off(
    redaction: Redaction,
) -> None:
    assert redaction.text(f"a {PRIVATE_KEY} b") == f"a {REDACTED} b"
    told = redaction.text(json.dumps({"a": PRIVATE_KEY, "b": "stays"}))
    assert json.loads(told) == {"a": REDACTED, "b": "stays"}
    assert "MIIE" not in redaction.text(PRIVATE_KEY[:60])


@pytest.mark.parametrize(
    "text",
    [
        "the task sk-etch of a risk-free desk-top plan",
        "Basic authentication, bearer of news",
        "ghp_ and AKIA are prefixes; task_done, ask_me_again_and_again_please",
        "http://example.org/a:b and user@example.org",
        "-----BEGIN CERTIFICATE-----",
        "w@2026-06-01T10:00Z",
        "",
    ],
)
def test_what_is_no_secret_stays_as_it_is(redaction: Redaction, text: str) -> None:
    redaction.learn(["short", "a long secret value"])
    assert redaction.text(text) == text


AWKWARD = ['quo"te\\and-back', "line\nbreak-in-it", "umläut-geheim-ß", "sp ace/sla+sh", "a&b=c%20d"]


@pytest.mark.parametrize("secret", AWKWARD)
def test_a_value_is_found_in_each_form_that_it_takes(redaction: Redaction, secret: str) -> None:
    from urllib.parse import quote, quote_plus, urlencode

    redaction.learn([secret])
    for text in (secret, quote(secret, safe=""), quote_plus(secret), urlencode({"k": secret})):
        assert REDACTED in redaction.text(f"x {text} y"), text
    told = redaction.text(msgspec.json.encode({"a": [secret], secret: 1}).decode())
    assert json.loads(told) == {"a": [REDACTED], REDACTED: 1}


def test_the_longer_of_two_secrets_goes_first(redaction: Redaction) -> None:
    redaction.learn(["abcdefgh"])
    redaction.learn(["abcdefgh-and-more"])
    assert redaction.text("abcdefgh-and-more") == REDACTED


def test_a_secret_that_is_learnt_later_is_found_in_what_was_seen_before(
    redaction: Redaction,
) -> None:
    assert redaction.text("opensesame") == "opensesame"
    redaction.learn(["opensesame"])
    assert redaction.text("opensesame") == REDACTED


@given(st.text(max_size=60), st.text(max_size=20), st.sampled_from(sorted(FORMS)))
def test_json_stays_json_and_nothing_is_left_to_do(before: str, after: str, name: str) -> None:
    redaction = Redaction()
    redaction.learn([*AWKWARD, "nabcdefgh"])
    for secret in (FORMS[name], *AWKWARD, "nabcdefgh", PRIVATE_KEY):
        value = {"k": [f"{before}\n{secret} {after}", 1.5, None, {"x": before}], "n": 10**15}
        cleaned = redaction.text(msgspec.json.encode(value).decode())
        back = msgspec.json.decode(cleaned)
        assert set(back) == {"k", "n"}
        assert back["n"] == 10**15
        assert redaction.text(cleaned) == cleaned


def test_an_events_fields_are_looked_at_one_by_one(redaction: Redaction) -> None:
    redaction.learn(["opensesame"])
    event = ProposalMade(
        proposal="p", worker="w", action="a", resource="r", cost=0, tokens=0, weight=0.0,
        score=0.0, risk_factors=("plain", "with opensesame in it"),
    )  # fmt: skip
    encoded = msgspec.json.encode(event).decode()
    assert "opensesame" not in redaction.payload(event, encoded)
    plain = msgspec.structs.replace(event, risk_factors=())
    assert redaction.payload(plain, "as it is") == "as it is"


def test_a_statements_parameters_are_the_same_object_where_nothing_is_secret(
    redaction: Redaction,
) -> None:
    redaction.learn(["opensesame"])
    values = {"a": "w@2026-06-01T10:00Z", "b": 3, "c": None, "d": b"opensesame"}
    assert redaction.values(values) is values
    assert redaction.values({**values, "a": "opensesame!"})["a"] == f"{REDACTED}!"
