"""Laws of every epoch: each sample once, arrays aligned, one order whatever the threads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.pipeline.loader import Loader
from tests.pipeline.sources import data_set, loader_cases

NAMES = ("x", ("y", "w"), "@index", "@valid")


def epoch_batches(loader, epoch=None):
    return list(loader if epoch is None else loader.iter_epoch(epoch))


def numbers(batches):
    return np.concatenate([np.empty(0, np.int64), *(batch[2] for batch in batches)])


@given(loader_cases())
def test_every_sample_comes_once_and_its_arrays_belong_together(case):
    sources, arrays, arguments = case
    num_samples = len(arrays["y"])
    with Loader(sources, NAMES, **arguments) as loader:
        for _ in range(3):
            order = loader.order()
            batches = epoch_batches(loader)
            assert len(batches) == len(loader)
            for x, (y, w), index, valid in batches:
                assert len(x) == len(y) == len(w) == len(index) == len(valid) > 0
                assert np.array_equal(x, arrays["x"][index])
                assert np.array_equal(y, arrays["y"][index])
                assert np.array_equal(w, arrays["w"][index])
            assert np.array_equal(numbers(batches), order)
            valid = [number for batch in batches for number in batch[2][batch[3]].tolist()]
            assert len(set(valid)) == len(valid)
            if arguments["last"] == "drop":
                assert num_samples - len(valid) < arguments["batch_size"] + arguments["lanes"]
            else:
                assert sorted(valid) == list(range(num_samples))
            if arguments["last"] != "keep":
                assert all(len(batch[0]) == arguments["batch_size"] for batch in batches)


@given(loader_cases(max_samples=150), st.data())
def test_ranks_together_deliver_the_batches_of_one_process(case, data):
    sources, _, arguments = case
    divisors = [w for w in (1, 2, 4) if arguments["lanes"] % w == 0]
    world_size = data.draw(st.sampled_from(divisors))
    with Loader(sources, ("x", "@index"), **arguments) as loader:
        whole = [index for _, index in loader]
    ranks = []
    for rank in range(world_size):
        with Loader(
            sources, ("x", "@index"), rank=rank, world_size=world_size, **arguments
        ) as loader:
            ranks.append([index for _, index in loader])
    assert {len(rank) for rank in ranks} == {len(whole)}
    for i, batch in enumerate(whole):
        assert np.array_equal(np.concatenate([rank[i] for rank in ranks]), batch)


@given(loader_cases(max_samples=150))
def test_threads_do_not_change_a_batch(case):
    sources, _, arguments = case
    epochs = []
    for threads in (1, 2, 8):
        with Loader(sources, NAMES, **arguments | {"threads": threads}) as loader:
            epochs.append(epoch_batches(loader))
    for batches in zip(*epochs, strict=True):
        for x, (y, w), index, valid in batches[1:]:
            assert np.array_equal(x, batches[0][0])
            assert np.array_equal(y, batches[0][1][0])
            assert np.array_equal(w, batches[0][1][1])
            assert np.array_equal(index, batches[0][2])
            assert np.array_equal(valid, batches[0][3])


def test_epochs_and_seeds_have_orders_of_their_own():
    sources, _ = data_set(100)
    orders = set()
    for seed in (0, 1, 2, 2**32, 2**63):
        with Loader(sources, "x", batch_size=10, seed=seed) as loader:
            orders |= {loader.order(epoch).tobytes() for epoch in range(5)}
    assert len(orders) == 25


def test_an_order_is_pinned():
    sources, _ = data_set(20, chunk_length=4)
    with Loader(sources, ("x", "@index"), batch_size=6, seed=7, window=2) as loader:
        batches = [index.tolist() for _, index in loader]
    assert batches == [[5, 7, 4, 6, 16, 17], [14, 13, 19, 12, 18, 15], [2, 11, 9, 10, 3, 1], [0, 8]]


def test_without_shuffle_samples_come_in_the_order_of_the_file():
    sources, arrays = data_set(45)
    with Loader(sources, "y", batch_size=7, shuffle=False) as loader:
        batches = list(loader)
        assert [len(batch) for batch in batches] == [7] * 6 + [3]
        assert np.concatenate(batches).tolist() == arrays["y"].tolist()


def test_padding_is_marked_and_repeats_the_start():
    sources, _ = data_set(10)
    with Loader(sources, ("y", "@valid"), batch_size=8, last="pad") as loader:
        (first, valid), (second, rest) = loader
    assert valid.all()
    assert rest.tolist() == [True] * 2 + [False] * 6
    assert second[2:].tolist() == first[:6].tolist()


def test_elements_are_delivered_in_the_asked_type():
    sources, arrays = data_set(30)
    names = ("x", "y", "@index")
    with Loader(sources, names, batch_size=7, dtype={"x": "f4"}) as loader:
        for x, y, index in loader:
            assert (x.dtype, y.dtype) == (np.float32, np.int16)
            assert np.array_equal(x, arrays["x"][index])


@pytest.mark.parametrize("dtype", ["U3", "S2", "M8[s]", "?", "c8", [("a", "i2"), ("b", "f4")]])
def test_any_fixed_size_type_is_delivered(dtype):
    array = np.zeros(50, dtype) if isinstance(dtype, list) else np.arange(50).astype(dtype)
    if isinstance(dtype, list):
        array["a"] = np.arange(50)
    with Loader({"x": array}, ("x", "@index"), batch_size=8) as loader:
        for x, index in loader:
            assert x.dtype == array.dtype
            assert np.array_equal(x, array[index])


def test_samples_without_elements_have_a_length():
    with Loader({"x": np.zeros((9, 0)), "y": np.arange(9)}, batch_size=4) as loader:
        assert [batch["x"].shape for batch in loader] == [(4, 0), (4, 0), (1, 0)]


@pytest.mark.parametrize("last", ["keep", "drop", "pad"])
def test_no_samples_make_no_batches(last):
    sources, _ = data_set(0)
    with Loader(sources, batch_size=4, last=last) as loader:
        assert len(loader) == 0
        assert list(loader) == list(loader) == []
        assert loader.epoch == 2


def test_a_rank_whose_lane_ends_early_delivers_as_many_batches():
    # 9 samples in 2 lanes are 4 and 5: the third batch of 2 and 2 has a sample for rank 1 only.
    sources, _ = data_set(9)
    lengths = []
    for rank in range(2):
        arguments = {"rank": rank, "world_size": 2, "last": "keep"}
        with Loader(sources, ("x", "y"), batch_size=4, **arguments) as loader:
            lengths.append([(len(x), len(y)) for x, y in loader])
    assert lengths == [[(2, 2), (2, 2), (0, 0)], [(2, 2), (2, 2), (1, 1)]]


def test_last_defaults_to_keep_alone_and_to_drop_among_ranks():
    sources, _ = data_set(9)
    with Loader(sources, batch_size=4) as loader:
        assert loader.last == "keep"
    with Loader(sources, batch_size=4, rank=1, world_size=2) as loader:
        assert loader.last == "drop"


def test_empty_batch_tells_structure_types_and_shapes():
    sources, _ = data_set(9)
    with Loader(sources, ({"image": "x"}, "w", "@valid"), batch_size=4) as loader:
        image, w, valid = loader.empty_batch
    assert image["image"].shape == (0, 3, 5)
    assert (image["image"].dtype, w.dtype, valid.dtype) == (np.uint8, np.float64, np.bool_)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"lanes": 3}, ValueError, "batch_size must be a positive multiple of lanes=3, got 4"),
        ({"lanes": 0}, ValueError, "lanes must be at least 1, got 0"),
        ({"last": "half"}, ValueError, "last must be 'keep', 'drop' or 'pad', got 'half'"),
        ({"io": "mmap"}, ValueError, "io must be 'auto', 'buffered' or 'direct', got 'mmap'"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        (
            {"epoch": 2**64},
            ValueError,
            r"epoch must be in \[0, 2\*\*64\), got 1844",
        ),
        ({"threads": 0}, ValueError, "threads must be at least 1, got 0"),
        ({"memory": "lots"}, ValueError, "memory must be bytes or a number with a unit"),
        ({"names": "z"}, KeyError, "there is no array 'z'; there are 'x', 'y', 'w'"),
        ({"rank": 0, "world_size": 3, "lanes": 4}, ValueError, "world_size must divide lanes=4"),
        ({"rank": 2, "world_size": 2}, ValueError, r"rank must be in \[0, 2\), got 2"),
    ],
    ids=[
        "no_batch",
        "batch",
        "lanes",
        "last",
        "io",
        "seed",
        "epoch",
        "threads",
        "memory",
        "names",
        "world",
        "rank",
    ],
)
def test_wrong_arguments_are_named(arguments, error, text):
    sources, _ = data_set(9)
    with pytest.raises(error, match=text):
        Loader(sources, **{"batch_size": 4} | arguments)


def test_an_array_alone_is_refused_with_what_to_give():
    with pytest.raises(
        TypeError, match=r"give a store or a dict of arrays such as .*, got ndarray"
    ):
        Loader(np.zeros(3), batch_size=1)


def test_a_path_is_refused_with_how_to_open_it():
    with pytest.raises(
        TypeError, match=r"got str; chunkstore\.open\('a\.zarr\.zip'\) opens a file"
    ):
        Loader("a.zarr.zip", batch_size=1)
