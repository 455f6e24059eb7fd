"""Every bad value is refused with its path, its value and the cure."""

from __future__ import annotations

import pytest

from supervisor.config import Loaded
from tests.unit.config.conftest import Read, Refusal

WORKER = '[worker.a]\nrun = "agent:run"\n'
EVERY = WORKER + "every_s = 1.0\n"
OPENAI = '[providers.x]\nkind = "openai"\n'

#: text, the key with its value as the message shows them, what the cure names
BAD_VALUES = {
    "unknown section": (
        "[sesion]\n",
        "sesion",
        "did you mean 'session'?",
    ),
    "unknown key": (
        "[session]\nmax_cost = 1.0\n",
        "session.max_cost = 1.0",
        "did you mean 'max_cost_usd'?",
    ),
    "unknown key that is like none": (
        "[log]\nzzz = true\n",
        "log.zzz = True",
        "known here: level, file_max_mb, files_keep",
    ),
    "unknown key of a worker": (
        EVERY + "tick_timeot_s = 3.0\n",
        "worker.a.tick_timeot_s = 3.0",
        "did you mean 'tick_timeout_s'?",
    ),
    "unknown key of a provider": (
        OPENAI + 'bas_url = "http://h"\n',
        "providers.x.bas_url = 'http://h'",
        "did you mean 'base_url'?",
    ),
    "unknown key of a price": (
        OPENAI + 'base_url = "http://h"\nprice = { input_usd_per_mtk = 1.0 }\n',
        "providers.x.price.input_usd_per_mtk = 1.0",
        "did you mean 'input_usd_per_mtok'?",
    ),
    "unknown key of a budget": (
        '[[budget]]\nscope = "system"\nperiod = "hour"\nmax_tokns = 5\n',
        "budget[0].max_tokns = 5",
        "did you mean 'max_tokens'?",
    ),
    "wrong type": (
        '[session]\nmax_actions = "many"\n',
        "session.max_actions = 'many'",
        "is a text in quotes; write a whole number, without quotes",
    ),
    "a truth where a number stands": (
        "[session]\nmax_cost_usd = true\n",
        "session.max_cost_usd = True",
        "is true or false; write a number",
    ),
    "a table where a number stands": (
        "[session.max_cost_usd]\n",
        "session.max_cost_usd",
        "is a table; write a number",
    ),
    "a worker that is no table": (
        "[worker]\na = 3\n",
        "worker.a = 3",
        "is a whole number; write a table",
    ),
    "wrong type in a list": (
        (
            '[[budget]]\nscope = "system"\nperiod = "hour"\nmax_tokens = 5\n'
            '[[budget]]\nscope = 7\nperiod = "hour"\n'
        ),
        "budget[1].scope = 7",
        "is a whole number; write a text in quotes",
    ),
    "negative limit": (
        "[session]\nmax_cost_usd = -0.5\n",
        "session.max_cost_usd = -0.5",
        "is out of range; write a number, at least 0",
    ),
    "limit without end": (
        "[session]\nmax_cost_usd = inf\n",
        "session.max_cost_usd = inf",
        "write a number, at most 1000000000",
    ),
    "a span of nothing": (
        "[supervisor]\ngrace_s = 0\n",
        "supervisor.grace_s = 0",
        "is out of range; write a number, more than 0",
    ),
    "a span that is no number": (
        "[supervisor]\ngrace_s = nan\n",
        "supervisor.grace_s = nan",
        "write a number, more than 0",
    ),
    "a heartbeat that is too slow": (
        "[supervisor]\nheartbeat_s = 5.5\n",
        "supervisor.heartbeat_s = 5.5",
        "write a number, at most 5",
    ),
    "a word that is none of those allowed": (
        '[log]\nlevel = "loud"\n',
        "log.level = 'loud'",
        "known here: debug, info, warning, error",
    ),
    "window": (
        '[session]\nwindow = "hourlyy"\n',
        "session.window = 'hourlyy'",
        'write "hourly", "daily" or a span such as "4h"',
    ),
    "window that does not divide a day": (
        '[session]\nwindow = "7h"\n',
        "session.window = '7h'",
        "divides neither an hour nor, in whole hours, a day",
    ),
    "window of a worker": (
        EVERY + 'window = "0h"\n',
        "worker.a.window = '0h'",
        'write "hourly", "daily" or a span such as "4h"',
    ),
    "timezone": (
        '[supervisor]\ntimezone = "Europe/Berln"\n',
        "supervisor.timezone = 'Europe/Berln'",
        'use a name such as "UTC" or "Europe/Berlin"',
    ),
    "timezone that is a folder": (
        '[supervisor]\ntimezone = "Europe"\n',
        "supervisor.timezone = 'Europe'",
        'use a name such as "UTC" or "Europe/Berlin"',
    ),
    "timezone that leads elsewhere": (
        '[supervisor]\ntimezone = "../../etc/passwd"\n',
        "supervisor.timezone = '../../etc/passwd'",
        'use a name such as "UTC" or "Europe/Berlin"',
    ),
    "timezone of a worker": (
        WORKER + 'cron = "0 6 * * *"\ntimezone = "Mars"\n',
        "worker.a.timezone = 'Mars'",
        'use a name such as "UTC" or "Europe/Berlin"',
    ),
    "cron": (
        WORKER + 'cron = "61 6 * * *"\n',
        "worker.a.cron = '61 6 * * *'",
        "see crontab(5) for its five fields",
    ),
    "cron of a day that never comes": (
        WORKER + 'cron = "0 0 31 2 *"\n',
        "worker.a.cron = '0 0 31 2 *'",
        "see crontab(5) for its five fields",
    ),
    "both schedules": (
        EVERY + 'cron = "0 6 * * *"\n',
        "worker.a = {'every_s': 1.0, 'cron': '0 6 * * *'}",
        'write either every_s = 900.0 or cron = "0 6 * * *"',
    ),
    "no schedule": (
        WORKER,
        "worker.a = {}",
        'write either every_s = 900.0 or cron = "0 6 * * *"',
    ),
    "no function": (
        '[worker.a]\nrun = "agent"\nevery_s = 1.0\n',
        "worker.a.run = 'agent'",
        'write "module:function", such as "my_agent:run"',
    ),
    "a worker's name that leads elsewhere": (
        '[worker."../a"]\nrun = "agent:run"\nevery_s = 1.0\n',
        "worker.../a = '../a'",
        "use letters, digits and . _ -, at most 64",
    ),
    "a worker named like the system's session": (
        '[worker.system]\nrun = "agent:run"\nevery_s = 1.0\n',
        "worker.system = 'system'",
        "and not 'system'",
    ),
    "a worker named like the one that drills kill": (
        '[worker.canary]\nrun = "agent:run"\nevery_s = 1.0\n',
        "worker.canary = 'canary'",
        "[drills] canary says what the kill drill runs",
    ),
    "a drill at no time": (
        '[drills]\nkill = "weekly"\n',
        "drills.kill = 'weekly'",
        'write a span such as "7d", or a cron expression',
    ),
    "a drill at an impossible time": (
        '[drills]\nrestore = "0 25 * * *"\n',
        "drills.restore = '0 25 * * *'",
        'write a span such as "7d", or a cron expression',
    ),
    "a drill that there is not": (
        '[drills]\nfire = "7d"\n',
        "drills.fire = '7d'",
        "known here: kill, approvals, restore, canary",
    ),
    "a canary that names no function": (
        '[drills]\ncanary = "agent"\n',
        "drills.canary = 'agent'",
        'write "module:function", such as "my_agent:run"',
    ),
    "model of no provider": (
        EVERY + 'model = "ollama/llama3"\n',
        "worker.a.model = 'ollama/llama3'",
        "names no provider of this config; known here: none yet",
    ),
    "model of the builtin provider": (
        EVERY + 'model = "builtin/extractive"\n',
        "worker.a.model = 'builtin/extractive'",
        'add [providers.builtin] with kind = "builtin"',
    ),
    "model without its name": (
        EVERY + 'model = "b"\n[providers.b]\nkind = "builtin"\n',
        "worker.a.model = 'b'",
        "write PROVIDER/MODEL; [providers.*] has: b",
    ),
    "provider without an address": (
        OPENAI,
        "providers.x.base_url = ''",
        'add base_url, such as "http://127.0.0.1:11434/v1"',
    ),
    "address of no kind": (
        OPENAI + 'base_url = "localhost:11434"\n',
        "providers.x.base_url = 'localhost:11434'",
        "write http:// or https://, a host",
    ),
    "script of another kind": (
        '[providers.b]\nkind = "builtin"\nscript = { x = 1 }\n',
        "providers.b.script",
        'a script belongs to kind = "scripted"',
    ),
    "price that is a word": (
        OPENAI + 'base_url = "http://h"\nprice = "cheap"\n',
        "providers.x.price = 'cheap'",
        "is not a word known here; known here: free",
    ),
    "budget of a worker that is not there": (
        EVERY + '[[budget]]\nscope = "worker:aa"\nperiod = "day"\nmax_cost_usd = 1.0\n',
        "budget[0].scope = 'worker:aa'",
        "names no worker of this config; did you mean 'a'?",
    ),
    "budget of a provider that is not there": (
        (
            '[[budget]]\nscope = "model:bultin/x"\nperiod = "day"\nmax_cost_usd = 1.0\n'
            '[providers.builtin]\nkind = "builtin"\n'
        ),
        "budget[0].scope = 'model:bultin/x'",
        "names no provider of this config; did you mean 'builtin'?",
    ),
    "budget of a provider without its model": (
        (
            '[[budget]]\nscope = "model:b"\nperiod = "day"\nmax_cost_usd = 1.0\n'
            '[providers.b]\nkind = "builtin"\n'
        ),
        "budget[0].scope = 'model:b'",
        "write PROVIDER/MODEL; [providers.*] has: b",
    ),
    "period": (
        '[[budget]]\nscope = "system"\nperiod = "hourly"\nmax_cost_usd = 1.0\n',
        "budget[0].period = 'hourly'",
        "did you mean 'hour'?",
    ),
    "budget of nothing": (
        EVERY + '[[budget]]\nscope = "worker:a"\nperiod = "day"\n',
        "budget[0] = 'worker:a'",
        "add max_cost_usd, max_tokens or max_actions",
    ),
    "the same budget twice": (
        (
            f'{EVERY}[[budget]]\nscope = "worker:a"\nperiod = "day"\n'
            "max_tokens = 1\nmax_actions = 1\n"
            '[[budget]]\nscope = "worker:a"\nperiod = "day"\nmax_tokens = 2\n'
        ),
        "budget[1].max_tokens = 'worker:a'",
        "keep one limit for each scope, period and unit",
    ),
    "the daily cap again": (
        '[[budget]]\nscope = "system"\nperiod = "day"\nmax_cost_usd = 2.0\n',
        "budget = 'system'",
        "set [spend] daily_cap_usd instead",
    ),
    "no port": (
        '[http]\nlisten = "127.0.0.1"\n',
        "http.listen = '127.0.0.1'",
        'write ADDRESS:PORT, such as "127.0.0.1:9464"',
    ),
    "a port by its name": (
        '[http]\nlisten = "127.0.0.1:http"\n',
        "http.listen = '127.0.0.1:http'",
        'write ADDRESS:PORT, such as "127.0.0.1:9464"',
    ),
    "no such port": (
        '[http]\nlisten = "127.0.0.1:65536"\n',
        "http.listen = '127.0.0.1:65536'",
        'write ADDRESS:PORT, such as "127.0.0.1:9464"',
    ),
    "beyond this machine without a token": (
        '[http]\nlisten = "0.0.0.0:9464"\ntoken_env = "MY_TOKEN"\n',
        "http.listen = '0.0.0.0:9464'",
        "set $MY_TOKEN to a long random text, or listen on 127.0.0.1",
    ),
}


