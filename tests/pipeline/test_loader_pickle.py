"""A pickled loader goes on at its position."""

from __future__ import annotations

import pickle

import numpy as np

from chunkstore.pipeline.loader import Loader

ARRAYS = {"x": np.arange(60.0).reshape(30, 2), "y": np.arange(30, dtype=np.int16)}


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
