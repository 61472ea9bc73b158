"""Does Keras train from a loader what it would train from memory: each sample once an epoch?"""

from __future__ import annotations

import numpy as np
import pytest

import chunkstore as cs
from tests import support

keras = support.require("keras")

from tests.adapters.keras_models import (  # noqa: E402 - needs Keras
    BACKEND,
    BATCH_SIZE,
    EPOCH_LENGTHS,
    RecordingView,
    StopAfter,
    counting_model,
    data_set,
    weights_of,
    write_file,
)


@pytest.mark.parametrize("is_built", [True, False], ids=["built", "unbuilt"])
@pytest.mark.parametrize("num_batches", EPOCH_LENGTHS)
def test_each_epoch_of_each_fit_trains_and_validates_every_sample_exactly_once(
    num_batches, is_built, tmp_path
):
    arrays = data_set(EPOCH_LENGTHS[num_batches])
    path = write_file(tmp_path / "train.zarr.zip", arrays)
    model = counting_model(len(arrays["y"]), built=is_built)
    with (
        cs.open(path) as store,
        cs.Loader(store, ("x", "y"), batch_size=BATCH_SIZE) as train,
        cs.Loader(arrays, ("x", "y"), batch_size=BATCH_SIZE) as valid,
    ):
        assert len(train) == num_batches
        view, valid_view = train.keras(), valid.keras()
        for epochs in (3, 2):
            history = model.fit(view, validation_data=valid_view, epochs=epochs, verbose=0).history
            assert history["worst_count"] == [0.0] * epochs
            assert history["val_worst_count"] == [0.0] * epochs
        assert model.evaluate(view, verbose=0, return_dict=True)["worst_count"] == 0.0


def test_the_count_of_samples_sees_one_that_is_missing_or_twice():
    arrays = data_set(12)
    model = counting_model(12)
    ids = np.r_[np.arange(11), 0]
    for wrong in (ids, ids[:-1]):
        result = model.evaluate(arrays["x"][wrong], wrong, verbose=0, return_dict=True)
        assert result["worst_count"] == 1.0


@pytest.mark.parametrize("is_shuffled", [True, False], ids=["shuffle", "no-shuffle"])
@pytest.mark.parametrize("num_batches", [2, 3, 7])
def test_two_fits_train_the_orders_of_the_loaders_epochs_whatever_fit_shuffles(
    num_batches, is_shuffled
):
    arrays = data_set(EPOCH_LENGTHS[num_batches])
    model = counting_model(len(arrays["y"]))
    with cs.Loader(arrays, ("x", "y"), batch_size=BATCH_SIZE, seed=3) as loader:
        view = RecordingView(loader)
        model.fit(view, epochs=3, shuffle=is_shuffled, verbose=0)
        model.fit(view, epochs=2, shuffle=is_shuffled, verbose=0)
        assert view.epochs == [loader.order(epoch).tolist() for epoch in range(5)]
        assert (loader.epoch, loader.step) == (5, 0)


def test_a_peek_that_is_a_whole_epoch_is_trained():
    arrays = data_set(EPOCH_LENGTHS[1])
    model = counting_model(len(arrays["y"]))
    with cs.Loader(arrays, ("x", "y"), batch_size=BATCH_SIZE) as loader:
        view = RecordingView(loader)
        for _ in range(2):
            assert model.fit(view, epochs=2, verbose=0).history["worst_count"] == [0.0, 0.0]
        orders = [loader.order(epoch).tolist() for epoch in range(4)]
        # The peek of the first fit ends like an epoch.
        assert view.epochs[-4:] == orders
        assert (loader.epoch, loader.step) == (4, 0)


# What Keras asks a data set for: B and E are the hooks, g is a batch; four batches an epoch.
KERAS_CALLS = {
    "jax": {
        "first fit": "BgE" + 2 * "BggggE",
        "second fit": "E" + "BggggE",
        "evaluate": "E" + "BggggE",
        "predict": "BggggE",
    },
    "tensorflow": {
        "first fit": "ggE" + 2 * "BggggE",
        "second fit": "ggE" + "BggggE",
        "evaluate": "ggE" + "BggggE",
        "predict": "gg" + "BggggE",
    },
}
KERAS_CALLS["torch"] = KERAS_CALLS["jax"]


