"""Does tensorflow get the loader's batches: exact signature, one pass an epoch, nothing left?"""

from __future__ import annotations

import numpy as np
import pytest

import chunkstore as cs
from tests import support
from tests.adapters.batch_laws import (
    NUM_SAMPLES,
    check_threads_end,
    damage,
    expected_epoch,
    make_loader,
    numbers_of,
    plain,
    write_file,
)

tf = support.require("tensorflow")


@pytest.fixture
def store(tmp_path):
    with cs.open(write_file(tmp_path / "x.zarr.zip")) as store:
        yield store


def load(dataset):
    return [plain(batch) for batch in dataset]


def test_each_iteration_is_the_next_epoch_of_the_loader_in_order(store):
    with make_loader(store) as loader:
        dataset = loader.tf()
        for epoch in range(3):
            got = load(dataset)
            assert got == expected_epoch(store, epoch)
            assert sorted(numbers_of(got)) == list(range(NUM_SAMPLES))
        assert len(dataset) == len(loader)


@pytest.mark.parametrize(("last", "length"), [("keep", None), ("drop", 8), ("pad", 8)])
def test_the_signature_is_exact(store, last, length):
    with make_loader(store, last=last) as loader:
        dataset = loader.tf()
        assert dataset.element_spec == (
            (
                tf.TensorSpec((length, 3, 4), tf.float32),
                tf.TensorSpec((length,), tf.int64),
            ),
            {"label": tf.TensorSpec((length,), tf.int32)},
        )
        assert load(dataset) == expected_epoch(store, 0, last=last)


def test_strings_booleans_and_small_types_arrive(tmp_path):
    arrays = {
        "name": np.array(["é", "", "abc"]),
        "raw": np.array([b"a\x00b", b"", b"\xff"]),
        "flag": np.array([True, False, True]),
        "half": np.array([0.5, 1, 2], np.float16),
        "big": np.array([1, 2**63, 3], np.uint64),
    }
    with cs.Loader(arrays, batch_size=3, shuffle=False) as loader:
        (batch,) = loader.tf()
    assert [value.decode() for value in batch["name"].numpy()] == ["é", "", "abc"]
    assert batch["raw"].numpy().tolist() == [b"a\x00b", b"", b"\xff"]
    for name in ("flag", "half", "big"):
        assert batch[name].numpy().dtype == arrays[name].dtype
        np.testing.assert_array_equal(batch[name].numpy(), arrays[name])


@pytest.mark.parametrize("dtype", ["M8[s]", [("a", "i4")]], ids=["datetime", "structured"])
def test_types_that_tensorflow_lacks_are_refused_by_place(dtype):
    with (
        cs.Loader({"x": np.zeros(2, dtype)}, ("x",), batch_size=2) as loader,
        pytest.raises(TypeError, match=r"batch\[0\] has dtype .*, for which tensorflow has no"),
    ):
        loader.tf()


def test_repetitions_are_the_following_epochs(store):
    with make_loader(store) as loader:
        dataset = loader.tf()
        got = load(dataset.repeat(2))
        assert got == expected_epoch(store, 0) + expected_epoch(store, 1)
        got = load(dataset.repeat().take(20))
        wanted = expected_epoch(store, 2) + expected_epoch(store, 3)
        assert got == wanted[:20]


def test_kept_batches_never_change(store):
    with make_loader(store) as loader:
        kept = list(loader.tf().repeat(4))
        wanted = [batch for epoch in range(4) for batch in expected_epoch(store, epoch)]
    assert [plain(batch) for batch in kept] == wanted


def test_a_loop_that_is_left_ends_the_threads_and_the_next_one_is_the_next_epoch(store):
    with make_loader(store) as loader:
        dataset = loader.tf()
        for _ in dataset:
            break
        check_threads_end()
        assert load(dataset) == expected_epoch(store, 1)
        loader.set_epoch(7)
        assert load(dataset) == expected_epoch(store, 7)


def test_a_dataset_made_behind_a_loaded_state_begins_with_the_rest(store):
    with make_loader(store) as loader:
        loader.load_state_dict(loader.state_dict() | {"epoch": 2, "step": 5})
        dataset = loader.tf()
        assert dataset.cardinality() == tf.data.UNKNOWN_CARDINALITY
        assert load(dataset) == expected_epoch(store, 2, step=5)
        assert load(dataset) == expected_epoch(store, 3)


def test_a_state_that_is_loaded_behind_the_dataset_is_refused(store):
    with make_loader(store) as loader:
        dataset = loader.tf()
        loader.load_state_dict(loader.state_dict() | {"step": 5})
        with pytest.raises(tf.errors.InvalidArgumentError, match="make it behind load_state_dict"):
            load(dataset)


def test_damage_is_an_error_that_names_the_chunk(tmp_path):
    path = write_file(tmp_path / "x.zarr.zip")
    damage(path, "x/c/3/0")
    with (
        cs.open(path) as store,
        make_loader(store) as loader,
        pytest.raises(tf.errors.OpError, match=r"CorruptionError.*x/c/3/0.*crc32"),
    ):
        load(loader.tf())


def test_fit_on_tensorflow_trains_one_whole_epoch_of_the_loader_an_epoch(store):
    keras = support.require("keras")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("other backends train from loader.keras()")
    seen = []

    class Recorder(keras.layers.Layer):
        def call(self, inputs):
            tf.py_function(lambda index: seen.append(index.numpy().tolist()), [inputs], [])
            return keras.ops.cast(inputs, "float32")[:, None]

    model = keras.Sequential([keras.Input((), dtype="int64"), Recorder(), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    with make_loader(store, ("@index", "y")) as loader:
        model.fit(loader.tf(), epochs=3, shuffle=False, verbose=0)
        num_batches = len(loader)
    assert len(seen) == 3 * num_batches
    for epoch in range(3):
        batches = seen[epoch * num_batches : (epoch + 1) * num_batches]
        assert sorted(number for batch in batches for number in batch) == list(range(NUM_SAMPLES))


def test_mixtures_with_and_without_end_are_datasets_too():
    def make_mixture(stop):
        loaders = [cs.Loader({"x": np.full((40, 2), i)}, "x", batch_size=4) for i in range(2)]
        return cs.mix(loaders, batch_size=8, stop=stop)

    with make_mixture("first") as mixture:
        dataset = mixture.tf()
        assert dataset.element_spec == tf.TensorSpec((8, 2), tf.int64)
        assert len(dataset) == len(mixture) == len(list(dataset))
    with make_mixture("never") as mixture:
        dataset = mixture.tf()
        assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY
        assert [int(np.sum(x)) for x in dataset.take(30)] == [8] * 30
