"""An installation for each test, so that no test sees another's store."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.site import Site, two_ticks


@pytest.fixture
def site(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Site:
    monkeypatch.setenv("USER", "alice")
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    return Site(tmp_path, capsys)


@pytest.fixture
def lived(site: Site) -> Site:
    """An installation with two ticks in its store."""
    site.live(two_ticks)
    return site
