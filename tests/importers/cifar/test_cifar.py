"""Claims about CIFAR archives, laid out to the byte as they are downloaded."""

from __future__ import annotations

import io
import pickle
import tarfile

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.importers.arrays.options import import_arrays
from chunkstore.importers.cifar import plan_cifar
from tests.importers.pickles import python2

NUM = 20


def batch(seed, keys, num_classes):
    rng = np.random.default_rng(seed)
    return {
        "data": rng.integers(0, 256, (NUM, 3072)).astype("u1"),
        "batch_label": f"batch {seed}",
        "filenames": [f"file_{seed}_{i}.png" for i in range(NUM)],
        **{key: rng.integers(0, n, NUM).tolist() for key, n in zip(keys, num_classes, strict=True)},
    }


def members_of_10():
    names = {f"data_batch_{i}": batch(i, ["labels"], [10]) for i in range(1, 6)}
    names["test_batch"] = batch(6, ["labels"], [10])
    names["batches.meta"] = {
        "num_cases_per_batch": NUM,
        "label_names": [f"class{i}" for i in range(10)],
    }
    return {f"cifar-10-batches-py/{name}": value for name, value in names.items()}


def members_of_100():
    keys = ["fine_labels", "coarse_labels"]
    names = {name: batch(i, keys, [100, 20]) for i, name in enumerate(["train", "test"])}
    names["meta"] = {
        "fine_label_names": [f"fine{i}" for i in range(100)],
        "coarse_label_names": [f"coarse{i}" for i in range(20)],
    }
    return {f"cifar-100-python/{name}": value for name, value in names.items()}


def write_archive(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for name, value in members.items():
            raw = value if isinstance(value, bytes) else python2.dumps(value)
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
    return path


@pytest.fixture
def archive(tmp_path):
    return write_archive(tmp_path / "cifar-10-python.tar.gz", members_of_10())


def expected(members, names, key):
    """Read the members with Python's own unpickler, as everybody's code does."""
    loaded = [pickle.loads(python2.dumps(members[name]), encoding="latin-1") for name in names]
    images = np.concatenate([part["data"] for part in loaded]).reshape(-1, 3, 32, 32)
    return images, [label for part in loaded for label in part[key]]


def test_training_and_test_images_are_files_of_one_folder(tmp_path, archive):
    reports = cs.import_cifar(archive, tmp_path / "set")
    assert {name: report.num_samples for name, report in reports.items()} == {
        "train": 5 * NUM,
        "test": NUM,
    }
    members = members_of_10()
    for part, names in (
        ("train", [f"cifar-10-batches-py/data_batch_{i}" for i in range(1, 6)]),
        ("test", ["cifar-10-batches-py/test_batch"]),
    ):
        images, labels = expected(members, names, "labels")
        with cs.open(tmp_path / "set" / f"{part}.zarr.zip") as store:
            np.testing.assert_array_equal(store["x"][...], images.transpose(0, 2, 3, 1))
            assert store["y"][...].tolist() == labels
            assert store["name"][0] == members[names[0]]["filenames"][0]
            assert store.attributes["class_names"] == [f"class{i}" for i in range(10)]
    with cs.open_splits(tmp_path / "set") as data:
        assert set(data) == {"train", "test"}


def test_cifar_100_has_fine_and_coarse_labels(tmp_path):
    members = members_of_100()
    path = write_archive(tmp_path / "cifar-100-python.tar.gz", members)
    cs.import_cifar(path, tmp_path / "a.zarr.zip", part="train", layout="chw")
    images, fine = expected(members, ["cifar-100-python/train"], "fine_labels")
    _, coarse = expected(members, ["cifar-100-python/train"], "coarse_labels")
    with cs.open(tmp_path / "a.zarr.zip") as store:
        np.testing.assert_array_equal(store["x"][...], images)
        assert store["y"][...].tolist() == fine
        assert store["coarse"][...].tolist() == coarse
        assert store.attributes["coarse_names"][3] == "coarse3"


def test_an_unpacked_folder_gives_the_same_as_the_archive(tmp_path, archive):
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "data", filter="data")
    for i, place in enumerate(
        [tmp_path / "data", tmp_path / "data" / "cifar-10-batches-py", archive]
    ):
        cs.import_cifar(place, tmp_path / f"{i}.zarr.zip", part="test")
    loaded = [cs.load(tmp_path / f"{i}.zarr.zip") for i in range(3)]
    for other in loaded[1:]:
        np.testing.assert_array_equal(loaded[0]["x"], other["x"])
        np.testing.assert_array_equal(loaded[0]["y"], other["y"])


def test_a_split_divides_the_training_images_only(tmp_path, archive):
    split = {"train": 0.8, "val": 0.2}
    reports = cs.import_cifar(archive, tmp_path / "set", split=split, stratify="y", shuffle=True)
    assert reports["train"].num_samples + reports["val"].num_samples == 5 * NUM
    assert reports["test"].num_samples == NUM
    names = [cs.load(report.path)["name"].tolist() for report in reports.values()]
    assert len({name for part in names for name in part}) == 6 * NUM
    with pytest.raises(ValueError, match="other than 'test'"):
        cs.import_cifar(archive, tmp_path / "b", split={"test": 0.5})


