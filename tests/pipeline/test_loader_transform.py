"""Transforms run in the reading threads and give the same samples whatever the threads."""

from __future__ import annotations

import pickle
import traceback

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore import transforms
from chunkstore.pipeline.loader import Loader
from chunkstore.pipeline.memory import MemorySource
from tests.pipeline.sources import data_set, images, loader_cases

NAMES = ("x", ("y", "w"), "@index")
AUGMENT = transforms.compose(
    transforms.pad_and_crop(1, (3, 4)), transforms.flip(), transforms.scale(1 / 255)
)


def half(values):
    return values / 2


@given(loader_cases(max_samples=120), st.data())
def test_augmentation_does_not_depend_on_threads_memory_ranks_or_where_it_resumes(case, data):
    sources, _, arguments = case
    arguments |= {"transform": {"x": AUGMENT, "y": transforms.one_hot(300), "w": half}}
    arguments |= {"window": arguments["window"] or 3, "memory": 4_000_000}
    with Loader(sources, NAMES, **arguments) as loader:
        whole = [list(loader), list(loader)]
    others = {"threads": 4, "memory": 9_000_000}
    with Loader(sources, NAMES, **arguments | others) as loader:
        step = data.draw(st.integers(0, len(loader)))
        rest = list(loader.iter_epoch(0, step)) + list(loader)
    for (x, (y, w), index), (x2, (y2, w2), index2) in zip(
        whole[0][step:] + whole[1], rest, strict=True
    ):
        assert np.array_equal(index, index2)
        assert np.array_equal(x, x2)
        assert np.array_equal(y, y2)
        assert np.array_equal(w, w2)
    if arguments["lanes"] % 2 == 0:
        ranks = []
        for rank in range(2):
            with Loader(sources, NAMES, rank=rank, world_size=2, **arguments) as loader:
                ranks.append([x for x, *_ in loader])
        for batch, *parts in zip(whole[0], *ranks, strict=True):
            assert np.array_equal(batch[0], np.concatenate(parts))


def test_values_are_those_of_the_function():
    sources, arrays = data_set(100)
    steps = {"x": transforms.scale(1 / 255), "y": transforms.one_hot(100), "w": half}
    with Loader(sources, NAMES, batch_size=9, transform=steps) as loader:
        assert [part.shape for part in (loader.empty_batch[0], *loader.empty_batch[1])] == [
            (0, 3, 5),
            (0, 100),
            (0,),
        ]
        for x, (y, w), index in loader:
            assert x.dtype == y.dtype == np.float32
            assert np.allclose(x, arrays["x"][index] / 255)
            assert np.array_equal(y.argmax(axis=1), index)
            assert np.array_equal(w, arrays["w"][index] / 2)
        assert loader.stats().transform_seconds > 0


def test_epochs_seeds_and_repeated_samples_are_augmented_differently():
    arrays = {"x": np.repeat(np.arange(40)[:, np.newaxis], 30, axis=1), "y": np.arange(40)}
    arrays["x"] = arrays["x"][:, np.newaxis] * 100 + np.arange(30)
    crop = {"x": transforms.random_crop((1, 2))}

    def corners(**arguments):
        with Loader(arrays, ("x", "y"), batch_size=40, transform=crop, **arguments) as loader:
            ((x, y),) = list(loader)
        order = np.argsort(y, kind="stable")
        return (x[order, 0, 0] - 100 * y[order]).tolist()

    assert corners() == corners()
    assert len({tuple(corners(epoch=epoch, seed=seed)) for epoch in (0, 1) for seed in (0, 1)}) == 4
    one_sample = np.eye(40)[7]
    assert len(set(corners(weights=one_sample))) > 10


@pytest.mark.parametrize("last", ["keep", "pad"])
def test_no_two_samples_of_an_epoch_share_their_draws(last):
    sources, _ = data_set(300, chunk_length=8)

    @transforms.seeded
    def words(samples, random):
        return random.words()

    arguments = {"batch_size": 32, "lanes": 2, "window": 1, "transform": {"y": words}}
    with Loader(sources, ("x", "y"), last=last, **arguments) as loader:
        drawn = np.concatenate([y for _, y in loader])
    assert len(np.unique(drawn)) == len(drawn)


def test_image_and_mask_get_the_same_draws():
    masks = images(60, shape=(8, 9))
    arrays = {"image": np.repeat(masks[..., np.newaxis], 3, axis=-1), "mask": masks}
    sources = {
        name: MemorySource(name, array, chunk_length=length)
        for (name, array), length in zip(arrays.items(), (7, 20), strict=True)
    }
    augment = transforms.compose(transforms.random_crop(5), transforms.flip())
    both = {"image": transforms.compose(augment, transforms.scale(1)), "mask": augment}
    with Loader(sources, ("image", "mask"), batch_size=16, transform=both) as loader:
        for image, mask in loader:
            assert np.array_equal(image[..., 0], mask)


