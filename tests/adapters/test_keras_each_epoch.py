"""What is refused before an epoch is trained whose predictions could not be written?"""

from __future__ import annotations

import numpy as np
import pytest

import chunkstore as cs
from tests import support

keras = support.require("keras")

ARRAYS = {
    "x": np.ones((8, 2), np.float32),
    "y": np.ones((8, 1), np.float32),
    "z": np.ones(8, np.float32),
}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("valid-{}.zarr.zip", r"the field \{\} has no name"),
        ("valid-{0}.zarr.zip", r"the field \{0\} has no name"),
        ("valid-{epoch.zarr.zip", "expected '}'"),
        ("valid-{epoch:Q}.zarr.zip", "Unknown format code 'Q'"),
        ("valid-{val_loss:d}.zarr.zip", "Unknown format code 'd'"),
    ],
)
def test_a_path_that_no_epoch_can_fill_in_is_refused(path, message):
    with pytest.raises(ValueError, match=f"cannot be filled in: .*{message}.*Fields are epoch"):
        cs.keras.PredictEachEpoch(ARRAYS, path, arrays="x")


def test_fields_and_braces_are_no_problem(tmp_path):
    for name in ("{epoch:03d}-{val_loss:.2f}", "{{{epoch}}}", "newest"):
        cs.keras.PredictEachEpoch(ARRAYS, tmp_path / name, arrays="x")


@pytest.mark.parametrize("option", ["array", "overwrite", "resume", "tag"])
def test_options_that_are_not_there_are_refused_by_name(tmp_path, option):
    with pytest.raises(TypeError, match=f"has no option {option}; it takes every, arrays, .*keep"):
        cs.keras.PredictEachEpoch(ARRAYS, tmp_path / "a", arrays="x", **{option: True})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arrays": "q"}, "'q'"),
        ({"arrays": "x", "keep": ("y", "q")}, "'q'"),
        ({}, "say by arrays= which of them the model takes"),
    ],
    ids=["inputs", "kept", "none"],
)
def test_arrays_that_the_source_has_not_are_refused(tmp_path, options, message):
    with pytest.raises((KeyError, ValueError), match=message):
        cs.keras.PredictEachEpoch(ARRAYS, tmp_path / "a", **options)


def test_a_folder_that_does_not_exist_is_refused_before_anything_is_trained(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    outputs = cs.keras.PredictEachEpoch(ARRAYS, tmp_path / "no" / "{epoch}.zip", arrays="x")
    with (
        cs.Loader(ARRAYS, ("x", "y"), batch_size=4) as loader,
        pytest.raises(FileNotFoundError, match=r"no folder .*no, so nothing can be written"),
    ):
        model.fit(loader.keras(), callbacks=[outputs], verbose=0)
    assert not int(model.optimizer.iterations.value)
