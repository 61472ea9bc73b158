"""Splits of real files and of arrays: disjoint, complete, near their fractions, stable."""

from __future__ import annotations

import warnings
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore import splitting
from chunkstore.pipeline.memory import MemorySource


@pytest.fixture
def path(tmp_path):
    cs.save(tmp_path / "a.zarr.zip", arrays(1000), chunk_nbytes=16_384)
    return tmp_path / "a.zarr.zip"


def arrays(count):
    x = np.zeros((count, 2000), np.uint8)
    x[:, 0] = np.arange(count) % 251
    return {"x": x, "y": np.arange(count), "person": np.arange(count) // 7}


def numbers(parts):
    return {name: part.numbers.tolist() for name, part in parts.items()}


@given(
    st.sampled_from([{"train": 0.8, "val": 0.2}, {"a": 0.3, "b": 0.3, "c": 0.4}, {"a": 1.0}]),
    st.sampled_from([{}, {"by": "chunk", "chunks_of": "x"}, {"by": "group", "groups": "person"}]),
    st.integers(0, 2**64 - 1),
)
def test_parts_are_disjoint_and_hold_everything(path, fractions, how, seed):
    with cs.open(path) as store:
        parts = cs.split(store, fractions, seed=seed, **how)
        assert list(parts) == list(fractions)
        found = numbers(parts)
        assert sorted(chain.from_iterable(found.values())) == list(range(1000))
        for name, part in parts.items():
            assert part["y"][:].tolist() == found[name]
            assert parts.fractions[name] == len(found[name]) / 1000


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"by": "chunk", "chunks_of": "x"},
        {"by": "group", "groups": "person"},
        {"stratify": "person"},
    ],
    ids=["sample", "chunk", "group", "stratify"],
)
def test_samples_stay_in_their_part_when_others_are_appended(path, how):
    with cs.open(path) as store:
        before = numbers(cs.split(store, {"train": 0.7, "val": 0.3}, **how))
    with cs.append(path) as writer:
        writer.append(**arrays(500))
    with cs.open(path) as store:
        after = numbers(cs.split(store, {"train": 0.7, "val": 0.3}, **how))
    for name, kept in before.items():
        assert [number for number in after[name] if number < 1000] == kept


def test_samples_of_two_files_stay_when_the_first_one_grows():
    data = [arrays(100), arrays(60)]
    grown = [arrays(140), arrays(60)]
    for part in (*data, *grown):
        part["x"] = MemorySource("x", part["x"], chunk_length=4)
    for how in ({}, {"by": "chunk"}, {"stratify": "person"}):
        before = cs.split(cs.concat(data), {"a": 0.5, "b": 0.5}, **how)["a"].numbers
        after = cs.split(cs.concat(grown), {"a": 0.5, "b": 0.5}, **how)["a"].numbers
        assert after[after < 100].tolist() == before[before < 100].tolist()
        assert (after[after >= 140] - 40).tolist() == before[before >= 100].tolist()


