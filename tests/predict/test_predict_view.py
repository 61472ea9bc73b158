"""Predictions for a part of the data, for several files, and for transformed samples."""

from __future__ import annotations

import numpy as np

import chunkstore as cs
from chunkstore import transforms


def data(count, first=0):
    y = np.arange(first, first + count)
    return {"x": np.repeat(y[:, np.newaxis], 4, axis=1).astype(np.float32), "y": y}


def double(x):
    return x[:, 0] * 2


def test_outputs_stand_in_the_order_of_the_view(tmp_path):
    cs.save(tmp_path / "a.zarr.zip", data(300), chunk_nbytes=1024)
    with cs.open(tmp_path / "a.zarr.zip") as store:
        view = cs.concat([store.select(slice(7, None, 3)), data(50, first=1000)])
        cs.predict(double, view, tmp_path / "out.zarr.zip", arrays="x", keep=("y",))
        expected = view["y"][:]
    with cs.open(tmp_path / "out.zarr.zip") as out:
        assert out["y"][:].tolist() == expected.tolist()
        (name,) = set(out) - {"y"}
        assert out[name][:].ravel().tolist() == (2 * expected).tolist()


def test_a_loader_s_transforms_are_those_of_its_predictions(tmp_path):
    arrays = data(100)
    steps = {"x": transforms.scale(10), "y": transforms.one_hot(100)}
    with cs.Loader(arrays, ("x", "y"), batch_size=16, transform=steps) as loader:
        cs.predict(double, loader, tmp_path / "out.zarr.zip", keep=("y",))
    with cs.open(tmp_path / "out.zarr.zip") as out:
        (name,) = set(out) - {"y"}
        assert out[name][:].ravel().tolist() == (20 * arrays["y"]).tolist()
        assert out["y"][:].tolist() == arrays["y"].tolist()
