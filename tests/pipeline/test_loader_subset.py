"""Laws of a Loader over a part of the data, several data sets, and weighted samples."""

from __future__ import annotations

import json
import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.pipeline.loader import Loader
from chunkstore.pipeline.memory import MemorySource
from chunkstore.pipeline.view import concat, select
from tests.pipeline.sources import WatchedSource, data_set, images

NAMES = ("x", ("y", "w"), "@index", "@valid")


@st.composite
def view_cases(draw):
    """Return a view of some data sets, all their arrays joined, and the arguments of a Loader."""
    sources, arrays = [], []
    for _ in range(draw(st.integers(1, 3))):
        count = draw(st.integers(0, 60))
        chunk_length = draw(st.integers(1, 20))
        label_length = draw(st.sampled_from([chunk_length, 4 * chunk_length]) | st.integers(1, 50))
        source, array = data_set(count, chunk_length=chunk_length, label_length=label_length)
        # Each set has values of its own.
        array["y"] += 1000 * len(arrays)
        sources.append(source)
        arrays.append(array)
    joined = {name: np.concatenate([array[name] for array in arrays]) for name in arrays[0]}
    view = concat(sources)
    count = view.num_samples
    mask = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)), bool)
    lanes = draw(st.sampled_from([1, 1, 2]))
    arguments = {
        "batch_size": lanes * draw(st.integers(1, 20)),
        "lanes": lanes,
        "window": draw(st.none() | st.integers(1, 6)),
        "seed": draw(st.integers(0, 2**64 - 1)),
        "shuffle": draw(st.sampled_from([True, True, False])),
        "last": draw(st.sampled_from(["keep", "drop", "pad"])),
        "threads": draw(st.integers(1, 3)),
        "memory": 2_000_000,
    }
    return view.select(mask), joined, arguments


def check_epoch(loader, arrays):
    """Check that each batch holds what its numbers say; return the valid numbers of an epoch."""
    order, numbers, valid_numbers = loader.order(), [], []
    for x, (y, w), index, valid in loader:
        assert np.array_equal(x, arrays["x"][index])
        assert np.array_equal(y, arrays["y"][index])
        assert np.array_equal(w, arrays["w"][index])
        numbers += index.tolist()
        valid_numbers += index[valid].tolist()
    assert numbers == order.tolist()
    return valid_numbers


@given(view_cases())
def test_an_epoch_of_a_view_is_each_of_its_samples_once(case):
    view, arrays, arguments = case
    with Loader(view, NAMES, **arguments) as loader:
        assert loader.num_samples == view.num_samples
        for _ in range(2):
            numbers = check_epoch(loader, arrays)
            assert len(set(numbers)) == len(numbers)
            assert set(numbers) <= set(view.numbers.tolist())
            if arguments["last"] == "drop":
                missing = view.num_samples - len(numbers)
                assert missing < arguments["batch_size"] + arguments["lanes"]
            else:
                assert sorted(numbers) == view.numbers.tolist()


@given(view_cases(), st.data())
def test_an_epoch_with_weights_has_each_sample_as_often_as_expected(case, data):
    view, arrays, arguments = case
    if not view.num_samples:
        return
    arguments["last"] = "keep"
    values = st.sampled_from([0.0, 1.0, 1.0, 0.3, 25.0])
    size = view.num_samples
    weights = np.array(data.draw(st.lists(values, min_size=size, max_size=size)))
    if not weights.any():
        return
    total = data.draw(st.integers(1, 150))
    with Loader(view, NAMES, weights=weights, epoch_samples=total, **arguments) as loader:
        for _ in range(2):
            numbers = check_epoch(loader, arrays)
            assert len(numbers) == total == loader.num_samples
            times = Counter(numbers)
            for number, weight in zip(view.numbers.tolist(), weights, strict=True):
                assert abs(times[number] - total * weight / weights.sum()) < 1 + 1e-6