@pytest.mark.parametrize(("text", "key", "cure"), BAD_VALUES.values(), ids=BAD_VALUES.keys())
def test_a_bad_value_is_refused_with_its_path_its_value_and_the_cure(
    refusal: Refusal, text: str, key: str, cure: str
) -> None:
    error = refusal(text)
    assert error.subject.endswith(f"config.toml: {key}") or f"config.toml: {key} =" in error.subject
    assert cure in f"{error.what}; {error.fix}"


@pytest.mark.parametrize(
    ("text", "key", "cure"),
    [
        ("", "spend", "daily_cap_usd = 1.00 under [spend]; 0 blocks every paid call"),
        ("[spend]\n", "spend.daily_cap_usd", "daily_cap_usd = 1.00 under [spend]; 0 blocks"),
        ("[spend]\ndaily_cap_usd = -1\n", "spend.daily_cap_usd = -1", "a number, at least 0"),
        ("[spend]\ndaily_cap_usd = nan\n", "spend.daily_cap_usd = nan", "a number, at least 0"),
        ("[spend]\ndaily_cap_usd = inf\n", "spend.daily_cap_usd = inf", "a number, at most"),
        ('[spend]\ndaily_cap_usd = "1"\n', "spend.daily_cap_usd = '1'", "a number, without quotes"),
    ],
)
def test_no_cap_is_guessed(refusal: Refusal, text: str, key: str, cure: str) -> None:
    error = refusal(text, has_cap=False)
    assert error.subject.endswith(f"config.toml: {key}")
    assert cure in f"{error.what}; {error.fix}"


