"""Claims about merging: the parts one behind the other, chunks as they were, nothing mixed up."""

from __future__ import annotations

import errno
import os
import zipfile

import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.cli import main
from chunkstore.system import NativeCalls, replaced_calls
from tests.store.stores import STRUCTURE, random_array

ARRAYS = {
    "x": ("uint8", (4, 5)),
    "label": ("int64", ()),
    "when": ("datetime64[D]", ()),
    "tag": ("U3", (2,)),
    "record": (STRUCTURE, ()),
    "nothing": ("float32", (0,)),
}


def samples(count, seed):
    return {
        name: random_array((count, *shape), dtype, seed=seed)
        for name, (dtype, shape) in ARRAYS.items()
    }


def write(path, arrays, **options):
    spec = {
        name: cs.ArraySpec(array.dtype, array.shape[1:], chunk_length=64 if name == "label" else 16)
        for name, array in arrays.items()
    }
    with cs.create(path, arrays=spec, overwrite=True, **options) as writer:
        writer.append(**arrays)


def check_joined(out, parts):
    with cs.open(out) as store:
        for name in parts[0]:
            expected = np.concatenate([part[name] for part in parts])
            assert store[name].dtype == expected.dtype
            assert np.array_equal(store[name][...], expected)
    assert cs.verify(out).ok


@given(st.lists(st.integers(0, 150), min_size=1, max_size=5), st.data())
@settings(max_examples=25)
def test_a_merged_file_holds_the_parts_one_behind_the_other(tmp_path_factory, lengths, data):
    folder = tmp_path_factory.mktemp("merge")
    parts = [samples(length, seed) for seed, length in enumerate(lengths)]
    paths = [folder / f"{i}.zarr.zip" for i in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        write(path, part, codec=data.draw(st.sampled_from(["lz4", "zstd"])))
    report = cs.merge(paths, folder / "all.zarr.zip")
    assert report.num_samples == sum(lengths)
    check_joined(folder / "all.zarr.zip", parts)


@pytest.mark.leaves_open("zarr keeps an event loop for the life of the process")
def test_whole_chunks_are_copied_byte_for_byte(tmp_path):
    parts = [samples(length, seed) for seed, length in enumerate((128, 64, 70))]
    paths = [tmp_path / f"{i}.zarr.zip" for i in range(3)]
    for path, part, shuffle in zip(paths, parts, ("none", "byte", "bit"), strict=True):
        write(path, part, codec="lz4", level=5, shuffle=shuffle)
    report = cs.merge(paths, tmp_path / "all.zarr.zip")
    check_joined(tmp_path / "all.zarr.zip", parts)
    # Only the short last chunk of each of the five arrays is new.
    assert report.encoded_chunks == 5
    with zipfile.ZipFile(tmp_path / "all.zarr.zip") as whole, zipfile.ZipFile(paths[1]) as part:
        assert whole.read("x/c/8/0/0") == part.read("x/c/0/0/0")
        assert whole.read("label/c/2") == part.read("label/c/0")
    with zarr.storage.ZipStore(tmp_path / "all.zarr.zip", mode="r") as opened:
        group = zarr.open(opened, mode="r")
        assert np.array_equal(group["x"][...], np.concatenate([part["x"] for part in parts]))


def test_parts_that_grew_by_appends_merge_as_well(tmp_path):
    first, second, third = (samples(length, seed) for seed, length in enumerate((50, 78, 20)))
    write(tmp_path / "a.zarr.zip", first)
    with cs.append(tmp_path / "a.zarr.zip") as writer:
        writer.append(**second)
    write(tmp_path / "b.zarr.zip", third)
    out = tmp_path / "all.zarr.zip"
    cs.merge([tmp_path / "a.zarr.zip", tmp_path / "b.zarr.zip"], out)
    check_joined(out, [first, second, third])


def test_attributes_that_all_parts_share_and_equal_unaligned_arrays_are_kept(tmp_path):
    for i in range(2):
        with cs.create(tmp_path / f"{i}.zarr.zip", attributes={"classes": ["a"], "i": i}) as w:
            w.append(y=np.arange(5))
            w.put("mean", np.ones(3), aligned=False, attributes={"of": "y"})
    paths = [tmp_path / "0.zarr.zip", tmp_path / "1.zarr.zip"]
    cs.merge(paths, tmp_path / "all.zarr.zip")
    with cs.open(tmp_path / "all.zarr.zip") as store:
        assert store.attributes == {"classes": ["a"]}
        assert store["mean"][...].tolist() == [1, 1, 1]
        assert store["mean"].attributes == {"of": "y"}
        assert store["y"][...].tolist() == [0, 1, 2, 3, 4] * 2
    cs.merge(paths, tmp_path / "all.zarr.zip", attributes={"new": 1}, overwrite=True)
    with cs.open(tmp_path / "all.zarr.zip") as store:
        assert store.attributes == {"new": 1}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"z": np.zeros(3)}, r"it has the arrays z; expected y"),
        ({"y": np.zeros(3, "f4")}, r"samples of float32 \(\); expected int64 \(\)"),
        ({"y": np.zeros((3, 1), "i8")}, r"samples of int64 \(1,\); expected int64 \(\)"),
    ],
    ids=["names", "dtype", "shape"],
)
def test_parts_that_differ_are_refused_and_nothing_is_left(tmp_path, other, message):
    cs.save(tmp_path / "a.zarr.zip", {"y": np.arange(3)})
    cs.save(tmp_path / "b.zarr.zip", other)
    with pytest.raises(ValueError, match=r"b\.zarr\.zip cannot follow .*" + message):
        cs.merge([tmp_path / "a.zarr.zip", tmp_path / "b.zarr.zip"], tmp_path / "out.zarr.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr.zip", "b.zarr.zip"]


