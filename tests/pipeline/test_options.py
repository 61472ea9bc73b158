"""Each option of a Loader is of its kind, or refused by name when the loader is made."""

from __future__ import annotations

import json

import numpy as np
import pytest

from chunkstore.pipeline.loader import Loader

ARRAYS = {"x": np.zeros((40, 3), "f4"), "y": np.arange(40)}


@pytest.mark.parametrize(
    "name",
    [
        "batch_size",
        "seed",
        "epoch",
        "window",
        "run",
        "lanes",
        "rank",
        "world_size",
        "threads",
        "epoch_samples",
    ],
)
@pytest.mark.parametrize("value", [1.0, "1", True, np.bool_(True), [1], np.array([1, 2])])
def test_what_is_no_integer_is_refused_by_name(name, value):
    with pytest.raises(TypeError, match=f"^{name} must be an integer, got "):
        Loader(ARRAYS, "y", **({"batch_size": 4} | {name: value}))


@pytest.mark.parametrize("name", ["batch_size", "window", "run", "lanes", "threads"])
@pytest.mark.parametrize("value", [0, -3])
def test_a_number_below_one_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be at least 1, got {value}$"):
        Loader(ARRAYS, "y", **({"batch_size": 4} | {name: value}))


@pytest.mark.parametrize("value", ["no", "keep", None, 1, 0])
def test_shuffle_is_true_or_false(value):
    with pytest.raises(TypeError, match="shuffle must be True or False, got "):
        Loader(ARRAYS, "y", batch_size=4, shuffle=value)


def test_numbers_of_numpy_leave_a_state_that_is_json():
    numbers = {
        name: np.int64(value)
        for name, value in {"batch_size": 4, "seed": 3, "epoch": 2, "window": 1, "lanes": 2}.items()
    }
    with Loader(ARRAYS, "y", **numbers, shuffle=np.bool_(True)) as loader:
        next(iter(loader))
        loader.set_epoch(np.uint8(2))
        state = json.loads(json.dumps(loader.state_dict()))
        loader.load_state_dict(state)
        assert loader.order(np.int32(2), step=np.int64(1)).tolist() == loader.order(2)[4:].tolist()
        for _ in loader.iter_epoch(np.int64(5), np.int64(9)):
            pass
        assert json.loads(json.dumps(loader.state_dict()))["epoch"] == 6


@pytest.mark.parametrize("step", [-1, 11, 1.0])
def test_the_order_from_a_step_that_is_not_there_is_refused(step):
    with (
        Loader(ARRAYS, "y", batch_size=4) as loader,
        pytest.raises((TypeError, ValueError), match="step must be "),
    ):
        loader.order(step=step)


def test_a_batch_that_no_memory_holds_is_refused_at_once():
    with pytest.raises(ValueError, match=r"beside 20000000000040 bytes of batches: give at least"):
        Loader(ARRAYS, ("x", "y"), batch_size=10**12 // 3 + 1, last="pad")
    with Loader(ARRAYS, ("x", "y"), batch_size=10**12) as loader:
        assert [len(y) for _, y in loader] == [40]


def test_an_epoch_that_nothing_could_plan_is_refused_at_once():
    with pytest.raises(ValueError, match="epoch_samples=1000000000000 would read 25000000001 chun"):
        Loader(ARRAYS, "y", batch_size=4, weights=np.ones(40), epoch_samples=10**12)


@pytest.mark.parametrize("name", ["io", "last", "on_corrupt"])
def test_a_choice_of_another_type_is_refused_by_name(name):
    with pytest.raises(ValueError, match=f"^{name} must be '"):
        Loader(ARRAYS, "y", batch_size=4, **{name: np.zeros(3)})
