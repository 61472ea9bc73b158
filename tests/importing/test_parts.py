"""Claims about shuffled and divided imports."""

from __future__ import annotations

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.importing.parts import import_parts
from chunkstore.importing.run import ImportOptions
from tests.importing.sources import MemorySource, rows


def labels_of(path):
    with cs.open(path) as store:
        return store["y"][...]


def test_shuffling_mixes_the_samples_once_and_for_all_and_says_how(tmp_path):
    out = tmp_path / "a.zarr.zip"
    import_parts(MemorySource(rows(200)), out, ImportOptions(), shuffle=True, seed=3)
    order = labels_of(out)
    assert sorted(order.tolist()) == list(range(200))
    # Pinned: what was imported once can be imported again, on any machine.
    assert order[:8].tolist() == [138, 15, 163, 27, 121, 155, 189, 167]
    with cs.open(out) as store:
        assert store.attributes["import"]["order"] == {"shuffled": True, "seed": 3}
        assert store["name"][0] == f"n{order[0]}"


def test_parts_of_a_split_are_files_that_hold_every_sample_once(tmp_path):
    split = {"train": 0.7, "val": 0.3}
    labels = np.arange(200) % 4
    reports = import_parts(
        MemorySource(rows(200)),
        tmp_path / "set",
        ImportOptions(),
        shuffle=True,
        split=split,
        stratify=labels,
    )
    parts = {name: labels_of(tmp_path / "set" / f"{name}.zarr.zip") for name in split}
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(200))
    assert reports["train"].num_samples == len(parts["train"])
    for name, fraction in split.items():
        counts = np.bincount(labels[parts[name]])
        assert np.abs(counts - 50 * fraction).max() <= 3
    with cs.open_splits(tmp_path / "set") as data:
        assert list(data) == ["train", "val"]


def test_a_split_that_was_interrupted_keeps_its_finished_files_and_goes_on(tmp_path):
    split = {"train": 0.5, "val": 0.5}
    whole, out = tmp_path / "whole", tmp_path / "out"
    import_parts(MemorySource(rows(100)), whole, ImportOptions(), shuffle=False, split=split)
    last = int(labels_of(whole / "val.zarr.zip")[-1])
    with pytest.raises(KeyboardInterrupt):
        import_parts(
            MemorySource(rows(100), stops_at=last),
            out,
            ImportOptions(),
            shuffle=False,
            split=split,
        )
    train = (out / "train.zarr.zip").stat()
    import_parts(MemorySource(rows(100)), out, ImportOptions(), shuffle=False, split=split)
    assert (out / "train.zarr.zip").stat().st_mtime_ns == train.st_mtime_ns
    for name in split:
        path = f"{name}.zarr.zip"
        assert (out / path).read_bytes() == (whole / path).read_bytes()
    with pytest.raises(FileExistsError):
        import_parts(MemorySource(rows(100)), out, ImportOptions(), shuffle=False, split=split)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": {"a": 0.9, "b": 0.2}}, "fractions must be at least 0 and sum to 1"),
        ({"split": {"a": 1.0, "b": 0.0}}, "part 'b' of the split gets none of the 20 samples"),
        ({"split": {"../a": 1.0}}, "a part of a split names a file, got '../a'"),
        ({"stratify": [1] * 20}, "stratify= goes with split="),
        ({"split": {"a": 1.0}, "stratify": [1, 2]}, "one class for each of 20 samples, got shape"),
    ],
)
def test_splits_that_cannot_be_are_refused_before_anything_is_written(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        import_parts(
            MemorySource(rows(20)), tmp_path / "out", ImportOptions(), shuffle=True, **arguments
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"stratify": np.arange(60) % 3},
        {"split": {"b": 0.2, "a": 0.8}},
        {"stratify": None},
    ],
    ids=["seed", "classes", "order of parts", "no classes"],
)
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_part_is_not_added_to_those_of_another_split(tmp_path, change, shuffle):
    options = {
        "shuffle": shuffle,
        "seed": 0,
        "split": {"a": 0.8, "b": 0.2},
        "stratify": np.arange(60) % 2,
    }
    import_parts(MemorySource(rows(60)), tmp_path, ImportOptions(), **options)
    whole = (tmp_path / "b.zarr.zip").read_bytes()
    (tmp_path / "b.zarr.zip").unlink()
    with pytest.raises(cs.SystemCallError, match="exists already"):
        import_parts(MemorySource(rows(60)), tmp_path, ImportOptions(), **options | change)
    assert not (tmp_path / "b.zarr.zip").exists() or change.get("split")
    (tmp_path / "b.zarr.zip").unlink(missing_ok=True)
    import_parts(MemorySource(rows(60)), tmp_path, ImportOptions(), **options)
    assert (tmp_path / "b.zarr.zip").read_bytes() == whole
