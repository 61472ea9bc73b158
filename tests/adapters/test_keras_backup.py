"""Does a training that was killed end in the weights of one that nothing interrupted?"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import chunkstore as cs
from tests import support

keras = support.require("keras")

from chunkstore.adapters import keras_backup  # noqa: E402 - needs Keras
from chunkstore.adapters.keras import BackupTraining  # noqa: E402 - needs Keras
from tests.adapters.keras_models import weights_of  # noqa: E402 - needs Keras
from tests.adapters.keras_training import (  # noqa: E402 - needs Keras
    EPOCHS,
    NUM_BATCHES,
    At,
    Renewed,
    build_model,
    train,
)


class Interrupted(Exception):
    pass


def interrupt():
    raise Interrupted


@pytest.fixture(scope="module")
def renewed():
    return Renewed()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the weights and history of a training that nothing interrupts."""
    model, history, _ = train(tmp_path_factory.mktemp("whole"))
    return weights_of(model), history


def assert_equal_weights(model, expected):
    for got, wanted in zip(weights_of(model), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


# Before the first save; between two; at a save; at the last batch of an epoch; in the last epoch.
@pytest.mark.parametrize("batch", [2, 8, 10, 12, 20, 34, 36])
def test_an_interrupted_training_ends_in_the_same_weights_and_metrics(
    tmp_path, whole, renewed, batch
):
    weights, history = whole
    with pytest.raises(Interrupted):
        train(tmp_path, callbacks=[At(batch, interrupt)], model=renewed())
    model, again, position = train(tmp_path, model=renewed())
    assert_equal_weights(model, weights)
    assert int(model.optimizer.iterations.value) == EPOCHS * NUM_BATCHES
    # The first epoch of the second run is the one that was interrupted, with all its samples.
    for name, values in again.items():
        assert values == history[name][-len(values) :]
    assert history["worst_count"] == [0.0] * EPOCHS
    assert position == (EPOCHS, 0)
    assert not (tmp_path / "backup.zarr.zip").exists()


def test_a_training_interrupted_again_and_again_ends_in_the_same_weights(tmp_path, whole, renewed):
    for batch in (3, 7, 13, 13, 24, 31):
        with pytest.raises(Interrupted):
            train(tmp_path, callbacks=[At(batch, interrupt)], every=2, model=renewed())
    model, _, _ = train(tmp_path, every=2, model=renewed())
    assert_equal_weights(model, whole[0])


@pytest.mark.parametrize("steps", [5, 17])
def test_a_stream_of_epochs_goes_on_in_the_middle_of_a_portion(tmp_path, renewed, steps):
    options = {"steps": steps, "every": 3}
    model, _, position = train(tmp_path, model=renewed(), **options)
    expected = weights_of(model)
    with pytest.raises(Interrupted):
        train(tmp_path, callbacks=[At(steps + 4, interrupt)], model=renewed(), **options)
    model, _, again = train(tmp_path, model=renewed(), **options)
    assert_equal_weights(model, expected)
    assert position == again == divmod(EPOCHS * steps, NUM_BATCHES)


@pytest.mark.parametrize(("what", "number"), [("batch", 20), ("sync", 4)], ids=str)
def test_a_killed_training_goes_on_to_the_same_weights(tmp_path, whole, what, number):
    run = [sys.executable, "-m", "tests.adapters.keras_training", str(tmp_path), what, str(number)]
    process = subprocess.run(run, cwd=support.REPOSITORY, capture_output=True, check=False)
    assert process.returncode == -9, process.stderr.decode()
    # A sync is of the file of the backup, before or after its rename, or of the data.
    model, _, _ = train(tmp_path)
    assert_equal_weights(model, whole[0])


def test_a_run_that_is_complete_removes_the_file_and_one_that_keeps_it_trains_no_more(tmp_path):
    arrays = {"x": np.ones((8, 2), np.float32), "y": np.ones((8, 1), np.float32)}
    path = tmp_path / "backup.zarr.zip"
    with cs.Loader(arrays, ("x", "y"), batch_size=4) as loader:
        data = loader.keras()
        for keep in (False, True):
            model = another_model()
            model.fit(data, epochs=2, callbacks=[BackupTraining(data, path, keep=keep)], verbose=0)
            assert path.exists() == keep
        again = another_model()
        backup = BackupTraining(data, path, keep=True)
        history = again.fit(data, epochs=2, callbacks=[backup], verbose=0).history
        assert history == {}
        assert_equal_weights(again, weights_of(model))
        assert again.fit(data, epochs=3, callbacks=[backup], verbose=0).epoch == [2]


def test_a_fit_without_the_backup_begins_with_its_own_epoch(tmp_path, renewed):
    with pytest.raises(Interrupted):
        train(tmp_path, callbacks=[At(20, interrupt)], model=renewed())
    model, _, _ = train(tmp_path, model=renewed())
    assert model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=2, verbose=0).epoch == [0, 1]


def another_model(*layers):
    model = keras.Sequential([keras.Input((2,)), *layers, keras.layers.Dense(1)])
    model.compile("adam", "mse")
    return model


@pytest.mark.parametrize(
    ("make", "steps", "message"),
    [
        (lambda: another_model(), None, r"the saved model has \d+ variables, this one 2;"),
        (
            lambda: another_model(
                keras.layers.Dense(5),
                keras.layers.BatchNormalization(),
                keras.layers.Dropout(0.3),
            ),
            None,
            r"has shape \[2, 5\] and type float32, the saved one \[2, 6\] and float32",
        ),
        (build_model, 5, "had 12 batches an epoch, this one has 5"),
    ],
    ids=["layers", "units", "steps"],
)
def test_a_backup_of_another_training_is_refused_and_kept(tmp_path, renewed, make, steps, message):
    with pytest.raises(Interrupted):
        train(tmp_path, callbacks=[At(8, interrupt)], model=renewed())
    before = (tmp_path / "backup.zarr.zip").read_bytes()
    with pytest.raises(ValueError, match=message):
        train(tmp_path, model=make(), steps=steps)
    assert (tmp_path / "backup.zarr.zip").read_bytes() == before