def test_by_chunk_no_chunk_is_read_for_two_parts(path):
    with cs.open(path) as store:
        parts = cs.split(store, {"train": 0.6, "val": 0.4}, by="chunk", chunks_of="x")
        length = store["x"].chunk_length
        assert length < 20
        chunks = [set((part.numbers // length).tolist()) for part in parts.values()]
    assert not chunks[0] & chunks[1]
    assert min(parts.fractions.values()) > 0.2


def test_by_chunk_arrays_that_are_added_move_no_sample(path):
    shares = {"train": 0.6, "val": 0.4}
    with cs.open(path) as store:
        before = numbers(cs.split(store, shares, by="chunk", chunks_of="x"))
        alone = numbers(cs.split({"x": store["x"]}, shares, by="chunk"))
        assert alone == before
        features = MemorySource("features", np.zeros((1000, 3000), np.float32), chunk_length=5)
        more = {"y": store["y"], "x": store["x"], "features": features}
        assert numbers(cs.split(more, shares, by="chunk", chunks_of="x")) == before
        with pytest.raises(ValueError, match=r"needs chunks_of=.*'x': \d+.*chunks_of='features'"):
            cs.split(more, shares, by="chunk")
        # What is in memory has no chunks that could be read twice.
        labelled = {"x": store["x"], "y": np.arange(1000), "z": np.zeros((1000, 9000))}
        assert numbers(cs.split(labelled, shares, by="chunk")) == before


def test_by_chunk_files_may_be_cut_differently():
    shares = {"a": 0.5, "b": 0.5}
    lengths = (8, 5)
    data = [{"x": MemorySource("x", np.arange(200), chunk_length=length)} for length in lengths]
    parts = cs.split(cs.concat(data), shares, by="chunk")
    for i, length in enumerate(lengths):
        found = [part.numbers[part.numbers // 200 == i] - 200 * i for part in parts.values()]
        chunks = [set((part // length).tolist()) for part in found]
        assert not chunks[0] & chunks[1]
        assert all(chunks)
        assert all(len(part) % length == 0 for part in found)


def test_by_chunk_what_is_in_memory_stays_when_it_grows():
    small, large = (np.zeros((count, 1 << 17), np.uint8) for count in (70, 90))
    before, after = (
        cs.split({"x": x}, {"a": 0.5, "b": 0.5}, by="chunk", seed=1)["a"].numbers
        for x in (small, large)
    )
    assert 0 < len(before) < 70
    assert after[after < 70].tolist() == before.tolist()


@pytest.mark.parametrize(
    ("how", "count"),
    [({"by": "chunk"}, 100), ({"stratify": np.arange(3)}, 3), ({}, 1)],
    ids=["one-chunk", "one-a-class", "one"],
)
def test_a_part_without_samples_is_warned_of(how, count):
    for seed in range(20):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            parts = cs.split({"y": np.arange(count)}, {"a": 0.9, "b": 0.1}, seed=seed, **how)
        empty = [name for name, part in parts.items() if not part.num_samples]
        texts = [str(warning.message) for warning in caught]
        assert len(texts) == bool(empty)
        for text in texts:
            assert f"leaves no sample for {', '.join(map(repr, empty))}: {count} samples" in text
            assert caught[0].filename == __file__


def test_a_part_that_is_not_wanted_may_be_empty():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cs.split({"y": np.arange(50)}, {"a": 1, "b": 0})["b"].num_samples == 0
        assert cs.split({"y": np.arange(0)}, {"a": 1})["a"].num_samples == 0


def test_each_file_of_several_is_stratified():
    labels = [np.repeat([0, 1], [160, 32]), np.repeat([1, 0], [48, 80])]
    both = cs.concat([{"y": part} for part in labels])
    parts = cs.split(both, {"train": 0.75, "val": 0.25}, stratify="y")
    assert np.bincount(parts["train"]["y"][:]).tolist() == [180, 60]
    # The files are dealt independently of each other.
    twice = cs.split(cs.concat([{"y": labels[0]}] * 2), {"a": 0.5, "b": 0.5}, stratify="y")["a"]
    first, second = twice.numbers[twice.numbers < 192], twice.numbers[twice.numbers >= 192] - 192
    assert first.tolist() != second.tolist()


def test_by_group_no_group_is_in_two_parts(path):
    with cs.open(path) as store:
        by_name = cs.split(store, {"train": 0.6, "val": 0.4}, by="group", groups="person")
        people = [set(part["person"][:].tolist()) for part in by_name.values()]
        by_array = cs.split(
            store, {"train": 0.6, "val": 0.4}, by="group", groups=np.arange(1000) // 7
        )
        assert numbers(by_name) == numbers(by_array)
    assert not people[0] & people[1]


def test_each_class_is_divided_in_the_wanted_fractions():
    labels = np.repeat([0, 1, 2], [800, 160, 32])
    parts = cs.split({"y": labels}, {"train": 0.75, "val": 0.25}, stratify="y")
    assert np.bincount(parts["train"]["y"][:]).tolist() == [600, 120, 24]


def test_a_part_of_a_part_is_split_too():
    data = {"y": np.arange(400)}
    outer = cs.split(data, {"work": 0.5})["work"]
    inner = cs.split(outer, {"train": 0.5, "val": 0.5}, seed=1)
    assert sorted(chain.from_iterable(numbers(inner).values())) == outer.numbers.tolist()


def test_a_loader_trains_on_a_part(path):
    with cs.open(path) as store:
        parts = cs.split(store, {"train": 0.8, "val": 0.2})
        with cs.Loader(parts["train"], ("x", "y"), batch_size=64) as loader:
            seen = np.concatenate([y for _, y in loader])
        assert sorted(seen.tolist()) == parts["train"].numbers.tolist()


def test_a_store_selects_by_itself(path):
    with cs.open(path) as store:
        assert store.select(slice(5, 8))["y"][:].tolist() == [5, 6, 7]
        assert store.select([1, -1])["y"][:].tolist() == [1, 999]
        assert store.select(store["y"][:] < 3)["y"][:].tolist() == [0, 1, 2]
        assert 50 < store.select(fraction=0.1).num_samples < 150


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"by": "batch"}, ValueError, "by must be 'sample', 'chunk' or 'group', got 'batch'"),
        ({"by": "group"}, ValueError, "groups= goes with by='group', got by='group'"),
        ({"groups": "y"}, ValueError, "groups= goes with by='group', got by='sample'"),
        ({"by": "chunk", "stratify": "y"}, ValueError, "stratify= goes with by='sample'"),
        ({"chunks_of": "y"}, ValueError, "chunks_of= goes with by='chunk', got by='sample'"),
        ({"by": "chunk", "chunks_of": "z"}, KeyError, "chunks_of names 'z', but .* only 'y'"),
        ({"stratify": [1, 2]}, ValueError, r"each of the 10 samples, but .* shape \(2,\)"),
        ({"stratify": "label"}, KeyError, "stratify names 'label', but there are only 'y'"),
        ({"stratify": np.ones(10)}, TypeError, "stratify must be integers.*got float64; numpy"),
        ({"stratify": [None] * 10}, TypeError, "stratify must be .* elements of object"),
        ({"by": "group", "groups": np.ones(10)}, TypeError, "groups must be .* got float64"),
        ({"by": "group", "groups": [None] * 10}, TypeError, "groups must be .* of object"),
        ({"fractions": {"a": 0.8, "b": 0.8}}, ValueError, "sum to 1 at most"),
        ({"fractions": [0.5, 0.5]}, TypeError, "fractions must be a dict such as .*, got list"),
        ({"fractions": {"a": "0.5"}}, TypeError, "part 'a' must be a number, got '0.5'"),
        ({"fractions": {"a": True}}, TypeError, "part 'a' must be a number, got True"),
    ],
    ids=str,
)
def test_what_is_no_split_is_refused(arguments, error, message):
    arguments = {"fractions": {"train": 0.5}} | arguments
    with pytest.raises(error, match=message):
        cs.split({"y": np.arange(10)}, **arguments)


# ------------------------------------------------------------------ files of one data set


def test_the_files_of_a_folder_are_one_object(tmp_path):
    for name, count in {"test": 5, "extra": 1, "valid": 4, "train": 10}.items():
        cs.save(tmp_path / f"{name}.zarr.zip", {"y": np.arange(count)})
    (tmp_path / "notes.txt").write_text("no store")
    with cs.open_splits(tmp_path) as data:
        assert list(data) == ["train", "valid", "test", "extra"]
        assert data.num_samples == 20
        assert data["valid"]["y"][:].tolist() == [0, 1, 2, 3]
        assert data.fractions["train"] == 0.5
        assert repr(data).startswith("<chunkstore.Splits train: 10 samples (50.0%), valid: 4")
        with pytest.raises(KeyError, match="no part 'val'; there are 'train', 'valid'"):
            data["val"]
        assert cs.concat(list(data.values())).num_samples == 20


def test_a_file_that_is_not_complete_is_not_left_out(tmp_path):
    cs.save(tmp_path / "test.zarr.zip", {"y": np.arange(3)})
    writer = cs.create(tmp_path / "train.zarr.zip")
    writer.append(y=np.arange(3))
    with pytest.raises(cs.IncompleteError, match=r"train\.zarr\.zip"):
        cs.open_splits(tmp_path)
    writer.close()
    cs.open_splits(tmp_path).close()


def test_files_that_are_open_are_closed_when_a_later_one_fails(tmp_path, monkeypatch):
    for name in ("train", "test"):
        cs.save(tmp_path / f"{name}.zarr.zip", {"y": np.arange(3)})
    (tmp_path / "valid.zarr.zip").write_bytes(b"no zip at all")
    opened = []

    def watched(path):
        opened.append(open_store(path))
        return opened[-1]

    open_store = splitting.open_store
    monkeypatch.setattr(splitting, "open_store", watched)
    with pytest.raises(cs.FormatError):
        cs.open_splits(tmp_path)
    (train,) = opened
    with pytest.raises(ValueError, match="closed"):
        train["y"][:]


def test_a_folder_without_files_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file NAME\.zarr\.zip in the folder"):
        cs.open_splits(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        cs.open_splits(tmp_path / "elsewhere")
