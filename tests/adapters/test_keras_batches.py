"""Which batches can a Keras model take from a loader, and which are refused?"""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import chunkstore as cs
from tests import support

keras = support.require("keras")

from tests.adapters.keras_models import (  # noqa: E402 - needs Keras
    BACKEND,
    BATCH_SIZE,
    counting_model,
    data_set,
    write_file,
)

NUM_SAMPLES = 22


@pytest.fixture
def arrays():
    return data_set(NUM_SAMPLES)


def compiled(model, **options):
    """Compile a model so that training leaves it as it is and its losses can be compared."""
    model.compile(keras.optimizers.SGD(0.0), "mse", **options)
    return model


def dense_model(**options):
    keras.utils.set_random_seed(0)
    return compiled(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), **options)


def test_the_third_part_of_a_batch_is_the_weight_of_its_samples(arrays):
    model = dense_model(weighted_metrics=["mae"])
    expected = model.evaluate(
        arrays["x"], arrays["y"], sample_weight=arrays["w"], verbose=0, return_dict=True
    )
    unweighted = model.evaluate(arrays["x"], arrays["y"], verbose=0, return_dict=True)
    with cs.Loader(arrays, ("x", "y", "w"), batch_size=BATCH_SIZE) as loader:
        got = model.evaluate(loader.keras(), verbose=0, return_dict=True)
        trained = model.fit(loader.keras(), verbose=0).history
    assert got["mae"] == pytest.approx(expected["mae"], rel=1e-5)
    assert trained["mae"][0] == pytest.approx(expected["mae"], rel=1e-5)
    assert got["mae"] != pytest.approx(unweighted["mae"], rel=1e-3)


def test_class_weights_weigh_the_labels(arrays):
    arrays["y"] = arrays["y"] % 3
    weights = {0: 1.0, 1: 5.0, 2: 0.0}
    model = dense_model(weighted_metrics=["mae"])
    expected = model.fit(arrays["x"], arrays["y"], class_weight=weights, verbose=0).history
    with cs.Loader(arrays, ("x", "y"), batch_size=BATCH_SIZE) as loader:
        got = model.fit(loader.keras(), class_weight=weights, verbose=0).history
    assert got["mae"] == pytest.approx(expected["mae"], rel=1e-5)


@pytest.fixture
def branches():
    """Return arrays for two inputs and two outputs, and a model that names them."""
    rng = np.random.default_rng(0)
    shapes = {"image": (3, 3, 1), "size": (2,), "label": (4,), "box": (1,)}
    arrays = {
        name: rng.normal(size=(NUM_SAMPLES, *shape)).astype(np.float32)
        for name, shape in shapes.items()
    }
    keras.utils.set_random_seed(0)
    image, size = (keras.Input(shapes[name], name=name) for name in ("image", "size"))
    joined = keras.layers.Concatenate()([keras.layers.Flatten()(image), size])
    label, box = (
        keras.layers.Dense(n, name=name)(joined) for name, n in (("label", 4), ("box", 1))
    )
    return arrays, {"image": image, "size": size}, {"label": label, "box": box}