@given(view_cases(), st.data())
def test_ranks_of_a_view_together_deliver_the_batches_of_one_process(case, data):
    view, _, arguments = case
    weights = np.ones(view.num_samples)
    weights[::3] = 5
    arguments |= {"lanes": 2, "batch_size": 2 * arguments["batch_size"]}
    if view.num_samples and data.draw(st.booleans()):
        arguments["weights"] = weights
    with Loader(view, ["@index", "x"], **arguments) as loader:
        whole = [index for index, _ in loader]
    ranks = []
    for rank in range(2):
        with Loader(view, ["@index", "x"], rank=rank, world_size=2, **arguments) as loader:
            ranks.append([index for index, _ in loader])
    assert len(whole) == len(ranks[0]) == len(ranks[1])
    for i, batch in enumerate(whole):
        assert np.concatenate([rank[i] for rank in ranks]).tolist() == batch.tolist()


@given(view_cases(), st.data())
def test_a_view_resumes_at_every_step(case, data):
    view, _, arguments = case
    if view.num_samples and data.draw(st.booleans()):
        arguments["weights"] = 1.0 + np.arange(view.num_samples) % 3
    with Loader(view, ("x", "@index"), **arguments) as loader:
        step = data.draw(st.integers(0, len(loader)))
        batches = [index.tolist() for _, index in loader]
        batches += [index.tolist() for _, index in loader]
    with Loader(view, ("x", "@index"), **arguments) as loader:
        stream = iter(loader)
        for _ in range(step):
            next(stream)
        state = json.loads(json.dumps(loader.state_dict()))
    again = Loader(view, ("x", "@index"), **arguments | {"threads": 2})
    with again as loader:
        loader.load_state_dict(state)
        rest = [index.tolist() for _, index in loader]
        rest += [index.tolist() for _, index in loader]
    assert rest == batches[step:]


def test_chunks_without_selected_samples_are_not_read():
    x = images(100)
    source = WatchedSource("x", x, chunk_length=10)
    with Loader(select({"x": source}, slice(25, 52)), ("x", "@index"), batch_size=4) as loader:
        assert sorted(i for _, index in loader for i in index) == list(range(25, 52))
    assert source.reads == {2: 1, 3: 1, 4: 1, 5: 1}


def test_a_window_holds_more_chunks_where_few_of_their_samples_are_selected():
    x = np.zeros((100_000, 100), np.uint8)
    data = {"x": MemorySource("x", x, chunk_length=100)}
    arguments = {"batch_size": 8, "memory": 1_000_000}
    with Loader(data, "x", **arguments) as whole:
        few = select(data, slice(None, None, 10))
        with Loader(few, "x", **arguments) as loader:
            assert loader.window == 437
            assert whole.window == 43


def test_a_view_of_everything_is_the_data_set_itself():
    sources, _ = data_set(60)
    with Loader(sources, "x", batch_size=8, seed=3) as loader:
        order, state = loader.order(), loader.state_dict()
    with Loader(select(sources, slice(None)), "x", batch_size=8, seed=3) as loader:
        assert loader.order().tolist() == order.tolist()
        assert loader.state_dict() == state


def test_a_state_of_another_subset_or_other_weights_is_refused():
    sources, _ = data_set(60)
    view = select(sources, slice(0, 40))
    weights = np.ones(40)
    states = []
    for arrays, more in (
        (sources, {}),
        (view, {}),
        (select(sources, slice(0, 39)), {}),
        (view, {"weights": weights}),
        (view, {"weights": weights, "epoch_samples": 41}),
        (view, {"weights": weights + np.arange(40)}),
    ):
        with Loader(arrays, "x", batch_size=8, window=2, **more) as loader:
            for state in states:
                with pytest.raises(ValueError, match="the state has subset="):
                    loader.load_state_dict(state)
            states.append(loader.state_dict())


def test_files_are_shuffled_as_one():
    first, _ = data_set(300, chunk_length=10)
    second, _ = data_set(300, chunk_length=10)
    with Loader(concat([first, second]), ("x", "@index"), batch_size=32, window=20) as loader:
        shares = [np.mean(index < 300) for _, index in loader]
    assert min(shares) > 0.2
    assert max(shares) < 0.8


def test_classes_are_balanced():
    labels = np.repeat([0, 1, 2], [900, 90, 10])
    arrays = {"x": images(1000), "label": labels}
    for balance in ("label", labels):
        with Loader(arrays, ("x", "label"), batch_size=50, balance=balance) as loader:
            seen = np.concatenate([label for _, label in loader])
        assert len(seen) == 1000
        assert np.abs(np.bincount(seen) - 1000 / 3).max() <= 2


