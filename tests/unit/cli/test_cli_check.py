"""`check` looks at all that a start would use, starts nothing, and says all that is wrong."""

from __future__ import annotations

import json

import pytest

from tests.unit.cli.site import Site


def test_sound_installation_exits_0_and_says_what_was_checked(site: Site) -> None:
    called = site.call("check")
    assert (called.code, called.err) == (0, "")
    for told in ("config", "site_agent:run", "builtin/extractive: free", "does not exist yet"):
        assert told in called.out
    assert not site.state_dir.exists()


def test_the_values_of_a_horizon_are_shown(site: Site) -> None:
    site.edit_config("[spend]", '[session]\nhorizon = "week"\nmax_actions = 9\n[spend]')
    site.edit_config("every_s = 60.0\nmodel", 'window = "2h"\ncheckpoint_every = 2\nmodel')
    answer = json.loads(site.call("check", "--json").out)
    told = {(one["what"], one["name"]): one["found"] for one in answer["checked"]}
    assert told["session", "horizon week"] == (
        "window daily, at most 150.00 USD and 9 actions in each, a checkpoint every 24 ticks"
    )
    assert told["worker", "digest"] == (
        "site_agent:run, every 3600 s, window 2h, a checkpoint every 2 ticks"
    )
    assert told["worker", "triage"] == "site_agent:run, every 60 s"


def test_store_that_exists_is_opened(lived: Site) -> None:
    called = lived.call("check")
    assert called.code == 0
    assert "can be read, schema is current" in called.out


def test_store_that_is_damaged_exits_78(lived: Site) -> None:
    lived.store.write_bytes(b"no database at all, but not empty either")
    called = lived.call("check")
    assert called.code == 78
    assert "error[store_damaged]: " in called.err


def test_config_that_is_wrong_exits_78(site: Site) -> None:
    site.edit_config("daily_cap_usd = 1.00", "daily_cap = 1.00")
    called = site.call("check")
    assert called.code == 78
    assert "did you mean 'daily_cap_usd'?" in called.err


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ("no_such_module:run", "can't be imported: ModuleNotFoundError"),
        ("site_agent:walk", "has no 'walk'"),
        ("site_agent:not_a_coroutine", "is not a coroutine function"),
    ],
)
def test_worker_that_can_not_be_imported_exits_78(site: Site, run: str, told: str) -> None:
    site.edit_config('[worker.digest]\nrun = "site_agent:run"', f'[worker.digest]\nrun = "{run}"')
    called = site.call("check")
    assert called.code == 78
    assert f"error[config]: worker.digest.run = '{run}'" in called.err
    assert told in called.err


def test_secret_that_is_not_set_exits_78_here_and_nowhere_else(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SITE_KEY", raising=False)
    site.edit_config(
        '[providers.builtin]\nkind = "builtin"',
        '[providers.builtin]\nkind = "builtin"\n'
        '[providers.paid]\nkind = "anthropic"\napi_key_env = "SITE_KEY"',
    )
    site.edit_config("builtin/extractive", "paid/some-model")
    called = site.call("check")
    assert called.code == 78
    assert "$SITE_KEY is not set" in called.err
    # An operator's shell has not the environment of the service.
    assert site.call("status").code == 3
    assert site.call("kill", "--system", "--why", "a test").code == 0


@pytest.mark.parametrize("fallback", ["", 'model = "builtin/extractive"\nfallback = ["{model}"]'])
def test_model_without_a_price_exits_78_and_names_it(site: Site, fallback: str) -> None:
    site.edit_config(
        '[providers.builtin]\nkind = "builtin"',
        '[providers.builtin]\nkind = "builtin"\n'
        '[providers.own]\nkind = "openai"\nbase_url = "http://127.0.0.1:1/v1"',
    )
    model = "own/nobody-knows-this-one"
    if fallback:
        site.edit_config('model = "builtin/extractive"', fallback.format(model=model))
    else:
        site.edit_config("builtin/extractive", model)
    called = site.call("check")
    assert called.code == 78
    assert "error[price_unknown]: model " in called.err
    assert "nobody-knows-this-one" in called.err


def test_every_problem_is_named_also_in_json(site: Site) -> None:
    site.edit_config("site_agent:run", "no_such_module:run")
    called = site.call("check", "--json")
    assert called.code == 78
    answer = json.loads(called.out)
    assert answer["ok"] is False
    assert [problem["code"] for problem in answer["problems"]] == ["config", "config"]
    assert {one["what"] for one in answer["checked"]} == {
        "config",
        "session",
        "worker",
        "model",
        "drill",
        "store",
    }


def test_a_canary_that_can_not_be_imported_is_wrong(site: Site) -> None:
    site.edit_config("[spend]", '[drills]\ncanary = "no_such_agent:run"\n[spend]')
    checked = site.call("check")
    assert checked.code == 78
    assert "no_such_agent" in checked.err


@pytest.mark.parametrize("state_dir", ["config.toml", "config.toml/var", "config.toml/a/var"])
def test_state_directory_that_can_not_be_made_exits_78_and_names_what_is_in_the_way(
    site: Site, state_dir: str
) -> None:
    site.edit_config('state_dir = "var"', f'state_dir = "{state_dir}"')
    for words, code in ((["check"], 78), (["run"], 75), (["stop"], 1)):
        called = site.call(*words)
        assert called.code == code
        assert f"{site.config} is no directory; " in called.err