def test_a_damaged_part_is_named_and_nothing_is_left(tmp_path):
    parts = [samples(64, 0), samples(64, 1)]
    for i, part in enumerate(parts):
        write(tmp_path / f"{i}.zarr.zip", part)
    with zipfile.ZipFile(tmp_path / "1.zarr.zip") as archive:
        entry = archive.getinfo("x/c/2/0/0")
    content = bytearray((tmp_path / "1.zarr.zip").read_bytes())
    content[entry.header_offset + 30 + len(entry.filename) + entry.compress_size // 2] ^= 1
    (tmp_path / "1.zarr.zip").write_bytes(content)
    with pytest.raises(cs.CorruptionError, match=r"1\.zarr\.zip: 'x/c/2/0/0' at byte"):
        cs.merge([tmp_path / "0.zarr.zip", tmp_path / "1.zarr.zip"], tmp_path / "out.zarr.zip")
    assert len(list(tmp_path.iterdir())) == 2


def write_with_gaps(path, seed):
    """A file of chunks between old directories, short edges and a replaced array."""
    parts = [samples(length, seed + i) for i, length in enumerate((100, 28, 64, 128))]
    write(path, parts[0])
    for part in parts[1:]:
        with cs.append(path) as writer:
            writer.append(**part)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in ARRAYS}
    joined["label"] = joined["label"][::-1].copy()
    with cs.append(path) as writer:
        writer.put("label", joined["label"], chunk_length=64)
    return joined


@pytest.mark.parametrize("gap_nbytes", [0, 1 << 16], ids=["no gap", "gaps"])
@pytest.mark.parametrize("run_nbytes", [1, 2000, 1 << 20])
def test_chunks_that_are_read_together_come_over_as_those_that_are_not(
    tmp_path, monkeypatch, run_nbytes, gap_nbytes
):
    paths = [tmp_path / f"{i}.zarr.zip" for i in range(3)]
    parts = [write_with_gaps(path, 10 * i) for i, path in enumerate(paths)]
    report = cs.merge(paths, tmp_path / "usual.zarr.zip")
    assert report.encoded_chunks == 0
    check_joined(tmp_path / "usual.zarr.zip", parts)
    monkeypatch.setattr("chunkstore.store.moving._RUN_NBYTES", run_nbytes)
    monkeypatch.setattr("chunkstore.store.moving._MOST_GAP_NBYTES", gap_nbytes)
    cs.merge(paths, tmp_path / "all.zarr.zip")
    assert (tmp_path / "all.zarr.zip").read_bytes() == (tmp_path / "usual.zarr.zip").read_bytes()


@pytest.mark.parametrize("where", ["header", "name", "data"])
@pytest.mark.parametrize("key", ["x/c/0/0/0", "x/c/7/0/0", "label/c/1", "tag/c/3/0/0"])
def test_damage_of_any_chunk_is_found_while_it_is_copied(tmp_path, key, where):
    path = tmp_path / "a.zarr.zip"
    write(path, samples(128, 0))
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(key)
    at = {"header": 14, "name": 30, "data": 30 + len(key) + entry.compress_size - 1}[where]
    content = bytearray(path.read_bytes())
    content[entry.header_offset + at] ^= 0x40
    path.write_bytes(content)
    with pytest.raises(cs.CorruptionError, match=rf"a\.zarr\.zip: '{key}' at byte"):
        cs.merge([path], tmp_path / "out.zarr.zip")
    assert [found.name for found in tmp_path.iterdir()] == ["a.zarr.zip"]