def test_dicts_of_inputs_and_outputs_reach_them_by_name(branches):
    arrays, inputs, outputs = branches
    model = compiled(keras.Model(inputs, outputs))
    names = ({"size": "size", "image": "image"}, {"box": "box", "label": "label"})
    whole = tuple({key: arrays[key] for key in part} for part in names)
    expected = model.evaluate(*whole, verbose=0, return_dict=True)
    with cs.Loader(arrays, names, batch_size=BATCH_SIZE) as loader:
        history = model.fit(loader.keras(), verbose=0).history
        got = model.evaluate(loader.keras(), verbose=0, return_dict=True)
    assert got["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert history["loss"][0] == pytest.approx(expected["loss"], rel=1e-5)


def test_nested_tuples_reach_inputs_and_outputs_by_position(branches):
    arrays, inputs, outputs = branches
    model = compiled(keras.Model(list(inputs.values()), list(outputs.values())))
    names = (("image", "size"), ("label", "box"))
    whole = tuple([arrays[key] for key in part] for part in names)
    expected = model.evaluate(*whole, verbose=0, return_dict=True)
    with cs.Loader(arrays, names, batch_size=BATCH_SIZE) as loader:
        history = model.fit(loader.keras(), verbose=0).history
    assert history["loss"][0] == pytest.approx(expected["loss"], rel=1e-5)


def test_without_names_the_input_is_a_dict_of_all_arrays(branches):
    arrays, inputs, outputs = branches
    model = keras.Model(inputs, outputs["box"])
    given = {name: arrays[name] for name in inputs}
    with cs.Loader(given, batch_size=BATCH_SIZE, shuffle=False) as loader:
        got = model.predict(loader.keras(), verbose=0)
    np.testing.assert_allclose(got, model.predict(given, verbose=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("names", ["x", ("x",), ("x", "y")], ids=["bare", "alone", "with-labels"])
def test_prediction_i_belongs_to_sample_i_without_shuffling(arrays, names, tmp_path):
    model = dense_model()
    path = write_file(tmp_path / "x.zarr.zip", arrays)
    with (
        cs.open(path) as store,
        cs.Loader(store, names, batch_size=BATCH_SIZE, shuffle=False) as loader,
    ):
        view = loader.keras()
        results = [model.predict(view, verbose=0) for _ in range(2)]
    expected = model.predict(arrays["x"], batch_size=BATCH_SIZE, verbose=0)
    for got in results:
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_autoencoders_take_the_same_array_as_input_and_output(arrays):
    model = compiled(keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]))
    with cs.Loader(arrays, ("x", "x"), batch_size=BATCH_SIZE) as loader:
        got = model.fit(loader.keras(), verbose=0).history["loss"][0]
    assert got == pytest.approx(model.evaluate(arrays["x"], arrays["x"], verbose=0), rel=1e-5)


def test_batches_of_more_than_three_parts_are_refused(arrays):
    with (
        cs.Loader(arrays, ("x", "y", "w", "x"), batch_size=BATCH_SIZE) as loader,
        pytest.raises(ValueError, match=r"have 4 parts\. Group them, for example \(\(a, b\), c\)"),
    ):
        loader.keras()


def test_a_loader_without_batches_is_refused(arrays):
    with (
        cs.Loader(arrays, ("x", "y"), batch_size=100, last="drop") as loader,
        pytest.raises(ValueError, match="no batches: 22 samples, batch_size=100, last='drop'"),
    ):
        loader.keras()


def test_a_state_in_the_middle_of_an_epoch_is_refused_until_the_epoch_is_finished(arrays):
    model = counting_model(NUM_SAMPLES)
    with cs.Loader(arrays, ("x", "y"), batch_size=BATCH_SIZE) as loader:
        loader.load_state_dict(loader.state_dict() | {"step": 2})
        view = loader.keras()
        with pytest.raises(ValueError, match="stands at step 2 of 6: Keras needs the callback"):
            model.fit(view, verbose=0)
        assert (loader.epoch, loader.step) == (0, 2)
        assert len(list(loader)) == 4
        assert model.fit(view, verbose=0).history["worst_count"] == [0.0]
        assert (loader.epoch, loader.step) == (2, 0)


def test_a_state_behind_an_epochs_last_batch_goes_on_with_the_next_epoch(arrays):
    model = counting_model(NUM_SAMPLES)
    with cs.Loader(arrays, ("x", "y"), batch_size=BATCH_SIZE) as loader:
        loader.load_state_dict(loader.state_dict() | {"epoch": 4, "step": 6})
        assert model.fit(loader.keras(), verbose=0).history["worst_count"] == [0.0]
        assert (loader.epoch, loader.step) == (6, 0)


def test_fit_goes_on_where_loops_and_set_epoch_left_the_loader(arrays):
    model = counting_model(NUM_SAMPLES)
    with cs.Loader(arrays, ("x", "y"), batch_size=BATCH_SIZE) as loader:
        view = loader.keras()
        for _ in loader:
            break
        model.fit(view, verbose=0)
        assert loader.epoch == 2
        loader.set_epoch(7)
        model.fit(view, verbose=0)
        assert loader.epoch == 8


class FailAfter(keras.callbacks.Callback):
    def __init__(self, num_batches):
        super().__init__()
        self.num_batches = num_batches

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self.num_batches:
            raise RuntimeError("the callback failed")


@pytest.mark.parametrize("num_batches", [1, 3])
def test_an_error_in_fit_leaves_no_thread_and_a_view_that_trains_whole_epochs(
    arrays, num_batches, tmp_path
):
    model = counting_model(NUM_SAMPLES)
    path = write_file(tmp_path / "x.zarr.zip", arrays, chunk_length=1)
    with cs.open(path) as store, cs.Loader(store, ("x", "y"), batch_size=BATCH_SIZE) as loader:
        view = loader.keras()
        with pytest.raises(RuntimeError, match="the callback failed"):
            model.fit(view, callbacks=[FailAfter(num_batches)], verbose=0)
        assert model.fit(view, verbose=0).history["worst_count"] == [0.0]
        with pytest.raises(RuntimeError, match="the callback failed"):
            model.fit(view, callbacks=[FailAfter(num_batches)], verbose=0)


def test_damage_in_the_file_ends_fit_with_an_error_that_names_it(arrays, tmp_path):
    path = write_file(tmp_path / "x.zarr.zip", arrays)
    content = bytearray(path.read_bytes())
    place = content.index(b"x/c/2/0") + len(b"x/c/2/0") + 20
    content[place] ^= 1
    path.write_bytes(content)
    model = counting_model(NUM_SAMPLES)
    with (
        cs.open(path) as store,
        cs.Loader(store, ("x", "y"), batch_size=BATCH_SIZE) as loader,
        pytest.raises(Exception, match="x/c/2/0") as caught,
    ):
        model.fit(loader.keras(), verbose=0)
    assert BACKEND == "tensorflow" or isinstance(caught.value, cs.CorruptionError)


def test_batches_behind_the_peek_are_not_kept(arrays):
    with cs.Loader(arrays, "x", batch_size=BATCH_SIZE) as loader:
        view = loader.keras()
        first = weakref.ref(view[0][0])
        gc.collect()
        kept = [view[i] for i in (1, 2)]
        gc.collect()
        assert first() is None
        assert len(kept) == 2


@pytest.mark.skipif(BACKEND != "torch", reason="only torch copies NumPy arrays")
def test_torch_models_read_the_memory_of_the_loader_itself(arrays):
    import torch

    addresses = []

    class Look(keras.layers.Layer):
        def call(self, inputs):
            addresses.append(inputs.data_ptr())
            return inputs

    model = compiled(keras.Sequential([keras.Input((2,)), Look(), keras.layers.Dense(1)]))
    given = []
    with cs.Loader(arrays, ("x", "y"), batch_size=BATCH_SIZE) as loader:
        view = loader.keras()
        take = view._next_batch
        view._next_batch = lambda: given.append(take()) or given[-1]
        assert isinstance(view[0][0], torch.Tensor)
        addresses.clear()
        model.evaluate(view, verbose=0)
    assert {array.ctypes.data for array, _ in given} <= set(addresses)


@pytest.mark.skipif(BACKEND != "torch", reason="the others convert by themselves")
def test_on_torch_bfloat16_trains_and_types_that_torch_lacks_are_refused_when_the_view_is_made():
    ml_dtypes = support.require("ml_dtypes")
    values = np.arange(16).reshape(8, 2)
    arrays = {"x": values.astype(ml_dtypes.bfloat16), "y": np.array(["a"] * 8)}
    model = compiled(keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]))
    with cs.Loader(arrays, ("x", "x"), batch_size=4, shuffle=False) as loader:
        view = loader.keras()
        model.fit(view, verbose=0)
        got = model.predict(view, verbose=0)
        np.testing.assert_array_equal(got, model.predict(values.astype("f4"), verbose=0))
    with (
        cs.Loader(arrays, ("x", "y"), batch_size=4) as loader,
        pytest.raises(TypeError, match=r"batch\[1\] has dtype <U1, for which torch has no type"),
    ):
        loader.keras()
