"""A text without NUL stands for one text alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervisor.storage.postgres_text import with_nul, without_nul

TEXTS = st.text(st.sampled_from("\x00\ufdd0\ufdd1a"), max_size=12)


@given(TEXTS, TEXTS)
def test_every_text_comes_back_and_two_that_differ_stay_different(one: str, other: str) -> None:
    written = without_nul({"one": one, "other": other, "number": 5, "none": None, "bytes": b"\x00"})
    assert "\x00" not in str(written["one"]) + str(written["other"])
    assert (written["one"] == written["other"]) == (one == other)
    assert list(with_nul(list(written.values()))) == [one, other, 5, None, b"\x00"]