def test_a_refused_write_ends_a_merge_and_leaves_nothing(tmp_path):
    class Full(NativeCalls):
        left = 300_000

        def pwrite(self, descriptor, data, offset):
            self.left -= len(data)
            if self.left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().pwrite(descriptor, data, offset)

    values = np.random.default_rng(0).integers(0, 256, (4096, 1000), dtype=np.uint8)
    path = tmp_path / "a.zarr.zip"
    cs.save(path, {"x": values}, chunk_nbytes=1 << 16)
    with replaced_calls(Full()), pytest.raises(cs.ChunkStoreError, match="No space left") as found:
        cs.merge([path, path], tmp_path / "out.zarr.zip")
    assert found.value.errno == errno.ENOSPC
    assert [found.name for found in tmp_path.iterdir()] == ["a.zarr.zip"]


@pytest.mark.leaves_open("zarr keeps an event loop for the life of the process")
def test_files_that_cannot_be_parts_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one file, got none"):
        cs.merge([], tmp_path / "out.zarr.zip")
    with pytest.raises(TypeError, match="merge takes a list of files, got one"):
        cs.merge(str(tmp_path / "a.zarr.zip"), tmp_path / "out.zarr.zip")
    with zarr.storage.ZipStore(tmp_path / "z.zip", mode="w") as target:
        zarr.create_array(target, name="y", data=np.arange(3))
    with pytest.raises(cs.UnsupportedError, match="only files written by chunkstore are merged"):
        cs.merge([tmp_path / "z.zip"], tmp_path / "out.zarr.zip")


def test_the_command_line_merges_and_says_what_was_copied(tmp_path):
    paths = [tmp_path / f"{i}.zarr.zip" for i in range(2)]
    for i, path in enumerate(paths):
        cs.save(path, {"y": np.arange(4096) + i}, chunk_nbytes=1 << 15)
    out = tmp_path / "all.zarr.zip"
    result = CliRunner().invoke(main, ["merge", str(out), *map(str, paths)])
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("8,192 samples of 2 files; 2 chunks copied, 0 encoded again\n")
    assert CliRunner().invoke(main, ["merge", str(out), *map(str, paths)]).exit_code == 2


@pytest.mark.parametrize("mean", [np.arange(900.0), np.zeros((0, 3))], ids=["some", "none"])
def test_equal_unaligned_arrays_are_equal_however_they_are_encoded(tmp_path, mean):
    for name, codec in (("a", "lz4"), ("b", "zstd")):
        with cs.create(tmp_path / name, codec=codec) as writer:
            writer.append(x=np.arange(10))
            writer.put("mean", mean, aligned=False)
    cs.merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    with cs.open(tmp_path / "out") as store:
        np.testing.assert_array_equal(store["mean"][...], mean)


@pytest.mark.parametrize(
    ("array", "attributes"),
    [
        (np.arange(900.0) + 1e-9, {}),
        (np.arange(900.0, dtype="f4"), {}),
        (np.arange(900.0), {"k": 1}),
    ],
    ids=["value", "dtype", "attributes"],
)
def test_other_unaligned_arrays_are_refused_however_they_are_encoded(tmp_path, array, attributes):
    given = {"a": ("lz4", np.arange(900.0), {}), "b": ("zstd", array, attributes)}
    for name, (codec, values, about) in given.items():
        with cs.create(tmp_path / name, codec=codec) as writer:
            writer.append(x=np.arange(10))
            writer.put("mean", values, aligned=False, attributes=about)
    with pytest.raises(ValueError, match="must be equal in all parts; mean differ"):
        cs.merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")


def test_what_a_killed_merge_left_is_dropped_as_the_error_says(tmp_path):
    for name in ("a", "b"):
        cs.save(tmp_path / name, {"x": np.arange(10)})
    parts, out = [str(tmp_path / "a"), str(tmp_path / "b")], tmp_path / "out"
    (tmp_path / "out.partial").write_bytes((tmp_path / "a").read_bytes()[:100])
    with pytest.raises(
        FileExistsError, match=r"overwrite=True \(--overwrite\) drops what was left"
    ):
        cs.merge(parts, out)
    assert (tmp_path / "out.partial").exists()
    result = CliRunner().invoke(main, ["merge", str(out), *parts, "--overwrite"])
    assert result.exit_code == 0, result.output
    assert len(cs.load(out)["x"]) == 20
    assert not (tmp_path / "out.partial").exists()