def test_a_backup_over_other_data_is_refused(tmp_path, renewed):
    with pytest.raises(Interrupted):
        train(tmp_path, callbacks=[At(8, interrupt)], model=renewed())
    arrays = {"x": np.ones((46, 2), np.float32), "y": np.arange(46)}
    model = renewed()
    with cs.Loader(arrays, ("x", "y"), batch_size=4, seed=1) as loader:
        data = loader.keras()
        backup = BackupTraining(data, tmp_path / "backup.zarr.zip")
        with pytest.raises(ValueError, match="the order is another one"):
            model.fit(data, callbacks=[backup], verbose=0)


def test_a_file_that_is_no_backup_is_refused(tmp_path, renewed):
    cs.save(tmp_path / "backup.zarr.zip", {"x": np.arange(3)})
    with pytest.raises(cs.FormatError, match="is no backup of a training"):
        train(tmp_path, model=renewed())


@pytest.mark.parametrize("num_epochs", [0, 1], ids=["first-fit", "second-fit"])
@pytest.mark.parametrize("callback", ["BackupTraining", "RestOfEpoch"])
def test_a_callback_of_another_view_than_that_of_fit_is_refused_at_the_first_batch(
    tmp_path, callback, num_epochs
):
    arrays = {"x": np.ones((120, 2), np.float32), "y": np.ones((120, 1), np.float32)}
    options = [tmp_path / "b"] if callback == "BackupTraining" else []
    model = another_model()
    with cs.Loader(arrays, ("x", "y"), batch_size=4) as loader:
        data, other = loader.keras(), loader.keras()
        for view in (data, other):
            model.fit(view, epochs=num_epochs, verbose=0)
        steps_before = int(model.optimizer.iterations.value)
        kept = getattr(cs.keras, callback)(other, *options)
        with pytest.raises(ValueError, match=f"{callback} was made with other data than fit"):
            model.fit(data, epochs=3, callbacks=[kept], verbose=0)
        assert int(model.optimizer.iterations.value) == steps_before
        assert not (tmp_path / "b").exists()


def test_a_backup_made_with_another_view_is_not_gone_on_with(tmp_path):
    arrays = {"x": np.ones((40, 2), np.float32), "y": np.ones((40, 1), np.float32)}
    with cs.Loader(arrays, ("x", "y"), batch_size=4) as loader:
        data = loader.keras()
        callbacks = [BackupTraining(data, tmp_path / "b", every=3), At(5, interrupt)]
        with pytest.raises(Interrupted):
            another_model().fit(data, callbacks=callbacks, verbose=0)
    with cs.Loader(arrays, ("x", "y"), batch_size=4) as loader:
        callbacks = [BackupTraining(loader.keras(), tmp_path / "b")]
        with pytest.raises(ValueError, match="made with the data that fit gets"):
            another_model().fit(loader.keras(), callbacks=callbacks, verbose=0)


@pytest.mark.parametrize("callback", ["BackupTraining", "RestOfEpoch"])
def test_epochs_that_only_fit_cuts_are_refused_before_the_first_batch(tmp_path, callback):
    arrays = {"x": np.ones((100, 2), np.float32), "y": np.ones((100, 1), np.float32)}
    options = [tmp_path / "b"] if callback == "BackupTraining" else []
    model = another_model()
    with cs.Loader(arrays, ("x", "y"), batch_size=4) as loader:
        data = loader.keras()
        kept = getattr(cs.keras, callback)(data, *options)
        with pytest.raises(ValueError, match=r"fit counts 10 batches an epoch and the data 25.*10"):
            model.fit(data, steps_per_epoch=10, epochs=3, callbacks=[kept], verbose=0)
        assert not int(model.optimizer.iterations.value)
        # The same number says nothing new.
        model.fit(data, steps_per_epoch=25, epochs=2, callbacks=[kept], verbose=0)
        assert int(model.optimizer.iterations.value) == 50


def test_a_folder_that_does_not_exist_is_refused_before_anything_is_trained(tmp_path):
    arrays = {"x": np.ones((8, 2), np.float32), "y": np.ones((8, 1), np.float32)}
    model = another_model()
    with cs.Loader(arrays, ("x", "y"), batch_size=4) as loader:
        data = loader.keras()
        backup = BackupTraining(data, tmp_path / "missing" / "b")
        with pytest.raises(
            FileNotFoundError, match=r"no folder .*missing, so nothing can be saved"
        ):
            model.fit(data, callbacks=[backup], verbose=0)
    assert not int(model.optimizer.iterations.value)


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="the others have no generators of their own"
)
def test_states_of_another_number_of_devices_are_left_out_with_a_warning():
    states = keras_backup._random_states()
    more = [*states, np.zeros(16, np.uint8)]
    with pytest.warns(cs.ChunkStoreWarning, match=f"with {len(states)} CUDA devices and goes on"):
        keras_backup._set_random_states(more)
    keras_backup._set_random_states(states)


def test_every_must_be_a_positive_number(tmp_path):
    with (
        cs.Loader({"x": np.ones((4, 1))}, "x", batch_size=2) as loader,
        pytest.raises(ValueError, match="positive number of batches or None, got 0"),
    ):
        BackupTraining(loader.keras(), tmp_path / "b", every=0)
