"""Reading the file, and what it names in the environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.config import config_path, load, person, take_notify_socket
from supervisor.errors import ConfigError
from tests.unit.config.conftest import CAP, Read, Refusal

WORKER = 'run = "agent:run"\nevery_s = 1.0\n'


def test_a_file_that_is_not_there_is_named_with_the_ways_to_name_another(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not exist; name one with --config FILE") as caught:
        load(tmp_path / "none.toml", {})
    assert str(tmp_path / "none.toml") in caught.value.subject


def test_a_folder_is_no_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read: Is a directory; make it a UTF-8 text"):
        load(tmp_path, {})


def test_a_file_that_nobody_may_read_is_refused(tmp_path: Path) -> None:
    # A link to itself is as unreadable for root as a forbidden file is for others.
    path = tmp_path / "config.toml"
    path.symlink_to(path)
    with pytest.raises(ConfigError, match="can't be read: Too many levels of symbolic links"):
        load(path, {})


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(CAP.encode() + b"# caf\xe9\n")
    with pytest.raises(ConfigError, match="can't be read: is not UTF-8 text"):
        load(path, {})


def test_a_file_that_is_not_toml_is_refused_with_the_line(refusal: Refusal) -> None:
    error = refusal("[session\n")
    assert error.what.startswith("is not TOML:")
    assert "line 3" in error.what


def test_two_workers_of_one_name_are_refused(refusal: Refusal) -> None:
    error = refusal(f"[worker.a]\n{WORKER}[worker.a]\n{WORKER}")
    assert error.what.startswith("is not TOML:")
    assert "twice" in error.what
    assert "[worker.NAME] may stand only once" in error.fix


def test_defaults_fill_what_the_file_leaves_out(read: Read) -> None:
    loaded = read(f"[worker.a]\n{WORKER}")
    config = loaded.config
    assert (config.session.window, config.session.max_cost_usd) == ("hourly", 0.5)
    assert (config.http.listen, config.spend.on_cap) == ("127.0.0.1:9464", "wait")
    assert config.worker["a"].tick_timeout_s == 120.0
    assert loaded.timezone.key == "UTC"


def test_the_state_directory_stands_beside_the_file(read: Read, tmp_path: Path) -> None:
    assert read("").state_dir == tmp_path / "var"
    assert read('[supervisor]\nstate_dir = "/else/where"\n').state_dir == Path("/else/where")


def test_options_reach_a_worker_as_they_stand(read: Read) -> None:
    text = f"[worker.a]\n{WORKER}[worker.a.options]\nanything = [1, {{ goes = true }}]\n"
    assert read(text).config.worker["a"].options == {"anything": [1, {"goes": True}]}


def test_secrets_are_those_that_the_config_names_and_no_others(read: Read) -> None:
    environment = {"K": "key-value", "SUPERVISOR_TOKEN": "token-value", "OTHER": "other", "E": ""}
    text = (
        '[providers.p]\nkind = "anthropic"\napi_key_env = "K"\n'
        '[providers.q]\nkind = "anthropic"\napi_key_env = "E"\n'
    )
    loaded = read(text, environment=environment)
    assert loaded.secrets == {"K": "key-value", "SUPERVISOR_TOKEN": "token-value"}
    assert loaded.secret("K") == "key-value"
    assert loaded.secret("E") is None
    assert loaded.secret("OTHER") is None


def test_the_option_is_stronger_than_the_environment_and_that_than_the_folder() -> None:
    environment = {"SUPERVISOR_CONFIG": "/b.toml"}
    assert config_path("/a.toml", environment) == Path("/a.toml")
    assert config_path(None, environment) == Path("/b.toml")
    assert config_path(None, {}) == Path.cwd() / "config.toml"
    assert config_path(None, {"SUPERVISOR_CONFIG": ""}) == Path.cwd() / "config.toml"


def test_the_notification_socket_is_taken_from_the_environment_of_children() -> None:
    assert take_notify_socket({}) is None
    assert take_notify_socket({"NOTIFY_SOCKET": ""}) is None
    environment = {"NOTIFY_SOCKET": "@abstract", "PATH": "/bin"}
    assert take_notify_socket(environment) == "@abstract"
    assert environment == {"PATH": "/bin"}


def test_the_person_is_who_called_sudo_not_root() -> None:
    assert person({"SUDO_USER": "ann", "USER": "root"}) == "ann"
    assert person({"USER": "ben"}) == "ben"
    assert person({}) == f"uid-{os.getuid()}"
