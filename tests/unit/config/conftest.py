"""A config file that is written for one test, and the error that it ends in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from supervisor.config import Loaded, load
from supervisor.errors import ConfigError

CAP = "[spend]\ndaily_cap_usd = 1.0\n"

Read = Callable[..., Loaded]
Refusal = Callable[..., ConfigError]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write a text and load it; the cap stands in front of it unless told otherwise."""

    def read(
        text: str, *, environment: Mapping[str, str] | None = None, has_cap: bool = True
    ) -> Loaded:
        path = tmp_path / "config.toml"
        path.write_text((CAP if has_cap else "") + text, encoding="utf-8")
        return load(path, environment or {})

    return read


@pytest.fixture
def refusal(read: Read, tmp_path: Path) -> Refusal:
    """Load a text that must be refused, and return the refusal."""

    def refusal(
        text: str, *, environment: Mapping[str, str] | None = None, has_cap: bool = True
    ) -> ConfigError:
        with pytest.raises(ConfigError) as caught:
            read(text, environment=environment, has_cap=has_cap)
        assert str(tmp_path / "config.toml") in caught.value.subject
        assert caught.value.code == "config"
        return caught.value

    return refusal
