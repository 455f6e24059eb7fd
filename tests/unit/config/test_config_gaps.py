"""Values that look well and would break the daemon later, each refused before anything starts."""

from __future__ import annotations

import pytest

from tests.unit.config.conftest import Refusal

WORKER = '[worker.a]\nrun = "agent:run"\nevery_s = 1.0\n'
OPENAI = '[providers.x]\nkind = "openai"\n'

#: text, key: each of these is accepted, then ends the daemon, a worker, or a limit, in silence.
UNSEEN = {
    "endless delay: OverflowError in the loop": (
        '[worker.a]\nrun = "agent:run"\nevery_s = inf\n',
        "worker.a.every_s",
    ),
    "delay beyond the calendar: OverflowError in the loop": (
        '[worker.a]\nrun = "agent:run"\nevery_s = 1e15\n',
        "worker.a.every_s",
    ),
    "endless timeout: OverflowError in the heartbeat": (
        WORKER + "tick_timeout_s = inf\n",
        "worker.a.tick_timeout_s",
    ),
    "endless grace": ("[supervisor]\ngrace_s = inf\n", "supervisor.grace_s"),
    "count that no store takes": (
        "[session]\nmax_actions = 99999999999999999999\n",
        "session.max_actions",
    ),
    "ping to no port: InvalidURL ends the daemon": (
        '[supervisor]\nheartbeat_ping_url = "http://127.0.0.1:port"\n',
        "supervisor.heartbeat_ping_url",
    ),
    "provider on no port": (
        OPENAI + 'base_url = "http://127.0.0.1:port"\n',
        "providers.x.base_url",
    ),
    "store of another kind: the default is used in silence": (
        '[supervisor]\ndatabase = "mysql://db.example.org/acp"\n',
        "supervisor.database",
    ),
    "budget of a worker that is not there: it limits nothing": (
        WORKER + '[[budget]]\nscope = "worker:aa"\nperiod = "day"\nmax_cost_usd = 0.1\n',
        "budget[0].scope",
    ),
    "budget of a provider that is not there: it limits nothing": (
        WORKER + '[[budget]]\nscope = "model:pp/m"\nperiod = "day"\nmax_cost_usd = 0.1\n',
        "budget[0].scope",
    ),
    "key with a dot: KeyError while explaining": ('[supervisor]\n["foo.bar"]\n', "foo.bar"),
}


@pytest.mark.parametrize(("text", "key"), UNSEEN.values(), ids=UNSEEN.keys())
def test_a_value_that_would_break_later_is_refused_at_once(
    refusal: Refusal, text: str, key: str
) -> None:
    assert f"config.toml: {key}" in refusal(text).subject


def test_an_unknown_key_of_a_worker_named_price_is_compared_with_a_workers_keys(
    refusal: Refusal,
) -> None:
    error = refusal('[worker.price]\nrun = "agent:run"\nevery_s = 1.0\ntick_timeot_s = 3.0\n')
    assert error.fix == "did you mean 'tick_timeout_s'?"


def test_a_file_that_nests_without_end_is_refused(refusal: Refusal) -> None:
    refusal("x = " + "[" * 3_000 + "]" * 3_000 + "\n")