def test_weights_may_be_an_array_of_the_data():
    sources, arrays = data_set(50)
    view = select(sources, slice(10, 40))
    with Loader(view, ("y", "@index"), batch_size=10, weights="w", epoch_samples=200) as loader:
        by_name = loader.order()
    with Loader(
        view, ("y", "@index"), batch_size=10, weights=arrays["w"][10:40], epoch_samples=200
    ) as loader:
        assert loader.order().tolist() == by_name.tolist()
    assert by_name.min() >= 10


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        pytest.param({"weights": [1, 2]}, ValueError, "each of the 50 samples.*weights", id="few"),
        pytest.param({"weights": "v"}, KeyError, "weights names 'v', but", id="name"),
        pytest.param({"weights": "x"}, ValueError, r"array 'x' has shape \(50, 3, 5\)", id="image"),
        pytest.param({"weights": "w", "balance": "y"}, ValueError, "not both", id="both"),
        pytest.param({"epoch_samples": 9}, ValueError, "with weights= or balance=", id="alone"),
        pytest.param({"weights": "w", "epoch_samples": 0}, ValueError, "at least 1, got 0", id="0"),
    ],
)
def test_wrong_weights_are_refused(arguments, error, message):
    sources, _ = data_set(50)
    with pytest.raises(error, match=message):
        Loader(sources, "x", batch_size=4, **arguments)


# ------------------------------------------------------------------ real files


@pytest.fixture
def files(tmp_path):
    """Two files whose chunks differ in length, and all their samples."""
    parts = []
    for i, (count, chunk_nbytes) in enumerate([(3500, 16_384), (5000, 40_000)]):
        part = {"x": images(count, seed=i), "y": np.arange(count) + 10_000 * i}
        with cs.create(tmp_path / f"{i}.zarr.zip", chunk_nbytes=chunk_nbytes) as writer:
            writer.append(**part)
            writer.put("mean", part["x"].mean(axis=0), aligned=False)
        parts.append(part)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in ("x", "y")}
    return [tmp_path / f"{i}.zarr.zip" for i in range(2)], joined


@pytest.mark.parametrize("io", ["buffered", "direct"])
def test_parts_of_two_files_are_loaded_as_one(files, io):
    paths, joined = files
    with cs.open(paths[0]) as first, cs.open(paths[1]) as second:
        view = concat([select(first, joined["y"][:3500] % 3 == 0), second]).select(slice(5, -5))
        assert set(view) == {"x", "y"}
        with Loader(view, ("x", "y", "@index"), batch_size=160, io=io) as loader:
            for _ in range(2):
                numbers = []
                for x, y, index in loader:
                    assert np.array_equal(x, joined["x"][index])
                    assert np.array_equal(y, joined["y"][index])
                    numbers += index.tolist()
                assert sorted(numbers) == view.numbers.tolist()


def test_a_pickled_loader_of_a_view_goes_on_where_it_was(files):
    paths, joined = files
    with cs.open(paths[0]) as first, cs.open(paths[1]) as second:
        view = concat([first, second]).select(slice(None, None, 3))
        with Loader(view, ("x", "y"), batch_size=160, balance=joined["y"][::3] > 9000) as loader:
            next(iter(loader))
            data, rest = pickle.dumps(loader), loader.order(step=1)
    with pickle.loads(data) as copy:
        assert np.concatenate([y for _, y in copy]).tolist() == joined["y"][rest].tolist()
        copy.arrays.close()


def test_a_damaged_chunk_of_the_second_file_is_named(files):
    paths, _ = files
    raw = bytearray(paths[1].read_bytes())
    place = raw.index(b"x/c/1/0/0") + 200
    raw[place] ^= 1
    paths[1].write_bytes(raw)
    with cs.open(paths[0]) as first, cs.open(paths[1]) as second:
        view = concat([first, second])
        with (
            Loader(view, "x", batch_size=160) as loader,
            pytest.raises(cs.CorruptionError) as failed,
        ):
            list(loader)
    assert failed.value.path == str(paths[1])
    assert failed.value.key == "x/c/1/0/0"
