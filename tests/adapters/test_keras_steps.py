"""Does Keras train a stream of epochs in portions of its own, and the rest of an epoch alone?"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import chunkstore as cs
from tests import support

keras = support.require("keras")

from chunkstore.adapters.keras import RestOfEpoch  # noqa: E402 - needs Keras
from tests.adapters.keras_models import (  # noqa: E402 - needs Keras
    BATCH_SIZE,
    EPOCH_LENGTHS,
    RecordingView,
    StopAfter,
    counting_model,
    data_set,
)


def stream_of(loader, num_epochs):
    """Return the samples of the loader's epochs, one behind the other."""
    return np.concatenate([loader.order(epoch) for epoch in range(num_epochs)]).tolist()


def loader_of(num_batches, **options):
    arrays = data_set(num_batches * BATCH_SIZE)
    return cs.Loader(arrays, ("x", "y"), batch_size=BATCH_SIZE, **options)


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 7, 8, 12], ids=lambda steps: f"{steps}-of-5")
def test_steps_per_epoch_cuts_the_stream_of_whole_passes(steps):
    with loader_of(5) as loader:
        model = counting_model(loader.num_samples)
        view = RecordingView(loader, steps_per_epoch=steps)
        for epochs in (3, 2):
            history = model.fit(view, epochs=epochs, verbose=0).history
            assert len(history["loss"]) == epochs
        # The peek for a model of which nothing is known is one of the epochs that were recorded.
        trained = [label for labels in view.epochs[-5:] for label in labels]
        assert trained == stream_of(loader, 13)[: 5 * steps * BATCH_SIZE]
        assert (loader.epoch, loader.step) == divmod(5 * steps, 5)


@pytest.mark.parametrize("stop", [3, 5])
def test_a_stopped_epoch_of_a_stream_leaves_its_rest_out_on_each_backend(stop):
    with loader_of(5) as loader:
        model = counting_model(loader.num_samples)
        view = RecordingView(loader, steps_per_epoch=7)
        model.fit(view, epochs=2, callbacks=[StopAfter(stop)], verbose=0)
        model.fit(view, verbose=0)
        assert view.epochs[-1] == stream_of(loader, 3)[7 * BATCH_SIZE : 14 * BATCH_SIZE]


def test_a_stream_goes_on_where_its_caller_moves_the_loader():
    with loader_of(5) as loader:
        model = counting_model(loader.num_samples)
        view = RecordingView(loader, steps_per_epoch=3)
        model.fit(view, verbose=0)
        loader.set_epoch(7)
        model.fit(view, verbose=0)
        assert view.epochs[-1] == loader.order(7)[: 3 * BATCH_SIZE].tolist()
        assert (loader.epoch, loader.step) == (7, 3)


@pytest.mark.parametrize("is_in_epoch", [False, True], ids=["tensorflow", "jax"])
@pytest.mark.parametrize("num_peeked", [1, 2])
def test_a_peek_behind_which_the_loader_was_moved_is_forgotten(num_peeked, is_in_epoch):
    with loader_of(5) as loader:
        view = loader.keras()
        if is_in_epoch:
            view.on_epoch_begin()
        for i in range(num_peeked):
            view[i]
        # Keras asks for the length behind a peek.
        assert view.num_batches == 5
        loader.set_epoch(7)
        # Another look, before the epoch begins.
        wanted = loader.order(7).tolist()
        assert keras.ops.convert_to_numpy(view[0][1]).tolist() == wanted[:BATCH_SIZE]
        view.on_epoch_end()
        view.on_epoch_begin()
        labels = [keras.ops.convert_to_numpy(view[i][1]).tolist() for i in range(view.num_batches)]
        view.on_epoch_end()
        assert [label for of_batch in labels for label in of_batch] == wanted
        assert (loader.epoch, loader.step) == (8, 0)


def test_a_mixture_without_end_needs_the_number_of_steps():
    arrays = data_set(20)
    loaders = [cs.Loader(arrays, ("x", "y"), batch_size=BATCH_SIZE, seed=seed) for seed in range(2)]
    with cs.mix(loaders, batch_size=BATCH_SIZE, stop="never") as both:
        with pytest.raises(ValueError, match="the batches have no end: say how many"):
            both.keras()
        model = counting_model(20)
        history = model.fit(both.keras(steps_per_epoch=6), epochs=3, verbose=0).history
        assert len(history["loss"]) == 3
        assert both.step == 18


def test_steps_per_epoch_must_be_positive():
    with loader_of(5) as loader, pytest.raises(ValueError, match="must be positive, got 0"):
        loader.keras(steps_per_epoch=0)


def test_steps_per_epoch_of_fit_takes_one_pass_in_portions():
    with loader_of(6) as loader:
        model = counting_model(loader.num_samples)
        seen = []

        class View(RecordingView):
            def __getitem__(self, index):
                batch = super().__getitem__(index)
                seen.extend(np.asarray(batch[1]).tolist())
                return batch

        model.fit(loader.keras(), epochs=1, verbose=0)
        seen.clear()
        model.fit(View(loader), epochs=3, steps_per_epoch=2, verbose=0)
        order = loader.order(1).tolist()
        # tensorflow peeks first, and reads ahead.
        assert seen[-len(order) :] == order or seen[2 * BATCH_SIZE :][: len(order)] == order


def test_validation_of_a_few_steps_takes_the_same_samples_each_time():
    with loader_of(6, shuffle=False) as valid, loader_of(4) as train:
        model = counting_model(valid.num_samples, learning_rate=0.0)
        history = model.fit(
            train.keras(), validation_data=valid.keras(), validation_steps=2, epochs=3, verbose=0
        ).history
        assert len(set(history["val_loss"])) == 1


@pytest.mark.parametrize("step", [1, 3, 5, 6], ids=lambda step: f"from-{step}-of-7")
@pytest.mark.parametrize("is_built", [True, False], ids=["built", "unbuilt"])
def test_the_rest_of_an_epoch_is_an_epoch_of_its_own_and_whole_ones_follow(step, is_built):
    arrays = data_set(EPOCH_LENGTHS[7])
    model = counting_model(28, built=is_built)
    with cs.Loader(arrays, ("x", "y"), batch_size=BATCH_SIZE) as loader:
        loader.load_state_dict(loader.state_dict() | {"step": step})
        seen = []

        class Look(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                # Whoever looks at the model between two batches makes Keras on jax move it.
                seen.append(len(self.model.weights))

        view = loader.keras()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", message="__array__ implementation")
            history = model.fit(
                view, epochs=3, callbacks=[RestOfEpoch(view), Look()], verbose=0
            ).history
        assert len(seen) == 7 - step + 14
        assert history["worst_count"] == [1.0, 0.0, 0.0]
        assert (loader.epoch, loader.step) == (3, 0)
        assert model.evaluate(view, verbose=0, return_dict=True)["worst_count"] == 0.0
