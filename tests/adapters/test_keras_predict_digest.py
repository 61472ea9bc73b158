"""Does a Keras model count as another one when anything that it computes with is another one?"""

from __future__ import annotations

import numpy as np
import pytest

import chunkstore as cs
from tests import support

keras = support.require("keras")

from chunkstore.adapters.keras_models import describe  # noqa: E402 - needs Keras
from chunkstore.predicting.identity import object_digest  # noqa: E402 - needs Keras

FACTOR = 2.0


def digest_of(model):
    return object_digest(model, describe)


class Own(keras.layers.Layer):
    """A layer whose outputs follow from what no config holds."""

    def call(self, inputs):
        return keras.ops.multiply(inputs, getattr(self, "k", 1.0))


class OwnDense(keras.layers.Dense):
    def call(self, inputs):
        return super().call(inputs) * self._k


class WithGlobal(keras.layers.Layer):
    def call(self, inputs):
        return inputs * FACTOR


def with_attribute(layer, **attributes):
    for name, value in attributes.items():
        setattr(layer, name, value)
    return layer


def act_of(k):
    def act(x):
        return x * k

    return act


def lookup_of(k):
    layer = keras.layers.IntegerLookup()
    layer.adapt(np.array([1, 1, int(k)]))
    return layer


def normalization_of(k):
    layer = keras.layers.Normalization()
    layer.adapt(np.array([[0.0], [k]], "f4"))
    return layer


def nested_of(k):
    inputs = keras.Input((1,), name="inner_in")
    outputs = with_attribute(Own(name="own"), k=k)(inputs)
    return keras.Model(inputs, outputs, name="inner")


LAYERS = {
    "attribute": lambda k: with_attribute(Own(name="own"), k=k),
    "private": lambda k: with_attribute(
        OwnDense(1, kernel_initializer="ones", name="own"), _k=k, units=1
    ),
    "array": lambda k: with_attribute(Own(name="own"), k=np.array([k])),
    "tensor": lambda k: with_attribute(Own(name="own"), k=keras.ops.convert_to_tensor([k])),
    "function": lambda k: with_attribute(Own(name="own"), f=act_of(k)),
    "list": lambda k: with_attribute(Own(name="own"), parts=[{"k": k}, (k,)]),
    "call": lambda k: with_attribute(keras.layers.Identity(name="own"), call=act_of(k)),
    "of-keras": lambda k: with_attribute(keras.layers.LeakyReLU(name="own"), negative_slope=k),
    "activation": lambda k: keras.layers.Activation(act_of(k), name="own"),
    "of-dense": lambda k: keras.layers.Dense(1, act_of(k), kernel_initializer="ones", name="own"),
    "adapted": normalization_of,
    "nested": nested_of,
    "wrapped": lambda k: keras.layers.TimeDistributed(with_attribute(Own(name="own"), k=k)),
    "weights": lambda k: keras.layers.Dense(
        1, kernel_initializer=keras.initializers.Constant(k), name="own"
    ),
}
if keras.backend.backend() == "tensorflow":
    LAYERS["lookup"] = lookup_of


def model_of(make, k):
    """Return a model of the same names each time."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    layer = make(k)
    shape = (1, 1) if isinstance(layer, keras.layers.TimeDistributed) else (1,)
    return keras.Sequential([keras.Input(shape), layer], name="small")


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_whatever_a_layer_computes_with_belongs_to_the_model(make):
    same = [digest_of(model_of(make, 2.0)) for _ in range(2)]
    assert same[0] == same[1] is not None
    assert digest_of(model_of(make, 3.0)) != same[0]


def test_what_the_call_of_a_layer_names_belongs_to_the_model(monkeypatch):
    def made():
        return digest_of(model_of(lambda k: WithGlobal(name="own"), 0))

    before = made()
    assert before == made() is not None
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    assert made() not in {before, None}


def test_using_and_compiling_a_model_does_not_change_it():
    model = model_of(LAYERS["attribute"], 2.0)
    before = digest_of(model)
    model.predict(np.ones((3, 1), "f4"), verbose=0)
    model.compile("adam", "mse", metrics=["mae"])
    model.predict_on_batch(np.ones((2, 1), "f4"))
    model.evaluate(np.ones((3, 1), "f4"), np.ones((3, 1), "f4"), verbose=0)
    assert digest_of(model) == before


@pytest.mark.parametrize(
    "make",
    [
        lambda k: keras.layers.Dropout(0.5, name="own"),
        lambda k: keras.layers.BatchNormalization(name="own"),
        lambda k: keras.layers.Dense(2, kernel_regularizer="l2", name="own"),
        lambda k: keras.layers.Rescaling(0.5, name="own"),
        lambda k: keras.layers.Dense(2, dtype="mixed_bfloat16", name="own"),
    ],
    ids=["dropout", "batch-norm", "regularizer", "rescaling", "mixed"],
)
def test_layers_of_keras_have_a_digest_that_no_seed_changes(make):
    first = model_of(make, 0)
    value = [keras.ops.convert_to_numpy(weight.value).copy() for weight in first.weights]
    other = model_of(make, 0)
    other.set_weights(value)
    assert digest_of(first) == digest_of(other) is not None


class NoConfig(keras.layers.Layer):
    def __init__(self, function):
        super().__init__(name="own")
        self.function = function

    def call(self, inputs):
        return inputs


@pytest.mark.parametrize(
    "make",
    [
        lambda k: with_attribute(Own(name="own"), rest=iter([k])),
        lambda k: NoConfig(np.random.default_rng(0)),
        lambda k: keras.layers.Activation(act_of(iter([k])), name="own"),
    ],
    ids=["attribute", "no-config", "activation"],
)
def test_a_layer_that_cannot_be_seen_has_no_digest(make):
    assert digest_of(model_of(make, 2.0)) is None


def test_a_changed_attribute_is_another_model(tmp_path, monkeypatch):
    x = np.ones((64, 1), "f4")
    out = tmp_path / "out.zarr.zip"
    calls, whole = [], keras.Model.predict_on_batch

    def predict_on_batch(model, inputs):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return whole(model, inputs)

    monkeypatch.setattr(keras.Model, "predict_on_batch", predict_on_batch)
    model = model_of(LAYERS["attribute"], 2.0)
    with pytest.raises(KeyboardInterrupt):
        cs.predict(model, {"x": x}, out, batch_size=8)
    model.layers[0].k = 3.0
    with pytest.raises(FileExistsError, match="was begun with another model"):
        cs.predict(model, {"x": x}, out, batch_size=8)
    model.layers[0].k = 2.0
    cs.predict(model, {"x": x}, out, batch_size=8)
    assert len(calls) < 4 + 8
    np.testing.assert_array_equal(cs.load(out)["output"], 2 * x)