def test_a_cap_of_zero_is_a_cap(read: Read) -> None:
    loaded: Loaded = read("[spend]\ndaily_cap_usd = 0\n", has_cap=False)
    assert loaded.config.spend.daily_cap_usd == 0


def test_a_missing_key_of_a_worker_is_named(refusal: Refusal) -> None:
    error = refusal("[worker.a]\nevery_s = 1.0\n")
    assert error.subject.endswith("worker.a.run")
    assert error.what == "is missing"


def test_an_api_key_that_a_worker_needs_and_that_is_not_set_is_named(refusal: Refusal) -> None:
    text = EVERY + 'model = "p/m"\n[providers.p]\nkind = "anthropic"\napi_key_env = "P_KEY"\n'
    error = refusal(text)
    assert error.subject.endswith("worker.a.model = 'p/m'")
    assert "the API key of provider p, and $P_KEY is not set" in error.what
    assert error.fix == "set $P_KEY in the environment"
    refusal(text, environment={"P_KEY": ""})


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:80", "192.168.1.5:80", "example.org:80"])
def test_an_address_beyond_this_machine_needs_a_token(
    read: Read, refusal: Refusal, listen: str
) -> None:
    text = f'[http]\nlisten = "{listen}"\n'
    refusal(text)
    refusal(text, environment={"SUPERVISOR_TOKEN": ""})
    assert read(text, environment={"SUPERVISOR_TOKEN": "t" * 20}).config.http.listen == listen


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:80", "[::1]:80", "127.9.9.9:65535"])
def test_loopback_needs_no_token(read: Read, listen: str) -> None:
    assert read(f'[http]\nlisten = "{listen}"\n').secret("SUPERVISOR_TOKEN") is None