def test_augmented_batches_are_pinned():
    arrays = {"x": np.arange(12 * 4).reshape(12, 2, 2)}
    augment = {"x": transforms.compose(transforms.random_crop((2, 1)), transforms.flip(0))}
    with Loader(arrays, "x", batch_size=4, seed=7, transform=augment) as loader:
        first = next(iter(loader))
    assert first[..., 0].tolist() == [[13, 15], [45, 47], [10, 8], [16, 18]]


def test_a_function_may_write_to_what_it_is_given():
    sources, arrays = data_set(64, chunk_length=8, label_length=64)

    def overwrite(labels):
        labels += 1
        return labels

    steps = {"x": overwrite, "y": overwrite}
    with Loader(sources, ("x", "y", "@index"), batch_size=8, transform=steps) as loader:
        for _ in range(2):
            for x, y, index in loader:
                assert np.array_equal(x, arrays["x"][index] + np.uint8(1))
                assert np.array_equal(y, index + 1)


@pytest.mark.parametrize("threads", [1, 4])
def test_a_bad_label_stops_the_loop_and_names_its_sample(threads):
    sources, _ = data_set(200)
    step = {"y": transforms.one_hot(150)}
    with (
        Loader(sources, ("x", "y"), batch_size=8, transform=step, threads=threads) as loader,
        pytest.raises(ValueError, match=r"label (\d+) of sample \1 is not in \[0, 150\)") as failed,
    ):
        list(loader)
    assert "in the transform of array 'y'" in failed.value.__notes__[0]


def test_an_error_of_a_function_keeps_its_traceback():
    sources, _ = data_set(50)

    def stumble(samples):
        if samples.any():
            raise KeyError("stumbled")
        return samples

    with Loader(sources, "x", batch_size=8, transform={"x": stumble}) as loader:
        with pytest.raises(KeyError, match="stumbled") as failed:
            list(loader)
        frames = [frame.name for frame in traceback.extract_tb(failed.value.__traceback__)]
        assert "stumble" in frames


def test_a_pickled_loader_keeps_its_transforms():
    sources, _ = data_set(50)
    steps = {"x": AUGMENT, "y": half}
    with Loader(sources, ("x", "y"), batch_size=8, transform=steps) as loader:
        data, batches = pickle.dumps(loader), list(loader)
    with pickle.loads(data) as copy:
        for (x, y), (x2, y2) in zip(batches, copy, strict=True):
            assert np.array_equal(x, x2)
            assert np.array_equal(y, y2)


def wrong_length(samples):
    return samples[:0]


def wrong_shape(samples):
    return samples if not samples.any() else samples[:, :1]


def wrong_dtype(samples):
    return samples if not samples.any() else samples * 1.5


@pytest.mark.parametrize(
    ("transform", "error", "message"),
    [
        pytest.param(
            {"v": half}, KeyError, "transform names 'v', but only x are loaded", id="name"
        ),
        pytest.param({"x": 3}, TypeError, "of array 'x' must be a function.*got int", id="number"),
        pytest.param(
            [half], TypeError, "must be a dict of names and functions, got list", id="list"
        ),
        pytest.param({"x": wrong_length}, ValueError, r"got 1, returned shape \(0, 3, 5\)", id="0"),
        pytest.param({"x": wrong_shape}, ValueError, r"returned samples of shape \(1, 5\)", id="1"),
        pytest.param({"x": wrong_dtype}, ValueError, "and dtype float64; for a sample", id="2"),
    ],
)
def test_what_is_no_transform_is_refused(transform, error, message):
    sources, _ = data_set(20)
    with (
        pytest.raises(error, match=message),
        Loader(sources, "x", batch_size=4, transform=transform) as loader,
    ):
        list(loader)


def test_a_function_that_fails_on_zeros_says_why_it_was_called():
    with pytest.raises(ZeroDivisionError) as failed:
        Loader({"y": np.ones(3)}, "y", batch_size=1, transform={"y": lambda y: 1 / int(y[0]) + y})
    assert "one sample of zeros, of shape (1,)" in failed.value.__notes__[0]


def test_dtypes_apply_to_what_a_transform_returns(tmp_path):
    x = images(40)
    cs.save(tmp_path / "a.zarr.zip", {"x": x})
    with cs.open(tmp_path / "a.zarr.zip") as store:
        arguments = {"batch_size": 4, "transform": {"x": transforms.scale(0.5)}}
        with Loader(store, ("x", "@index"), dtype="f8", **arguments) as loader:
            for batch, index in loader:
                assert batch.dtype == np.float64
                assert np.array_equal(batch, x[index] / 2)
        with pytest.raises(TypeError, match="is transformed as float32, which cannot become int8"):
            Loader(store, "x", dtype="i1", **arguments)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("error", [StopIteration, GeneratorExit])
def test_a_function_that_ends_like_a_loop_is_an_error_and_not_the_epochs_end(threads, error):
    def stop(values):
        if values.any():
            raise error("nothing more")
        return values

    sources, _ = data_set(100)
    with (
        Loader(sources, NAMES, batch_size=9, threads=threads, transform={"x": stop}) as loader,
        pytest.raises(RuntimeError, match=f"raised {error.__name__}") as caught,
    ):
        list(loader)
    assert isinstance(caught.value.__cause__, error)
