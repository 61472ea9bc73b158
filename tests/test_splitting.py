"""Splits of real files and of arrays: disjoint, complete, near their fractions, stable."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs


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
    st.sampled_from([{}, {"by": "chunk"}, {"by": "group", "groups": "person"}]),
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
    [{}, {"by": "chunk"}, {"by": "group", "groups": "person"}, {"stratify": "person"}],
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
    for how in ({}, {"by": "chunk"}):
        before = cs.split(cs.concat(data), {"a": 0.5, "b": 0.5}, **how)["a"].numbers
        after = cs.split(cs.concat(grown), {"a": 0.5, "b": 0.5}, **how)["a"].numbers
        assert after[after < 100].tolist() == before[before < 100].tolist()
        assert (after[after >= 140] - 40).tolist() == before[before >= 100].tolist()


def test_by_chunk_no_chunk_is_read_for_two_parts(path):
    with cs.open(path) as store:
        parts = cs.split(store, {"train": 0.6, "val": 0.4}, by="chunk")
        length = store["x"].chunk_length
        assert length < 20
        chunks = [set((part.numbers // length).tolist()) for part in parts.values()]
    assert not chunks[0] & chunks[1]
    assert min(parts.fractions.values()) > 0.2


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
        ({"stratify": [1, 2]}, ValueError, r"each of 10 samples, got shape \(2,\)"),
        ({"stratify": "label"}, KeyError, "no array 'label' of samples; there are 'y'"),
        ({"fractions": {"a": 0.8, "b": 0.8}}, ValueError, "sum to 1 at most"),
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


def test_a_folder_without_files_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file NAME\.zarr\.zip in the folder"):
        cs.open_splits(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        cs.open_splits(tmp_path / "elsewhere")