@pytest.mark.parametrize("size", [40, 41])
@pytest.mark.parametrize("pad", ["channel-mean", "line-mean", "zero", "reflect"])
def test_images_are_padded_as_told(tmp_path, archive, size, pad):
    cs.import_cifar(archive, tmp_path / "a.zarr.zip", part="test", layout="chw", size=size, pad=pad)
    images, _ = expected(members_of_10(), ["cifar-10-batches-py/test_batch"], "labels")
    padded = cs.load(tmp_path / "a.zarr.zip")["x"]
    assert padded.shape == (NUM, 3, size, size)
    before, after = (size - 32) // 2, (size - 31) // 2
    np.testing.assert_array_equal(padded[:, :, before : before + 32, before : before + 32], images)
    for i in (0, 7):
        for channel in range(3):
            plane = images[i, channel]
            options = {
                "channel-mean": {"mode": "constant", "constant_values": np.rint(plane.mean())},
                "line-mean": {"mode": "mean"},
                "zero": {"mode": "constant"},
                "reflect": {"mode": "reflect"},
            }
            wanted = np.pad(plane, ((before, after), (before, after)), **options[pad])
            np.testing.assert_array_equal(padded[i, channel], wanted.astype("u1"))


def changed(**changes):
    members = members_of_10()
    members["cifar-10-batches-py/test_batch"] |= changes
    return members


BAD = {
    "label": (changed(labels=[0] * 7 + [10] + [0] * 12), "test_batch: image 7: .* got 10"),
    "count": (changed(labels=[0]), "'labels' must be 20 labels, got 1"),
    "shape": (changed(data=np.zeros((NUM, 5), "u1")), r"'data' must be uint8 of shape \(n, 3072\)"),
    "no-meta": ({"cifar-10-batches-py/test_batch": {}}, "neither 'batches.meta'"),
    "code": (
        members_of_10() | {"cifar-10-batches-py/test_batch": b"cposix\nsystem\n(S'true'\ntR."},
        r"'test_batch'.*posix\.system",
    ),
}


@pytest.mark.parametrize(("members", "message"), BAD.values(), ids=BAD.keys())
def test_what_is_no_cifar_is_named_with_its_place(tmp_path, members, message):
    path = write_archive(tmp_path / "a.tar.gz", members)
    with pytest.raises(cs.ChunkStoreError, match=message):
        cs.import_cifar(path, tmp_path / "a.zarr.zip", part="test")
    assert not (tmp_path / "a.zarr.zip").exists()


def test_a_missing_member_and_a_cut_archive_are_named(tmp_path, archive):
    members = members_of_10()
    del members["cifar-10-batches-py/data_batch_3"]
    path = write_archive(tmp_path / "b.tar.gz", members)
    with pytest.raises(FileNotFoundError, match="'data_batch_3' is not there"):
        cs.import_cifar(path, tmp_path / "set")
    raw = archive.read_bytes()
    archive.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(cs.CorruptionError, match="the archive is damaged"):
        cs.import_cifar(archive, tmp_path / "set")
    (tmp_path / "text").write_text("text")
    with pytest.raises(cs.FormatError, match="no archive"):
        cs.import_cifar(tmp_path / "text", tmp_path / "set")


@pytest.mark.parametrize("split", [None, {"train": 0.8, "val": 0.2}], ids=["whole", "split"])
def test_an_import_that_was_killed_between_its_parts_goes_on(tmp_path, archive, monkeypatch, split):
    cs.import_cifar(archive, tmp_path / "whole", split=split, shuffle=True)
    calls = []

    def stops(*arguments):
        if calls:
            raise KeyboardInterrupt
        calls.append(arguments)
        return import_arrays(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr("chunkstore.importers.cifar.import_arrays", stops)
        with pytest.raises(KeyboardInterrupt):
            cs.import_cifar(archive, tmp_path / "set", split=split, shuffle=True)
    assert not plan_cifar(archive, tmp_path / "set", split=split, shuffle=True).refused
    with pytest.raises(FileExistsError):
        cs.import_cifar(archive, tmp_path / "set", split=split, shuffle=True, seed=7)
    reports = cs.import_cifar(archive, tmp_path / "set", split=split, shuffle=True)
    assert list(reports) == [*(split or ["train"]), "test"]
    for name in reports:
        made = (tmp_path / "set" / f"{name}.zarr.zip").read_bytes()
        assert made == (tmp_path / "whole" / f"{name}.zarr.zip").read_bytes()
    with pytest.raises(FileExistsError):
        cs.import_cifar(archive, tmp_path / "set", split=split, shuffle=True)


def test_nothing_is_written_where_a_file_is_in_the_way_and_the_plan_says_so(tmp_path, archive):
    folder = tmp_path / "set"
    folder.mkdir()
    cs.save(folder / "test.zarr.zip", {"x": np.zeros(3)})
    assert "test.zarr.zip" in plan_cifar(archive, folder).refused[0]
    with pytest.raises(FileExistsError, match=r"test\.zarr\.zip"):
        cs.import_cifar(archive, folder)
    assert [path.name for path in folder.iterdir()] == ["test.zarr.zip"]
    plan = plan_cifar(archive, tmp_path / "new", split={"train": 0.5, "test": 0.5})
    assert "other than 'test'" in plan.refused[0]
    assert not plan_cifar(archive, tmp_path / "new").refused
    assert not (tmp_path / "new").exists()


def test_a_batch_without_file_names_is_noted_and_one_with_too_few_refused(tmp_path):
    members = members_of_10()
    del members["cifar-10-batches-py/data_batch_2"]["filenames"]
    path = write_archive(tmp_path / "a.tar.gz", members)
    report = cs.import_cifar(path, tmp_path / "a.zarr.zip", part="train")
    assert any("no file names in data_batch_2" in note for note in report.notes)
    assert "name" not in cs.load(report.path)
    members["cifar-10-batches-py/data_batch_2"]["filenames"] = ["one"]
    path = write_archive(tmp_path / "b.tar.gz", members)
    with pytest.raises(cs.FormatError, match="data_batch_2: 'filenames' must be 20 names, got 1"):
        cs.import_cifar(path, tmp_path / "b.zarr.zip", part="train")
