"""What failures of HTTP mean for the hold and for another try."""

from __future__ import annotations

import httpx
import pytest

from supervisor.providers.http_errors import (
    RETRY_AFTER_MAX_S,
    excerpt,
    retry_after_s,
    status_failure,
    told_failure,
    transport_failure,
    vendor_words,
)

TIMEOUT = httpx.Timeout(60, connect=5, pool=7)
KEY = "sk-secret-0123456789"


@pytest.mark.parametrize(
    "error",
    [httpx.ConnectError("refused"), httpx.ConnectTimeout("slow"), httpx.PoolTimeout("full")],
)
def test_call_without_a_connection_was_refused_and_may_be_tried_again(
    error: httpx.TransportError,
) -> None:
    failure = transport_failure("ollama", error, timeout=TIMEOUT, secret="")
    assert failure.was_refused
    assert failure.is_retryable


@pytest.mark.parametrize("error", [httpx.InvalidURL("bad"), httpx.UnsupportedProtocol("ftp")])
def test_call_to_no_address_was_refused_and_is_not_tried_again(
    error: httpx.HTTPError | httpx.InvalidURL,
) -> None:
    failure = transport_failure("ollama", error, timeout=TIMEOUT, secret="")
    assert failure.was_refused
    assert not failure.is_retryable
    assert "correct base_url in [providers.ollama]" in str(failure)


@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadTimeout("slow"),
        httpx.WriteTimeout("slow"),
        httpx.ReadError("reset"),
        httpx.WriteError("reset"),
        httpx.CloseError("reset"),
        httpx.RemoteProtocolError("closed"),
    ],
)
def test_call_that_broke_off_has_an_unknown_outcome_and_may_be_tried_again(
    error: httpx.TransportError,
) -> None:
    failure = transport_failure("ollama", error, timeout=TIMEOUT, secret="")
    assert not failure.was_refused
    assert failure.is_retryable


def test_body_that_does_not_unpack_is_not_tried_again() -> None:
    failure = transport_failure("x", httpx.DecodingError("gzip"), timeout=TIMEOUT, secret="")
    assert not failure.was_refused
    assert not failure.is_retryable


def test_timeouts_are_named_with_their_span() -> None:
    read = transport_failure("x", httpx.ReadTimeout(""), timeout=TIMEOUT, secret="")
    connect = transport_failure("x", httpx.ConnectTimeout(""), timeout=TIMEOUT, secret="")
    pool = transport_failure("x", httpx.PoolTimeout(""), timeout=TIMEOUT, secret="")
    assert "no byte for 60 s" in str(read)
    assert "none within 5 s" in str(connect)
    assert "none free within 7 s" in str(pool)


@pytest.mark.parametrize("status", range(400, 500))
def test_every_4xx_was_refused(status: int) -> None:
    failure = status_failure("x", status=status)
    assert failure.was_refused
    assert failure.is_retryable == (status in {408, 409, 425, 429})


@pytest.mark.parametrize("status", [500, 501, 502, 503, 504, 520, 529])
def test_every_5xx_has_an_unknown_outcome_and_may_be_tried_again(status: int) -> None:
    failure = status_failure("x", status=status)
    assert not failure.was_refused
    assert failure.is_retryable


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_is_a_wrong_base_url(status: int) -> None:
    failure = status_failure("x", status=status)
    assert not failure.was_refused
    assert not failure.is_retryable
    assert "base_url in [providers.x]" in failure.fix


def test_text_has_subject_status_message_and_cure() -> None:
    failure = status_failure("openai", status=401, said="Incorrect API key")
    assert str(failure) == (
        "provider openai: HTTP 401: Incorrect API key; "
        "check the key that api_key_env of [providers.openai] names"
    )


@pytest.mark.parametrize(
    ("wish", "seconds"),
    [
        ("7", 7.0),
        ("0.25", 0.25),
        ("0", 0.0),
        ("99999999999", RETRY_AFTER_MAX_S),
        ("9" * 500, RETRY_AFTER_MAX_S),
        ("-5", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("soon", None),
        ("", None),
        ("٣", None),
    ],
)
def test_retry_after_in_seconds_is_bounded_and_never_negative(
    wish: str, seconds: float | None
) -> None:
    assert retry_after_s({"retry-after": wish}) == seconds


@pytest.mark.parametrize(
    ("wish", "seconds"),
    [
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2026 07:27:00 GMT", 0.0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", RETRY_AFTER_MAX_S),
    ],
)
def test_retry_after_as_a_date_is_measured_from_the_answers_own_date(
    wish: str, seconds: float
) -> None:
    headers = {"retry-after": wish, "date": "Wed, 21 Oct 2026 07:28:00 GMT"}
    assert retry_after_s(httpx.Headers(headers)) == seconds


@pytest.mark.parametrize("date", ["", "yesterday", "Wed, 21 Oct 2026 07:28:00 -0000"])
def test_retry_after_as_a_date_is_unknown_where_the_answers_date_is(date: str) -> None:
    headers = {"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": date}
    assert retry_after_s(httpx.Headers(headers)) is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": {"message": "No such model", "code": 404}}', "No such model"),
        (b'{"error": "model not found"}', "model not found"),
        (b'{"message": "slow down"}', "slow down"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b'{"detail": [{"loc": ["body"]}]}', '{"detail": [{"loc": ["body"]}]}'),
        (b"<html>\n<b>502\x00</b>\n</html>", "<html> <b>502 </b> </html>"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", ""),
    ],
)
def test_vendors_message_is_found_in_every_known_form(body: bytes, words: str) -> None:
    assert vendor_words(body, secret="") == words


def test_excerpt_is_short() -> None:
    assert len(excerpt("x" * 10_000, secret="")) == 203


@pytest.mark.parametrize("before", [0, 150, 195, 199, 200])
def test_key_is_not_in_an_excerpt_even_where_the_cut_falls_into_it(before: int) -> None:
    text = excerpt("x" * before + KEY + "tail", secret=KEY)
    assert "sk-s" not in text
    assert "0123" not in text


def test_key_is_not_in_the_text_of_any_failure() -> None:
    failures = [
        transport_failure("x", httpx.ConnectError(f"to {KEY}"), timeout=TIMEOUT, secret=KEY),
        transport_failure("x", httpx.InvalidURL(f"at {KEY}"), timeout=TIMEOUT, secret=KEY),
        transport_failure("x", httpx.LocalProtocolError(KEY), timeout=TIMEOUT, secret=KEY),
        told_failure("x", b'{"error": {"message": "bad %s"}}' % KEY.encode(), secret=KEY),
    ]
    assert not [failure for failure in failures if KEY in str(failure)]


@pytest.mark.parametrize(
    ("kind", "is_retryable"),
    [("overloaded_error", True), ("api_error", True), ("invalid_request_error", False)],
)
def test_error_inside_an_answer_has_an_unknown_outcome(kind: str, is_retryable: bool) -> None:
    body = b'{"type": "error", "error": {"type": "%s", "message": "no"}}' % kind.encode()
    failure = told_failure("x", body, secret="")
    assert not failure.was_refused
    assert failure.is_retryable == is_retryable
