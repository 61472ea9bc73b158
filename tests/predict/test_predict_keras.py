"""Does the file hold what `model.predict` returns?"""

from __future__ import annotations

import numpy as np
import pytest

import chunkstore as cs
from tests import support

keras = support.require("keras")

NUM_SAMPLES = 83
BATCH_SIZE = 16


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(NUM_SAMPLES, 12)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((12,), name="x")
    hidden = keras.layers.Dense(64, activation="tanh", name="features")(inputs)
    dropped = keras.layers.Dropout(0.5)(hidden)
    return keras.Model(inputs, keras.layers.Dense(5, activation="softmax", name="label")(dropped))


def test_outputs_equal_predict_bit_for_bit_on_the_same_batches(x, model, tmp_path):
    out = tmp_path / "out.zarr.zip"
    cs.predict(model, {"x": x}, out, batch_size=BATCH_SIZE)
    expected = model.predict(x, batch_size=BATCH_SIZE, verbose=0)
    np.testing.assert_array_equal(cs.load(out)["output"], expected)


def test_the_loader_that_trained_a_model_is_the_source_of_its_predictions(x, model, tmp_path):
    out = tmp_path / "out.zarr.zip"
    arrays = {"x": x, "y": np.arange(NUM_SAMPLES)}
    with cs.Loader(arrays, ("x", "y"), batch_size=BATCH_SIZE) as loader:
        cs.predict(model, loader, out, keep="y")
    got = cs.load(out)
    np.testing.assert_array_equal(got["output"], model.predict(x, batch_size=BATCH_SIZE, verbose=0))
    np.testing.assert_array_equal(got["y"], arrays["y"])


@pytest.mark.parametrize("form", ["list", "dict"])
def test_several_outputs_of_a_model_become_several_arrays(x, model, tmp_path, form):
    features = model.get_layer("features").output
    outputs = [features, model.output] if form == "list" else {"f": features, "l": model.output}
    several = keras.Model(model.input, outputs)
    out = tmp_path / "out.zarr.zip"
    cs.predict(several, {"x": x}, out, batch_size=BATCH_SIZE)
    got = cs.load(out)
    assert list(got) == (["output_0", "output_1"] if form == "list" else ["f", "l"])
    expected = several.predict(x, batch_size=BATCH_SIZE, verbose=0)
    wanted = expected if form == "list" else list(expected.values())
    for array, value in zip(got.values(), wanted, strict=True):
        np.testing.assert_array_equal(array, value)


@pytest.mark.parametrize("form", ["tuple", "dict"])
def test_several_inputs_reach_a_model_in_its_structure(x, tmp_path, form):
    keras.utils.set_random_seed(1)
    a, b = keras.Input((12,), name="a"), keras.Input((12,), name="b")
    total = keras.layers.Dense(2)(keras.layers.Concatenate()([a, b]))
    model = keras.Model([a, b] if form == "tuple" else {"a": a, "b": b}, total)
    arrays = {"a": x, "b": -x}
    names = ("a", "b") if form == "tuple" else {"a": "a", "b": "b"}
    out = tmp_path / "out.zarr.zip"
    cs.predict(model, arrays, out, arrays=names, batch_size=BATCH_SIZE)
    given = [x, -x] if form == "tuple" else arrays
    np.testing.assert_array_equal(
        cs.load(out)["output"], model.predict(given, batch_size=BATCH_SIZE, verbose=0)
    )
