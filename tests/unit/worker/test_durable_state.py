"""A worker's durable state: what it keeps, and what it refuses to keep."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.worker.state import STATE_BYTES_MAX, DurableState, Json

json_values: st.SearchStrategy[Json] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)


def stored(state: DurableState) -> str:
    encoded = state.encode()
    assert encoded is not None
    return encoded


@given(values=st.dictionaries(st.text(st.characters(codec="utf-8")), json_values, max_size=5))
def test_what_is_kept_comes_back_as_it_was(values: dict[str, Json]) -> None:
    state = DurableState("{}")
    state.update(values)
    assert len(state) == len(values)
    assert dict(DurableState(stored(state))) == values


def test_it_is_a_mapping() -> None:
    state = DurableState('{"a": 1}')
    state["b"] = [1, {"c": None}]
    del state["a"]
    assert (len(state), list(state), state.get("a")) == (1, ["b"], None)
    assert json.loads(stored(state)) == {"b": [1, {"c": None}]}
    with pytest.raises(KeyError):
        state["a"]


def test_a_state_that_nobody_looked_at_is_not_written() -> None:
    assert DurableState('{"a": 1}').encode() is None


def test_a_change_deep_inside_is_kept() -> None:
    state = DurableState('{"a": {"b": [1]}}')
    cast("dict[str, list[int]]", state["a"])["b"].append(2)
    assert json.loads(stored(state)) == {"a": {"b": [1, 2]}}


def test_the_same_state_is_stored_in_the_same_way() -> None:
    one, other = DurableState("{}"), DurableState("{}")
    one.update({"a": 1, "b": 2})
    other.update({"b": 2, "a": 1})
    assert one.encode() == other.encode()


def test_a_state_at_its_bound_is_kept_and_above_it_is_refused() -> None:
    state = DurableState("{}")
    state["a"] = "x" * (STATE_BYTES_MAX - len('{"a":""}'))
    assert len(stored(state)) == STATE_BYTES_MAX
    state["a"] = f"{state['a']}x"
    with pytest.raises(ValueError, match=r"1000001 bytes, at most 1000000 are kept"):
        state.encode()


def test_the_bound_is_in_bytes_and_not_in_characters() -> None:
    state = DurableState("{}")
    state["a"] = "ä" * (STATE_BYTES_MAX // 2)
    with pytest.raises(ValueError, match="at most 1000000 are kept"):
        state.encode()


class Thing:
    pass


def nested() -> object:
    loop: list[object] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize("value", [Thing(), print, "\ud800"], ids=["object", "function", "no text"])
def test_what_is_no_json_is_refused(value: object) -> None:
    state = DurableState("{}")
    state["a"] = cast("Json", value)
    with pytest.raises((TypeError, ValueError)):
        state.encode()


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        b"bytes",
        {1, 2},
        {1: "x"},
        2**64,
        datetime(2026, 6, 1, tzinfo=UTC),
    ],
    ids=["nan", "inf", "bytes", "set", "number as a name", "large number", "moment"],
)
def test_no_value_comes_back_as_another(value: object) -> None:
    state = DurableState("{}")
    state["a"] = cast("Json", value)
    try:
        encoded = stored(state)
    except (TypeError, ValueError):
        return
    back: object = DurableState(encoded)["a"]
    assert (type(back), back) == (type(value), value)


def test_a_value_that_holds_itself_is_refused() -> None:
    state = DurableState("{}")
    state["a"] = cast("Json", nested())
    with pytest.raises((TypeError, ValueError)):
        state.encode()


def test_a_tuple_is_kept_as_the_list_that_it_comes_back_as() -> None:
    state = DurableState("{}")
    state["heads"] = {"main": ("a", ["b", ("c",)])}  # type: ignore[dict-item] # as workers do
    encoded = state.encode()
    assert encoded is not None
    assert DurableState(encoded)["heads"] == {"main": ["a", ["b", ["c"]]]}
