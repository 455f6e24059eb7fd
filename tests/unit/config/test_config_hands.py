"""What the config gives to a worker's tools is closed by default and refused where it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.errors import ConfigError
from supervisor.hands_assembly import build_checks
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
    "a method in small letters": (
        '[worker.a.http]\npublish_methods = ["post"]\n',
        "worker.a.http.publish_methods[0] = 'post'",
        "in capitals",
    ),
    "a check that there is not": (
        '[worker.a.output]\nchecks = ["duplicate"]\n',
        "worker.a.output.checks[0] = 'duplicate'",
        "did you mean 'duplicates'?",
    ),
    "a check without what it needs": (
        '[worker.a.output]\nchecks = ["count"]\n',
        "worker.a.output.checks[0] = 'count'",
        "add count_expected = ...",
    ),
    "a number that no check asks for": (
        "[worker.a.output]\nage_max_s = 60\n",
        "worker.a.output.age_max_s = 60",
        'add "age" to checks',
    ),
    "a check twice": (
        '[worker.a.output]\nchecks = ["empty", "empty"]\n',
        "worker.a.output.checks[1] = 'empty'",
        "once",
    ),
    "a function's name that is none": (
        '[worker.a.output]\nchecks = ["my_agent:"]\n',
        "worker.a.output.checks[0] = 'my_agent:'",
        "my_agent:check_posts",
    ),
    "a secret that is not set": (
        'secrets = ["NO_SUCH_VARIABLE_ANYWHERE"]\n',
        "worker.a.secrets[0] = 'NO_SUCH_VARIABLE_ANYWHERE'",
        "set $NO_SUCH_VARIABLE_ANYWHERE",
    ),
    "a secret's value for its name": (
        'secrets = ["ghp_x-y"]\n',
        "worker.a.secrets[0] = 'ghp_x-y'",
        "and not its value",
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


@pytest.mark.parametrize(
    ("schema", "what"),
    [
        (None, "can't be read"),
        ("no JSON", "holds no JSON object"),
        ('{"type": "nonsense"}', "is no schema"),
        ('{"$ref": "http://127.0.0.1:1/x"}', "put that into its own definitions"),
    ],
)
def test_a_schema_that_can_not_be_used_is_refused(
    read: Read, tmp_path: Path, schema: str | None, what: str
) -> None:
    text = WORKER + '[worker.a.output]\nchecks = ["schema"]\nschema = "s.json"\n'
    loaded = read(text)
    if schema is not None:
        (loaded.folder / "s.json").write_text(schema)
    with pytest.raises(ConfigError) as refused:
        build_checks(loaded, "a")
    assert "worker.a.output.schema = 's.json'" in refused.value.subject
    assert what in refused.value.what


def test_a_check_of_ones_own_that_is_not_there_is_refused(read: Read) -> None:
    text = WORKER + '[worker.a.output]\nchecks = ["msgspec:no_such_check"]\n'
    with pytest.raises(ConfigError, match="has no 'no_such_check'"):
        build_checks(read(text), "a")


def test_left_out_nothing_may_be_reached(read: Read) -> None:
    section = read(WORKER).config.worker["a"].http
    assert (section.allow, section.private, section.robots) == ((), (), True)
