"""What the config gives to a worker's tools is closed by default and refused where it is wrong."""

from __future__ import annotations

import pytest

from tests.unit.config.conftest import Read, Refusal

WORKER = '[worker.a]\nrun = "agent:run"\nevery_s = 1.0\n'

#: text below a worker's table, the key with its value, what the cure names
BAD_VALUES = {
    "a URL for a host": (
        '[worker.a.http]\nallow = ["https://example.org/"]\n',
        "worker.a.http.allow[0] = 'https://example.org/'",
        'write "example.org"',
    ),
    "a star in the middle": (
        '[worker.a.http]\nallow = ["example.org", "ex*mple.org"]\n',
        "worker.a.http.allow[1] = 'ex*mple.org'",
        'write "example.org"',
    ),
    "no network": (
        '[worker.a.http]\nallow = ["*"]\nprivate = ["intranet"]\n',
        "worker.a.http.private[0] = 'intranet'",
        "10.0.0.0/8",
    ),
    "private addresses and no list": (
        '[worker.a.http]\nprivate = ["10.0.0.1"]\n',
        "worker.a.http.private",
        'add allow = ["HOST"]',
    ),
    "a user agent with a line break": (
        '[worker.a.http]\nuser_agent = "a\\nHost: b"\n',
        "worker.a.http.user_agent",
        "my-bot/1.0",
    ),
    "a misspelt key": (
        '[worker.a.http]\nalow = ["example.org"]\n',
        "worker.a.http.alow",
        "did you mean 'allow'?",
    ),
    "a text for a list": (
        '[worker.a.http]\nallow = "example.org"\n',
        "worker.a.http.allow = 'example.org'",
        "write a list",
    ),
    "no time at all": (
        "[worker.a.http]\ntotal_timeout_s = 0\n",
        "worker.a.http.total_timeout_s = 0",
        "more than 0",
    ),
}


@pytest.mark.parametrize("name", BAD_VALUES)
def test_a_bad_value_is_refused_with_its_path_its_value_and_the_cure(
    refusal: Refusal, name: str
) -> None:
    text, key, cure = BAD_VALUES[name]
    error = refusal(WORKER + text)
    assert key in error.subject
    assert cure in error.fix


def test_left_out_nothing_may_be_reached(read: Read) -> None:
    section = read(WORKER).config.worker["a"].http
    assert (section.allow, section.private, section.robots) == ((), (), True)
