"""Which store a config may name, and that its password stays where it is."""

from __future__ import annotations

import traceback

import pytest

from tests.unit.config.conftest import Read, Refusal

SECRET = "hunter2"  # noqa: S105 - no secret


@pytest.mark.parametrize(
    "url",
    [
        "sqlite",
        "sqlite:///other.db",
        "postgresql://ann@db.example.org:5433/acp",
        "postgres:///acp",
        "postgresql://ann@[::1]:5433/acp?sslmode=verify-full&options=-csearch_path%3Dacp",
        "postgresql://ann@one:5432,two:5432/acp?target_session_attrs=read-write",
        "postgresql:///acp?host=/run/postgresql",
    ],
)
def test_a_store_that_can_be_opened_is_taken_as_it_is_written(read: Read, url: str) -> None:
    assert read(f'[supervisor]\ndatabase = "{url}"\n').config.supervisor.database == url


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("mysql://ann@db.example.org/acp", "no store that this version has"),
        ("postgresql:db", "no store that this version has"),
        ("sqlite:///", "no store that this version has"),
        ("postgresql://ann@db.example.org:port/acp", "no usable host or port"),
        ("postgresql://ann@db.example.org:0/acp", "port 0"),
        ("postgresql://ann@[::1/acp", "no usable host or port"),
        ("postgresql://ann@db.example.org", "names no database"),
        ("postgresql://ann@db.example.org/a cp", "write it as %XX"),
        ("postgresql://ann:a#b@db.example.org/acp", "it is %23"),
    ],
)
def test_a_url_that_would_be_misread_is_refused(refusal: Refusal, url: str, what: str) -> None:
    error = refusal(f'[supervisor]\ndatabase = "{url}"\n')
    assert "supervisor.database" in error.subject
    assert what in error.what
    assert "postgresql://user@host" in error.fix


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://ann:{SECRET}@db.example.org/acp",
        f"postgresql://ann:{SECRET}@db.example.org:port/acp",
        f"postgresql://ann:a/b@{SECRET}@db.example.org:0/acp",
        f"postgresql://ann:{SECRET}#@db.example.org/acp",
        f"postgresql://db.example.org?user=ann&password={SECRET}",
        f"postgresql://ann:?{SECRET}@[::1/acp",
    ],
)
def test_a_refused_url_is_shown_without_its_password(refusal: Refusal, url: str) -> None:
    error = refusal(f'[supervisor]\ndatabase = "{url}"\n')
    assert SECRET not in "".join(traceback.format_exception(error))
    assert "..." in error.subject
