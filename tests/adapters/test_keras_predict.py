"""Does predict ask Keras models on every backend: whole, by layer, and again after a kill?"""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

import chunkstore as cs
from chunkstore.cli import main
from tests import support

keras = support.require("keras")

from chunkstore.adapters.keras import PredictEachEpoch  # noqa: E402 - needs Keras
from chunkstore.adapters.keras_models import describe  # noqa: E402 - needs Keras
from chunkstore.predicting.identity import object_digest  # noqa: E402 - needs Keras
from tests.adapters.keras_models import weights_of  # noqa: E402 - needs Keras

NUM_SAMPLES = 83
BATCH_SIZE = 16


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(NUM_SAMPLES, 12)).astype(np.float32)


def make_model():
    """Return a model of the same names and weights each time."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    inputs = keras.Input((12,), name="x")
    hidden = keras.layers.Dense(64, activation="tanh", name="features")(inputs)
    dropped = keras.layers.Dropout(0.5, name="dropped")(hidden)
    label = keras.layers.Dense(5, activation="softmax", name="label")(dropped)
    return keras.Model(inputs, label, name="small")


def digest_of(model):
    return object_digest(model, describe)


def expected_of(model, x):
    return model.predict(x, batch_size=BATCH_SIZE, verbose=0)


def test_the_file_equals_predict_bit_for_bit(x, tmp_path):
    model = make_model()
    cs.predict(model, {"x": x}, tmp_path / "out.zarr.zip", batch_size=BATCH_SIZE)
    got = cs.load(tmp_path / "out.zarr.zip")["output"]
    np.testing.assert_array_equal(got, expected_of(model, x))


@pytest.mark.parametrize("names", [("features", "label"), "features"], ids=["two", "one"])
def test_names_of_layers_store_the_outputs_of_these_layers(x, tmp_path, names):
    model = make_model()
    cs.predict(model, {"x": x}, tmp_path / "out.zarr.zip", batch_size=BATCH_SIZE, outputs=names)
    got = cs.load(tmp_path / "out.zarr.zip")
    wanted = (names,) if isinstance(names, str) else names
    assert tuple(got) == wanted
    for name in wanted:
        part = keras.Model(model.input, model.get_layer(name).output)
        np.testing.assert_allclose(got[name], expected_of(part, x), rtol=1e-6, atol=1e-7)


def test_a_name_that_is_no_layers_names_the_output(x, tmp_path):
    model = make_model()
    cs.predict(model, {"x": x}, tmp_path / "out.zarr.zip", batch_size=BATCH_SIZE, outputs="class")
    assert list(cs.load(tmp_path / "out.zarr.zip")) == ["class"]


class Interrupted(Exception):
    pass


def interrupt(monkeypatch, after):
    """Let models fail at their next batches."""
    whole, calls = keras.Model.predict_on_batch, []

    def predict_on_batch(model, inputs):
        if len(calls) == after:
            raise Interrupted
        calls.append(len(inputs))
        return whole(model, inputs)

    monkeypatch.setattr(keras.Model, "predict_on_batch", predict_on_batch)
    return calls


def test_the_same_model_goes_on_and_ends_in_the_same_bytes(x, tmp_path, monkeypatch):
    out, whole = tmp_path / "out.zarr.zip", tmp_path / "whole.zarr.zip"
    cs.predict(make_model(), {"x": x}, whole, batch_size=BATCH_SIZE)
    with monkeypatch.context() as patch:
        interrupt(patch, after=3)
        with pytest.raises(Interrupted):
            cs.predict(make_model(), {"x": x}, out, batch_size=BATCH_SIZE)
    model = make_model()
    calls = interrupt(monkeypatch, after=100)
    cs.predict(model, {"x": x}, out, batch_size=BATCH_SIZE)
    assert 0 < sum(calls) < NUM_SAMPLES
    assert out.read_bytes() == whole.read_bytes()


def test_the_digest_follows_structure_and_weights_but_not_the_optimizer():
    digests = [digest_of(make_model()) for _ in range(2)]
    compiled = make_model()
    compiled.compile(keras.optimizers.Adam(0.1), "mse")
    assert {*digests, digest_of(compiled)} == {digests[0]}
    other = make_model()
    other.get_layer("dropped").rate = 0.25
    assert digest_of(other) != digests[0]


def test_features_of_other_weights_are_never_continued(x, tmp_path, monkeypatch):
    out = tmp_path / "out.zarr.zip"
    model = make_model()
    with monkeypatch.context() as patch:
        interrupt(patch, after=3)
        with pytest.raises(Interrupted):
            cs.predict(model, {"x": x}, out, batch_size=BATCH_SIZE)
    values = weights_of(model)
    values[0][0, 0] += 1
    model.weights[0].assign(values[0])
    with pytest.raises(FileExistsError, match="was begun with another model"):
        cs.predict(model, {"x": x}, out, batch_size=BATCH_SIZE)
    cs.predict(model, {"x": x}, out, batch_size=BATCH_SIZE, overwrite=True)
    np.testing.assert_array_equal(cs.load(out)["output"], expected_of(model, x))


def test_the_loader_that_trained_a_model_is_the_source_of_its_predictions(x, tmp_path):
    model = make_model()
    out = tmp_path / "out.zarr.zip"
    arrays = {"x": x, "y": np.arange(NUM_SAMPLES)}
    with cs.Loader(arrays, ("x", "y"), batch_size=BATCH_SIZE) as loader:
        cs.predict(model, loader, out, keep="y")
    got = cs.load(out)
    np.testing.assert_array_equal(got["output"], expected_of(model, x))
    np.testing.assert_array_equal(got["y"], arrays["y"])


@pytest.mark.parametrize("form", ["list", "dict"])
def test_several_outputs_of_a_model_become_several_arrays(x, tmp_path, form):
    model = make_model()
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


def test_the_command_line_predicts_with_a_saved_model(x, tmp_path):
    model = make_model()
    model.save(tmp_path / "model.keras")
    cs.save(tmp_path / "in.zarr.zip", {"x": x, "y": np.arange(NUM_SAMPLES)})
    paths = [str(tmp_path / name) for name in ("model.keras", "in.zarr.zip", "out.zarr.zip")]
    options = ["--array", "x", "--keep", "y", "--output", "features", "--output", "label"]
    run = ["predict", *paths, *options, "--batch-size", str(BATCH_SIZE)]
    result = CliRunner().invoke(main, run)
    assert result.exit_code == 0, result.output
    assert "features: 83x64 float32\nlabel: 83x5 float32\ny: 83 int64" in result.output
    got = cs.load(paths[2])
    np.testing.assert_allclose(got["label"], expected_of(model, x), rtol=1e-5, atol=1e-7)
    again = CliRunner().invoke(main, run)
    assert again.exit_code == 2
    assert "--overwrite replaces it" in again.output


def test_a_name_that_no_layer_has_is_told(x, tmp_path):
    make_model().save(tmp_path / "model.keras")
    cs.save(tmp_path / "in.zarr.zip", {"x": x})
    paths = [str(tmp_path / name) for name in ("model.keras", "in.zarr.zip", "out.zarr.zip")]
    result = CliRunner().invoke(main, ["predict", *paths, "--array", "x", "--output", "pooled"])
    assert result.exit_code == 0, result.output
    assert "warning: no layer is called 'pooled'" in result.stderr
    assert "features" in result.stderr


@pytest.mark.parametrize("every", [1, 2])
def test_a_callback_writes_the_predictions_of_each_epoch(x, tmp_path, every):
    model = make_model()
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    arrays = {"x": x, "y": np.arange(NUM_SAMPLES) % 5}
    expected = {}

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            expected[epoch + 1] = expected_of(self.model, x)

    with (
        cs.Loader(arrays, ("x", "y"), batch_size=BATCH_SIZE) as loader,
        cs.Loader(arrays, ("x", "y"), batch_size=BATCH_SIZE, shuffle=False) as valid,
    ):
        outputs = PredictEachEpoch(
            valid, tmp_path / "valid-{epoch:02d}.zarr.zip", every=every, keep="y", outputs="class"
        )
        history = model.fit(
            loader.keras(),
            validation_data=valid.keras(),
            epochs=4,
            callbacks=[Look(), outputs],
            verbose=0,
        ).history
    paths = sorted(tmp_path.iterdir())
    assert [path.name[:8] for path in paths] == [
        f"valid-{epoch:02d}" for epoch in range(every, 5, every)
    ]
    for path, epoch in zip(paths, range(every, 5, every), strict=True):
        got = cs.load(path)
        np.testing.assert_array_equal(got["class"], expected[epoch])
        np.testing.assert_array_equal(got["y"], arrays["y"])
        loss = -np.log(got["class"][np.arange(NUM_SAMPLES), got["y"]]).mean()
        assert loss == pytest.approx(history["val_loss"][epoch - 1], rel=1e-4)


def test_a_path_without_a_field_keeps_the_newest_epoch_and_an_unknown_field_is_named(x, tmp_path):
    model = make_model()
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    arrays = {"x": x, "y": np.arange(NUM_SAMPLES) % 5}
    newest = PredictEachEpoch(
        arrays, tmp_path / "newest.zarr.zip", arrays="x", batch_size=BATCH_SIZE
    )
    with cs.Loader(arrays, ("x", "y"), batch_size=BATCH_SIZE) as loader:
        model.fit(loader.keras(), epochs=2, callbacks=[newest], verbose=0)
        got = cs.load(tmp_path / "newest.zarr.zip")["output"]
        np.testing.assert_array_equal(got, expected_of(model, x))
        wrong = PredictEachEpoch(arrays, tmp_path / "{val_loss}.zarr.zip", arrays="x")
        with pytest.raises(KeyError, match=r"names 'val_loss', which the logs have not; .* loss"):
            model.fit(loader.keras(), callbacks=[wrong], verbose=0)
    with pytest.raises(ValueError, match="positive number of epochs, got 0"):
        PredictEachEpoch(arrays, tmp_path / "x", every=0)


def test_the_code_of_a_layer_of_ones_own_belongs_to_the_model(x, tmp_path, monkeypatch):
    def model_of(by):
        keras.backend.clear_session()
        keras.utils.set_random_seed(1)

        class Own(keras.layers.Layer):
            if by == 2:

                def call(self, inputs):
                    return inputs * 2

            else:

                def call(self, inputs):
                    return inputs * 3

        return keras.Sequential([keras.Input((12,)), Own(name="own")], name="small")

    out = tmp_path / "out.zarr.zip"
    model = model_of(2)
    with monkeypatch.context() as patch:
        interrupt(patch, after=3)
        with pytest.raises(Interrupted):
            cs.predict(model, {"x": x}, out, batch_size=BATCH_SIZE)
    with pytest.raises(FileExistsError, match="was begun with another model"):
        cs.predict(model_of(3), {"x": x}, out, batch_size=BATCH_SIZE)
    cs.predict(model_of(2), {"x": x}, out, batch_size=BATCH_SIZE)
    np.testing.assert_array_equal(cs.load(out)["output"], x * 2)


def nested_model():
    inner_in = keras.Input((12,), name="inner_in")
    hidden = keras.layers.Dense(4, name="features")(inner_in)
    backbone = keras.Model(inner_in, keras.layers.Dense(3, name="last")(hidden), name="backbone")
    return keras.Sequential([keras.Input((12,)), backbone], name="whole")


def test_a_sequential_model_shows_its_layers(x, tmp_path):
    layers = [keras.layers.Dense(4, name="features"), keras.layers.Dense(2, name="label")]
    model = keras.Sequential([keras.Input((12,)), *layers])
    out = tmp_path / "out.zarr.zip"
    cs.predict(model, {"x": x}, out, batch_size=BATCH_SIZE, outputs=("features", "label"))
    got = cs.load(out)
    np.testing.assert_allclose(got["label"], expected_of(model, x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        got["features"], x @ weights_of(model)[0] + weights_of(model)[1], rtol=1e-3, atol=1e-4
    )


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="own")
        self.dense = keras.layers.Dense(2, name="features")

    def call(self, inputs):
        return self.dense(inputs)


@pytest.mark.parametrize(
    ("make", "names", "message"),
    [
        (make_model, "fetures", "fetures: no layer of small; there is features"),
        (make_model, ("features", "new"), "new: not among the layers of small, .*features, drop"),
        (nested_model, "features", "features: a layer inside backbone, not of whole itself"),
        (Subclassed, "features", "a Subclassed; only functional and sequential models show"),
    ],
    ids=["typo", "some", "nested", "subclassed"],
)
def test_a_name_that_is_meant_to_be_a_layers_stores_no_other_output(
    x, tmp_path, make, names, message
):
    model = make()
    model.predict_on_batch(x[:2])
    with pytest.raises(ValueError, match=message):
        cs.predict(model, {"x": x}, tmp_path / "out.zarr.zip", outputs=names)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("names", [("l",), ("l", "features")], ids=["outputs", "layers-too"])
def test_a_model_with_a_dict_of_outputs_shows_its_layers(x, tmp_path, names):
    model = make_model()
    named = keras.Model(model.input, {"l": model.output, "d": model.get_layer("dropped").output})
    out = tmp_path / "out.zarr.zip"
    cs.predict(named, {"x": x}, out, batch_size=BATCH_SIZE, outputs=names)
    got = cs.load(out)
    assert tuple(got) == names
    np.testing.assert_allclose(got["l"], expected_of(model, x), rtol=1e-5, atol=1e-7)


def test_outputs_of_mixed_precision_are_stored_as_float32(x, tmp_path):
    model = keras.Sequential([keras.Input((12,)), keras.layers.Dense(3, dtype="mixed_bfloat16")])
    out = tmp_path / "out.zarr.zip"
    cs.predict(model, {"x": x}, out)
    assert cs.load(out)["output"].dtype == np.float32


def my_loss(y, prediction):
    return keras.ops.mean(y - prediction)


class OfOnesOwn(keras.layers.Layer):
    def call(self, inputs):
        return inputs * 2


def run_command(tmp_path, *options):
    paths = [str(tmp_path / name) for name in ("model.keras", "in.zarr.zip", "out.zarr.zip")]
    return CliRunner().invoke(main, ["predict", *paths, "--array", "x", *options])


def test_the_command_line_needs_no_loss_and_takes_the_options_of_predict(x, tmp_path):
    model = make_model()
    model.compile("sgd", my_loss)
    model.save(tmp_path / "model.keras")
    cs.save(tmp_path / "in.zarr.zip", {"x": x})
    result = run_command(tmp_path, "--tag", "small", "--codec", "gzip", "--level", "2")
    assert result.exit_code == 0, result.output
    with cs.open(tmp_path / "out.zarr.zip") as store:
        assert "gzip" in store["output"].codec
        state = store.attributes["predict"]
        assert (state["tag"], state["codec"], state["level"]) == ("small", "gzip", 2)
    result = run_command(tmp_path, "--no-resume", "--overwrite")
    assert result.exit_code == 0, result.output
    with cs.open(tmp_path / "out.zarr.zip") as store:
        assert dict(store.attributes) == {}


@pytest.mark.parametrize(
    ("layer", "options", "message"),
    [
        (OfOnesOwn, (), "load such a model in Python, and call chunkstore.predict"),
        (keras.layers.Identity, ("--dtype", "flaot"), "--dtype: 'flaot' is no type"),
    ],
    ids=["layer", "dtype"],
)
def test_what_the_command_line_cannot_do_is_one_line(x, tmp_path, layer, options, message):
    keras.Sequential([keras.Input((12,)), layer()]).save(tmp_path / "model.keras")
    cs.save(tmp_path / "in.zarr.zip", {"x": x})
    result = run_command(tmp_path, *options)
    assert result.exit_code == 2
    assert message in result.output
    assert result.output.startswith("error: ")
    assert result.output.count("\n") == 1


@pytest.mark.parametrize("is_sequential", [False, True])
def test_an_output_may_be_called_nearly_as_the_layer_that_makes_it(tmp_path, is_sequential):
    layers = [keras.layers.Dense(4, name="hidden"), keras.layers.Dense(2, name="features")]
    model = keras.Sequential([keras.Input((3,)), *layers])
    if not is_sequential:
        model = keras.Model(model.inputs[0], model.get_layer("features").output)
    data = {"x": np.arange(30, dtype="f4").reshape(10, 3)}
    out = tmp_path / "out.zarr.zip"
    cs.predict(model, data, out, arrays="x", batch_size=4, outputs="feature")
    with cs.open(out) as store:
        assert store["feature"].shape == (10, 2)
    with pytest.raises(ValueError, match=r"hiddem: no layer of .*; there is hidden"):
        cs.predict(model, data, tmp_path / "b.zarr.zip", arrays="x", batch_size=4, outputs="hiddem")