def test_keras_peeks_and_calls_the_hooks_as_the_view_expects():
    arrays = data_set(EPOCH_LENGTHS[4])
    model = counting_model(len(arrays["y"]), built=False)
    seen = {}
    with cs.Loader(arrays, ("x", "y"), batch_size=BATCH_SIZE) as loader:
        view = RecordingView(loader)
        for name, work in (
            ("first fit", lambda: model.fit(view, epochs=2, verbose=0)),
            ("second fit", lambda: model.fit(view, verbose=0)),
            ("evaluate", lambda: model.evaluate(view, verbose=0)),
            ("predict", lambda: model.predict(view, verbose=0)),
        ):
            view.calls = ""
            work()
            seen[name] = view.calls
    assert seen == KERAS_CALLS[BACKEND]


@pytest.mark.parametrize("stop", [3, 5, 7], ids=lambda stop: f"after-{stop}-of-7")
def test_after_a_stop_in_an_epoch_the_next_fit_trains_the_whole_next_epoch(stop):
    arrays = data_set(EPOCH_LENGTHS[7])
    model = counting_model(len(arrays["y"]))
    with cs.Loader(arrays, ("x", "y"), batch_size=BATCH_SIZE) as loader:
        view = RecordingView(loader)
        model.fit(view, epochs=3, callbacks=[StopAfter(stop)], verbose=0)
        history = model.fit(view, verbose=0).history
        assert history["worst_count"] == [0.0]
        assert view.epochs[-1] == loader.order(1).tolist()
        assert (loader.epoch, loader.step) == (2, 0)


@pytest.mark.parametrize("stop", [1, 2])
def test_after_a_stop_in_what_may_be_a_peek_the_next_fit_trains_that_epoch_again(stop):
    arrays = data_set(EPOCH_LENGTHS[7])
    model = counting_model(len(arrays["y"]))
    with cs.Loader(arrays, ("x", "y"), batch_size=BATCH_SIZE) as loader:
        model.fit(loader.keras(), epochs=3, callbacks=[StopAfter(stop)], verbose=0)
        view = RecordingView(loader)
        assert model.fit(view, verbose=0).history["worst_count"] == [0.0]


@pytest.mark.skipif(BACKEND == "torch", reason="Keras refuses steps_per_execution on torch")
def test_several_batches_in_one_execution_train_every_sample_once():
    arrays = data_set(EPOCH_LENGTHS[4])
    model = counting_model(len(arrays["y"]), steps_per_execution=2)
    with cs.Loader(arrays, ("x", "y"), batch_size=BATCH_SIZE) as loader:
        history = model.fit(loader.keras(), epochs=2, verbose=0).history
    assert history["worst_count"] == [0.0, 0.0]


def test_a_model_trained_from_a_file_equals_one_trained_on_the_same_batches_from_memory(tmp_path):
    arrays = data_set(EPOCH_LENGTHS[7])
    path = write_file(tmp_path / "train.zarr.zip", arrays)
    epochs = 2
    model = counting_model(28, learning_rate=0.01)
    with (
        cs.open(path) as store,
        cs.Loader(store, ("x", "y"), batch_size=BATCH_SIZE, memory=4096) as loader,
    ):
        orders = [loader.order(epoch) for epoch in range(epochs)]
        model.fit(loader.keras(), epochs=epochs, verbose=0)
    expected = counting_model(28, learning_rate=0.01)
    for order in orders:
        expected.fit(
            arrays["x"][order], arrays["y"][order], batch_size=BATCH_SIZE, shuffle=False, verbose=0
        )
    for got, wanted in zip(weights_of(model), weights_of(expected), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5)


def test_weights_and_state_saved_at_an_epochs_end_continue_as_if_nothing_had_happened():
    arrays = data_set(EPOCH_LENGTHS[7])
    saved = {}

    class Save(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                saved["state"] = loader.state_dict()
                saved["weights"] = weights_of(self.model)

    whole = counting_model(28, learning_rate=0.01)
    with cs.Loader(arrays, ("x", "y"), batch_size=BATCH_SIZE) as loader:
        whole.fit(loader.keras(), epochs=4, callbacks=[Save()], verbose=0)
    resumed = counting_model(28, learning_rate=0.01)
    for weight, value in zip(resumed.weights, saved["weights"], strict=True):
        weight.assign(value)
    with cs.Loader(arrays, ("x", "y"), batch_size=BATCH_SIZE) as loader:
        loader.load_state_dict(saved["state"])
        resumed.fit(loader.keras(), initial_epoch=2, epochs=4, verbose=0)
        assert loader.epoch == 4
    for got, wanted in zip(weights_of(resumed), weights_of(whole), strict=True):
        np.testing.assert_array_equal(got, wanted)
