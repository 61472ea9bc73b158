"""A state is small JSON, and a wrong one is refused by name."""

from __future__ import annotations

import json

import numpy as np
import pytest

from chunkstore.pipeline.state import OrderIdentity

IDENTITY = OrderIdentity(
    seed=2**64 - 1,
    batch=64,
    lanes=1,
    window=224,
    run=1,
    last="keep",
    shuffle=True,
    subset=None,
    layout="00112233aabbccdd",
)


def test_state_is_pinned():
    # States are stored in checkpoints: other fields need another version.
    assert IDENTITY.state(epoch=3, step=17) == {
        "v": 1,
        "order": "window-v1",
        "seed": 18446744073709551615,
        "batch": 64,
        "lanes": 1,
        "window": 224,
        "run": 1,
        "last": "keep",
        "shuffle": True,
        "subset": None,
        "layout": "00112233aabbccdd",
        "epoch": 3,
        "step": 17,
    }


def test_state_is_small_json_and_comes_back():
    text = json.dumps(IDENTITY.state(epoch=2**64 - 1, step=10**9))
    assert len(text) < 400
    position = IDENTITY.position(json.loads(text), num_batches=10**9, strict=True)
    assert position == (2**64 - 1, 10**9)


@pytest.mark.parametrize(
    "field",
    [
        "v",
        "order",
        "seed",
        "batch",
        "lanes",
        "window",
        "run",
        "last",
        "shuffle",
        "subset",
        "layout",
    ],
)
def test_each_field_is_checked_and_named(field):
    state = IDENTITY.state(epoch=3, step=2) | {field: "other"}
    with pytest.raises(ValueError, match=f"the state has {field}='other', this loader {field}="):
        IDENTITY.position(state, num_batches=10, strict=True)
    assert IDENTITY.position(state, num_batches=10, strict=False) == (3, 0)
    del state[field]
    with pytest.raises(ValueError, match=f"the state has no field '{field}'"):
        IDENTITY.position(state, num_batches=10, strict=True)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("field", "value"),
    [("epoch", -1), ("epoch", "3"), ("epoch", True), ("step", 11), ("step", 1.0), ("step", None)],
)
def test_positions_outside_the_epoch_are_refused(field, value, strict):
    state = IDENTITY.state(epoch=3, step=2) | {field: value}
    with pytest.raises(ValueError, match=f"the state's {field} must be an integer in"):
        IDENTITY.position(state, num_batches=10, strict=strict)


def test_something_else_is_refused():
    with pytest.raises(TypeError, match="a state is a dict, got str"):
        IDENTITY.position("{}", num_batches=10, strict=True)


@pytest.mark.parametrize(
    ("field", "value"), [("shuffle", 1), ("lanes", True), ("lanes", 1.0), ("seed", np.zeros(2))]
)
def test_a_field_of_another_type_is_refused_though_it_is_equal(field, value):
    state = IDENTITY.state(epoch=3, step=2) | {field: value}
    with pytest.raises(ValueError, match=f"the state has {field}="):
        IDENTITY.position(state, num_batches=10, strict=True)


def test_the_cause_is_named_before_what_follows_from_it():
    state = IDENTITY.state(epoch=3, step=2) | {"window": 1, "subset": "1f", "layout": "2f"}
    with pytest.raises(ValueError, match="the state has layout="):
        IDENTITY.position(state, num_batches=10, strict=True)
    with pytest.raises(ValueError, match="the state has subset="):
        IDENTITY.position(state | {"layout": IDENTITY.layout}, num_batches=10, strict=True)
