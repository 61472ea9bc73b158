"""A pickled loader goes on at its position, with all its options."""

from __future__ import annotations

import inspect
import pickle

import numpy as np

from chunkstore.pipeline.loader import Loader

ARRAYS = {"x": np.arange(60.0).reshape(30, 2), "y": np.arange(30, dtype=np.int16)}


def doubled(samples):
    return samples * 2


# For each option a value that is not the default.
OPTIONS = {
    "batch_size": 4,
    "shuffle": False,
    "seed": 9,
    "epoch": 3,
    "memory": 8 << 20,
    "last": "pad",
    "window": 1,
    "run": 2,
    "lanes": 4,
    "rank": 1,
    "world_size": 2,
    "threads": 1,
    "io": "buffered",
    "dtype": {"x": "f4"},
    "transform": {"y": doubled},
    "weights": list(range(1, 31)),
    "balance": [0, 1] * 15,
    "epoch_samples": 17,
    "on_corrupt": "skip",
}


def test_a_pickled_loader_has_every_option():
    parameters = inspect.signature(Loader).parameters
    options = [name for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY]
    assert set(options) == set(OPTIONS)
    for left_out in ("weights", "balance"):
        given = {name: value for name, value in OPTIONS.items() if name != left_out}
        with Loader(ARRAYS, ("x", "y"), **given) as loader:
            with pickle.loads(pickle.dumps(loader)) as copy:
                assert copy._options == loader._options
                assert copy.names == loader.names
                assert copy.state_dict() == loader.state_dict()
            for name, value in given.items():
                assert getattr(loader._options, name) == value


def test_a_pickled_loader_goes_on_at_its_position():
    arguments = {"batch_size": 4, "seed": 9, "last": "pad", "dtype": {"x": "f4"}, "memory": "8MiB"}
    with Loader(ARRAYS, ("y", {"image": "x"}), rank=1, world_size=2, **arguments) as loader:
        iterator = loader.iter_epoch(3)
        next(iterator)
        with pickle.loads(pickle.dumps(loader)) as copy:
            assert (copy.rank, copy.world_size, copy.window) == (1, 2, loader.window)
            rest, copied = list(iterator), list(copy)
    assert len(rest) == len(copied) == len(loader) - 1
    for (y, x), (copied_y, copied_x) in zip(rest, copied, strict=True):
        assert np.array_equal(y, copied_y)
        assert np.array_equal(x["image"], copied_x["image"])
        assert copied_x["image"].dtype == np.float32
