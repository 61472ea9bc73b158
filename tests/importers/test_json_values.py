"""A plain value comes back from its text, and a hostile one is refused in bounded time."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.importers import json_values
from chunkstore.importers.json_values import JsonTextError, from_json_text, to_json_text
from tests.importers.bcolz.test_pickles import PLAIN

HALVES = st.text(st.characters(codec=None, categories=["Lu", "Cs"]), max_size=4)
HUGE = st.integers(-(1 << 20_000), 1 << 20_000)


@given(
    value=st.recursive(
        PLAIN | HALVES | HUGE,
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(HALVES | st.integers() | st.sampled_from(["$set", "$x"]), inner)
            | st.tuples(inner)
            | st.frozensets(st.tuples(HALVES, st.integers()))
        ),
        max_leaves=8,
    )
)
def test_every_value_comes_back_from_text_that_is_json(value):
    text = to_json_text(value)
    json.loads(text.decode("utf-8"))
    back = from_json_text(text)
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        ([True, 1, -0.5, "ä\n"], '[true,1,-0.5,"ä\\n"]'),
        ({"a": (1, b"x")}, '{"a":{"$tuple":[1,{"$bytes":"eA=="}]}}'),
        ({1: {2, 1}}, '{"$dict":[[1,{"$set":[1,2]}]]}'),
        ({"$a": 1}, '{"$dict":[["$a",1]]}'),
        (complex("nan"), '{"$complex":[{"$float":"nan"},0.0]}'),
        (1 << 2048, '{"$int":"0x1' + "0" * 512 + '"}'),
        ("a\ud83d", '{"$text":"Ye2gvQ=="}'),
        ({"\ud83d": 1}, '{"$dict":[[{"$text":"7aC9"},1]]}'),
    ],
)
def test_the_words_are_these(value, text):
    assert to_json_text(value).decode() == text


def nested(depth, outer):
    value = outer([])
    for _ in range(depth):
        value = outer([value])
    return value


def loop():
    value = []
    value.append([value, value])
    return value


def loop_in_a_dict():
    value = {}
    value["a"] = {1: value}
    return value


@pytest.mark.parametrize(
    "value",
    [
        nested(100_000, list),
        nested(5_000, tuple),
        nested(5_000, lambda items: {"a": items}),
        nested(101, frozenset),
        loop(),
        loop_in_a_dict(),
    ],
    ids=["lists", "tuples", "dicts", "sets", "a list in itself", "a dict in itself"],
)
def test_what_is_nested_without_end_is_refused(value):
    with pytest.raises(JsonTextError, match="nested more than 100 deep, or holds itself"):
        to_json_text(value)


def test_a_hundred_levels_are_written():
    value = nested(99, list)
    assert from_json_text(to_json_text(value)) == value


def shared(outer):
    value = outer(["abc"])
    for _ in range(45):
        value = outer([value, value])
    return value


@pytest.mark.parametrize("outer", [list, tuple, lambda items: frozenset(enumerate(items))])
def test_a_small_value_that_would_be_a_huge_text_is_refused(outer, monkeypatch):
    monkeypatch.setattr(json_values, "MAX_TEXT_LENGTH", 1 << 20)
    with pytest.raises(JsonTextError, match="more than 1048576 letters"):
        to_json_text(shared(outer))


def test_what_is_no_plain_value_is_named():
    with pytest.raises(TypeError, match=r"a builtins\.object is no plain value"):
        to_json_text([1, {"a": object()}])
