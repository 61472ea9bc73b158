"""Does a file with other codecs and chunks hold the same values, and say what it was made of?"""

from __future__ import annotations

import errno
import os
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.rewriting import reading, writing
from chunkstore.store import array_reader
from tests.rewriting.files import (
    assert_same_values,
    equal_bits,
    many_types,
    names_in,
    write_file,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "in.zarr.zip"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.zarr.zip"


def test_a_codec_changes_all_arrays_and_no_value(path, out):
    arrays = write_file(path)
    report = cs.recompress(path, out, codec="lz4", level=7)
    assert_same_values(out, arrays)
    assert cs.verify(out).ok
    with cs.open(path) as before, cs.open(out) as after:
        assert {array.codec.split()[1] for array in after.values()} == {"lz4-7"}
        for name, array in before.items():
            assert equal_bits(after[name][:], array[:])
            assert after[name].attributes == array.attributes
            assert after[name].chunk_length == array.chunk_length
        about = after.attributes
        assert about.pop("import")["kind"] == "recompress"
        assert about == before.attributes
        assert list(after) == list(before)
    assert (report.method, report.is_verified, report.num_samples) == ("recompress", True, 1000)
    assert names_in(path.parent) == ["in.zarr.zip", "out.zarr.zip"]


def test_what_is_not_named_stays_for_each_array(path, out):
    specs = {
        "a": cs.ArraySpec("i4", codec="lz4", level=3, shuffle="byte"),
        "b": cs.ArraySpec("f8", codec="gzip", level=2),
        "r": cs.ArraySpec("u1", (9,), codec="raw"),
        "d": cs.ArraySpec("i2", codec="zstd", level=1, shuffle="bit"),
    }
    with cs.create(path, arrays=specs) as writer:
        writer.append(
            a=np.arange(50, dtype="i4"),
            b=np.zeros(50),
            r=np.zeros((50, 9), "u1"),
            d=np.zeros(50, "i2"),
        )
    cs.recompress(path, out, chunk_length=10)
    with cs.open(path) as before, cs.open(out) as after:
        assert {k: v.codec for k, v in after.items()} == {k: v.codec for k, v in before.items()}
        assert after["r"].chunk_length == 10
    cs.recompress(path, out, level=9, overwrite=True)
    with cs.open(out) as after:
        assert after["a"].codec == "blosc lz4-9 byte"
        assert after["b"].codec == "gzip-9"
        assert after["r"].codec == "raw"
        assert after["d"].codec == "blosc zstd-9 bit"
    cs.recompress(path, out, shuffle="none", overwrite=True)
    with cs.open(out) as after:
        assert (after["a"].codec, after["d"].codec) == ("blosc lz4-3 none", "blosc zstd-1 none")


def test_a_shuffle_of_auto_is_decided_anew_and_keeps_codec_level_and_typesize(path, out):
    smooth = np.arange(4000, dtype="i4")
    specs = {
        "a": cs.ArraySpec("i4", codec="lz4", level=9, shuffle="none"),
        "b": cs.ArraySpec("i4", codec="gzip", level=2),
        "r": cs.ArraySpec("i4", codec="raw"),
        "t": cs.ArraySpec("i4", (3,), codec="lz4", level=2, shuffle="none", typesize=12),
    }
    with cs.create(path, arrays=specs) as writer:
        writer.append(a=smooth, b=smooth, r=smooth, t=np.repeat(smooth, 3).reshape(-1, 3))
        writer.put("beside", smooth, aligned=False, codec="lz4", level=7, shuffle="none")
    report = cs.recompress(path, out, shuffle="auto")
    with cs.open(out) as after:
        assert after["a"].codec in ("blosc lz4-9 byte", "blosc lz4-9 bit")
        assert after["beside"].codec in ("blosc lz4-7 byte", "blosc lz4-7 bit")
        assert (after["b"].codec, after["r"].codec) == ("gzip-2", "raw")
        assert after["t"].codec.startswith("blosc lz4-2 b")
        assert after["t"]._node.metadata.codecs.behind[0].typesize == 12
    assert [note for note in report.notes if "no effect" in note] == [
        "shuffle=auto has no effect on array 'b', stored with gzip-2; name a codec",
        "shuffle=auto has no effect on array 'r', stored with raw; name a codec",
    ]


@pytest.mark.parametrize(
    ("codec", "options", "names"),
    [
        ("raw", {"level": 3}, ["level"]),
        ("raw", {"shuffle": "byte", "typesize": 8}, ["shuffle", "typesize"]),
        ("gzip", {"shuffle": "byte", "level": 6}, ["shuffle"]),
        ("lz4", {"shuffle": "byte", "level": 6, "typesize": 8}, []),
        ("lz4", {"typesize": 7}, ["typesize"]),
    ],
)
def test_an_option_without_effect_is_told(path, out, codec, options, names):
    cs.save(path, {"x": np.arange(90)}, codec=codec)
    notes = cs.recompress(path, out, **options).notes
    assert [note.split("=")[0] for note in notes] == names
    assert all("has no effect" in note for note in notes)


def test_a_file_that_somebody_appends_to_is_copied_as_far_as_it_was_flushed(path, out):
    arrays = write_file(path, 100)
    with cs.append(path) as writer:
        writer.append_mapping({name: values[:10] for name, values in arrays.items()})
        report = cs.recompress(path, out)
        with pytest.raises(cs.LockedError):
            cs.compact(path)
    assert (report.method, report.num_samples) == ("copy", 100)
    assert_same_values(out, arrays)


def test_a_copy_does_not_open_the_source_for_writing(path, out, monkeypatch):
    arrays = write_file(path, 100)
    opened = os.open

    def noted(name, flags, *more, **named):
        if os.fspath(name) == str(path) and flags & (os.O_RDWR | os.O_WRONLY):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return opened(name, flags, *more, **named)

    monkeypatch.setattr(os, "open", noted)
    with pytest.raises(cs.SystemCallError):
        cs.compact(path)
    assert cs.recompress(path, out).method == "copy"
    assert_same_values(out, arrays)


def test_a_typesize_is_for_the_arrays_that_it_fits_and_is_kept(path, out, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"x": rng.integers(0, 9, (90, 8, 8, 3), dtype="u1"), "y": np.arange(90)}
    cs.save(path, arrays)
    cs.recompress(path, out, codec="zstd", shuffle="byte", typesize=3)
    twice = tmp_path / "twice.zarr.zip"
    cs.recompress(out, twice, chunk_length=7)
    for changed in (out, twice):
        assert_same_values(changed, arrays)
        with cs.open(changed) as store:
            codecs = {
                name: array._node.metadata.codecs.behind[0].typesize
                for name, array in store.items()
            }
        assert codecs == {"x": 3, "y": 8}


def test_the_codec_can_be_chosen_by_the_samples(path, out):
    arrays = write_file(path, codec="raw")
    cs.recompress(path, out, codec="auto")
    assert_same_values(out, arrays)
    with cs.open(out) as store:
        assert store["labels"].codec.startswith("blosc ")


def test_where_nothing_is_to_change_the_stored_chunks_are_copied(path, out, monkeypatch):
    arrays = write_file(path, codec="lz4", level=5)
    monkeypatch.setattr(reading.SampleReader, "read", lambda *_: pytest.fail("decoded"))
    for options in ({}, {"level": 5}):
        report = cs.recompress(path, out, overwrite=True, **options)
        assert report.method == "copy"
    with cs.open(path) as before, cs.open(out) as after:
        assert after.fingerprint == before.fingerprint
        assert after.attributes == before.attributes
    assert_same_values(out, arrays)


@pytest.mark.parametrize(
    ("options", "lengths"),
    [
        ({"chunk_length": 10}, {"x": 10, "y": 2560}),
        ({"chunk_nbytes": 1 << 16}, {"x": 16, "y": 2048}),
        ({"chunk_nbytes": 1 << 12}, {"x": 4, "y": 2048}),
    ],
)
def test_chunks_get_the_length_that_is_named(path, out, options, lengths):
    cs.save(path, {"x": np.zeros((3000, 1024), "f4"), "y": np.arange(3000)})
    cs.recompress(path, out, **options)
    with cs.open(out) as store:
        assert {name: array.chunk_length for name, array in store.items()} == lengths
        assert store["y"][:].tolist() == list(range(3000))


@settings(max_examples=25)
@given(st.data())
def test_any_chunks_become_any_other_chunks(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any")
    count = data.draw(st.integers(0, 80))
    arrays = many_types(count)
    specs = {
        name: cs.ArraySpec(
            values.dtype, values.shape[1:], chunk_length=data.draw(st.integers(1, 50))
        )
        for name, values in arrays.items()
    }
    with cs.create(folder / "in.zarr.zip", arrays=specs) as writer:
        writer.append_mapping(arrays)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(writing, "_LEAST_BETWEEN_CHECKPOINTS_NBYTES", 0)
        patched.setattr(
            "chunkstore.rewriting.recompressing.BLOCK_NBYTES", data.draw(st.integers(1, 20_000))
        )
        cs.recompress(
            folder / "in.zarr.zip",
            folder / "out.zarr.zip",
            chunk_length=data.draw(st.integers(1, 50)),
        )
    assert_same_values(folder / "out.zarr.zip", arrays)


def test_the_bytes_do_not_depend_on_the_number_of_threads(path, tmp_path):
    write_file(path)
    contents = set()
    for threads in (1, 2, 5):
        out = tmp_path / f"{threads}.zarr.zip"
        cs.recompress(path, out, codec="zlib", chunk_length=13, threads=threads)
        contents.add(out.read_bytes())
    assert len(contents) == 1


def test_each_chunk_of_the_source_is_decoded_once(path, out, monkeypatch):
    """Also where a chunk of labels spans many ranges of images."""
    rng = np.random.default_rng(0)
    cs.save(
        path,
        {
            "x": rng.integers(0, 255, (400, 64, 64), dtype="u1"),
            "y": np.arange(400),
            "z": rng.standard_normal((400, 3)),
        },
        chunk_nbytes=1 << 14,
    )
    decoded = []
    read = array_reader.ArrayReader.read_chunk_into

    def noted(self, chunk_index, target):
        decoded.append((self._node.path, chunk_index))
        read(self, chunk_index, target)

    with monkeypatch.context() as patched:
        patched.setattr("chunkstore.rewriting.recompressing.BLOCK_NBYTES", 1 << 16)
        patched.setattr(array_reader.ArrayReader, "read_chunk_into", noted)
        cs.recompress(path, out, codec="lz4", verify=False)
    with cs.open(path) as store:
        assert len(decoded) == sum(array.num_chunks for array in store.values())


def test_some_arrays_are_taken_under_other_names(path, out):
    arrays = write_file(path, 50)
    cs.recompress(path, out, arrays={"x": "images", "mean": "mean"})
    with cs.open(out) as store:
        assert (sorted(store), store.sample_arrays) == (["mean", "x"], ("x",))
        assert equal_bits(store["x"][:], arrays["images"])
    cs.recompress(path, out, arrays=["labels"], overwrite=True)
    assert list(cs.load(out)) == ["labels"]
    with pytest.raises(KeyError, match="no array 'z'"):
        cs.recompress(path, out, arrays=["z"], overwrite=True)
    with pytest.raises(TypeError, match="got the text 'labels'"):
        cs.recompress(path, out, arrays="labels", overwrite=True)


def test_what_the_source_said_of_itself_is_kept(path, out, tmp_path):
    np.save(tmp_path / "x.npy", np.arange(20))
    cs.import_npy(tmp_path / "x.npy", path)
    cs.recompress(path, out, codec="lz4")
    twice = tmp_path / "twice.zarr.zip"
    cs.recompress(out, twice, codec="zlib")
    with cs.open(path) as first, cs.open(twice) as last:
        about = last.attributes["import"]
        assert (about["kind"], about["source"]) == ("recompress", str(out))
        assert about["before"]["before"] == first.attributes["import"]


@pytest.mark.parametrize("count", [0, 1])
def test_no_sample_and_one_sample_are_a_file_too(path, out, count):
    arrays = write_file(path, count)
    cs.recompress(path, out, codec="lz4")
    assert_same_values(out, arrays)


def test_a_file_without_arrays_keeps_its_attributes(path, out):
    with cs.create(path, attributes={"a": [1]}) as writer:
        writer.put("mean", np.ones(3), aligned=False)
    cs.recompress(path, out, codec="lz4")
    with cs.open(out) as store:
        assert (store.attributes["a"], store["mean"][:].tolist()) == ([1], [1, 1, 1])


def test_huge_attributes_are_kept(path, out):
    attributes = {"names": [f"name {i}" for i in range(50_000)]}
    cs.save(path, {"y": np.arange(3)}, attributes=attributes)
    cs.recompress(path, out, codec="lz4")
    with cs.open(out) as store:
        assert store.attributes["names"] == attributes["names"]


def damage(path, entry):
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(entry)
    content = bytearray(path.read_bytes())
    content[info.header_offset + 30 + len(entry) + info.compress_size // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("entry", ["images/c/3/0/0/0", "mean/c/0/0/0"])
def test_a_damaged_chunk_is_an_error_that_names_it(path, out, entry):
    write_file(path)
    damage(path, entry)
    with pytest.raises(cs.CorruptionError, match=entry) as caught:
        cs.recompress(path, out, codec="lz4")
    assert not out.exists()
    assert "`chunkstore repair` (chunkstore.repair) saves the rest" in str(caught.value)
    assert str(caught.value).endswith(f"what was written so far stays in {out}.partial")


def test_unfinished_work_of_other_arrays_beside_the_samples_is_not_gone_on_with(
    path, out, monkeypatch
):
    cs.save(path, {"x": np.arange(100)})
    with cs.append(path) as writer:
        writer.put("mean", np.zeros(3), aligned=False)
        writer.put("std", np.ones(3), aligned=False)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(writing._Run, "verify", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cs.recompress(path, out, codec="lz4", arrays={"x": "x", "m": "mean"})
    with pytest.raises(FileExistsError, match=r"another arrays\.m: 'mean' there, 'std' here"):
        cs.recompress(path, out, codec="lz4", arrays={"x": "x", "m": "std"})
    cs.recompress(path, out, codec="lz4", arrays={"x": "x", "m": "std"}, overwrite=True)
    assert cs.load(out)["m"].tolist() == [1, 1, 1]


def test_a_new_file_that_is_not_what_was_read_gets_no_name(path, out, monkeypatch):
    write_file(path)
    append = writing._Run._append

    def wrong(self, block):
        # One bit of one sample, behind the digest.
        append(self, block)
        self._position.digests["images"] ^= 1

    with monkeypatch.context() as patched:
        patched.setattr(writing._Run, "_append", wrong)
        with pytest.raises(
            cs.CorruptionError, match="array 'images': the new file does not hold"
        ) as caught:
            cs.recompress(path, out, codec="lz4")
    assert str(caught.value).count("The new file was not finished") == 1
    assert names_in(path.parent) == ["in.zarr.zip"]
    cs.recompress(path, out, codec="lz4")


def test_an_error_keeps_what_was_done_and_the_same_call_goes_on(path, out, tmp_path, monkeypatch):
    write_file(path)
    monkeypatch.setattr(writing, "_LEAST_BETWEEN_CHECKPOINTS_NBYTES", 0)
    monkeypatch.setattr("chunkstore.rewriting.recompressing.BLOCK_NBYTES", 10_000)
    read = reading.SampleReader.read

    def interrupted(self, start, stop):
        if start > 600:
            raise KeyboardInterrupt
        return read(self, start, stop)

    with monkeypatch.context() as patched:
        patched.setattr(reading.SampleReader, "read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cs.recompress(path, out, codec="lz4")
    assert names_in(path.parent) == ["in.zarr.zip", "out.zarr.zip.partial"]
    with pytest.raises(FileExistsError, match=r"another storage\.codec: 'lz4' there, 'zlib' here"):
        cs.recompress(path, out, codec="zlib")
    starts = []

    def noted(self, start, stop):
        starts.append(start)
        return read(self, start, stop)

    monkeypatch.setattr(reading.SampleReader, "read", noted)
    cs.recompress(path, out, codec="lz4")
    assert min(starts) > 300
    cs.recompress(path, tmp_path / "whole.zarr.zip", codec="lz4")
    assert out.read_bytes() == (tmp_path / "whole.zarr.zip").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codec": "rar"}, "codec must be one of .*blosclz, lz4"),
        ({"level": 10}, "level must be a whole number from 0 to 9"),
        ({"shuffle": "cards"}, "shuffle must be one of auto, none, byte, bit"),
        ({"chunk_length": 0}, "chunk_length must be at least 1, got 0"),
        ({"chunk_nbytes": 0}, r"chunk_nbytes must be in \[1, "),
        ({"chunk_length": 1, "chunk_nbytes": 1}, "give one of them"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
    ],
)
def test_what_is_not_allowed_is_refused_before_anything_is_made(path, out, options, message):
    write_file(path, 5)
    with pytest.raises(ValueError, match=message):
        cs.recompress(path, out, **options)
    assert names_in(path.parent) == ["in.zarr.zip"]


# ---------------------------------------------------------------- files of other writers


def write_foreign(zarr, path, *, zarr_format):
    with zarr.storage.ZipStore(path, mode="w") as storage:
        group = zarr.create_group(
            storage, attributes={"by": "zarr", "bad": float("nan")}, zarr_format=zarr_format
        )
        sub = group.create_group("sub", attributes={"of": "sub"})
        x = sub.create_array("x", shape=(50, 6), dtype="f4", chunks=(8, 4), fill_value=7.0)
        x[:30] = np.arange(180, dtype="f4").reshape(30, 6)
        if zarr_format == 3:
            y = group.create_array("y", shape=(50,), dtype=">i4", chunks=(5,), shards=(20,))
        else:
            y = group.create_array("y", shape=(50,), dtype=">i4", chunks=(5,))
        y[:] = np.arange(50)
        group.create_array("mean", data=np.ones(4))
        group.create_array("scale", data=np.float64(0.5))


@pytest.mark.leaves_open("zarr keeps its event loop")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_foreign_file_becomes_one_of_ours(path, out, require, zarr_format):
    write_foreign(require("zarr"), path, zarr_format=zarr_format)
    report = cs.recompress(path, out)
    with cs.open(path) as before, cs.open(out) as after:
        assert after.is_ours
        assert after.sample_arrays == before.sample_arrays
        for name in ("sub/x", "y", "mean"):
            assert equal_bits(after[name][:], before[name][:])
        assert after["sub/x"][40].tolist() == [7.0] * 6
        attributes = after.attributes
        assert attributes.pop("import")["kind"] == "recompress"
        assert attributes == {"by": "zarr", "bad": "nan", "scale": 0.5, "sub": {"of": "sub"}}
    assert any("'bad'" in note for note in report.notes)
    assert any("'scale'" in note for note in report.notes)


@pytest.mark.leaves_open("zarr keeps its event loop")
def test_a_file_that_is_one_array_is_called_as_the_file(path, out, require):
    zarr = require("zarr")
    with zarr.storage.ZipStore(path, mode="w") as storage:
        zarr.create_array(storage, data=np.arange(9), attributes={"unit": "m"})
    cs.recompress(path, out)
    with cs.open(out) as store:
        (array,) = store.values()
        assert (array.name, array[:].tolist()) == ("in.zarr", list(range(9)))
        assert array.attributes == {"unit": "m"}


@pytest.mark.leaves_open("zarr keeps its event loop")
def test_a_name_that_none_of_ours_can_have_is_refused_with_the_way_out(path, out, require):
    zarr = require("zarr")
    with zarr.storage.ZipStore(path, mode="w") as storage:
        group = zarr.create_group(storage)
        group.create_array("größe", data=np.arange(9))
    with pytest.raises(ValueError, match=r"printable ASCII.*arrays=\{'new name': 'größe'"):
        cs.recompress(path, out)
    cs.recompress(path, out, arrays={"size": "größe"})
    assert cs.load(out)["size"].tolist() == list(range(9))


@pytest.mark.leaves_open("zarr keeps its event loop")
def test_notes_list_what_a_foreign_file_loses(path, out, require):
    zarr = require("zarr")
    with zarr.storage.ZipStore(path, mode="w") as storage:
        group = zarr.create_group(storage)
        kept = zarr.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="shuffle")
        array = group.create_array(
            "x",
            shape=(9,),
            chunks=(3,),
            dtype="i4",
            fill_value=7,
            compressors=kept,
            dimension_names=["time"],
        )
        array[:3] = 1
        group.create_array("z", data=np.arange(9), compressors=zarr.codecs.ZstdCodec(level=3))
    notes = cs.recompress(path, out).notes
    assert cs.load(out)["x"].tolist() == [1, 1, 1, 7, 7, 7, 7, 7, 7]
    assert len(notes) == 3
    for part in (
        "'x': 2 chunks that are missing are stored with the fill value 7",
        "'x': the names of its axes, 'time', are not kept",
        "'z' is stored with zstd",
    ):
        assert sum(part in note for note in notes) == 1, part


def test_options_without_effect_on_the_codec_that_is_named_are_told(path, out):
    write_file(path, 20)
    report = cs.recompress(path, out, codec="raw", level=4, shuffle="bit")
    assert {note for note in report.notes if "no effect" in note} == {
        "level=4 has no effect with codec='raw'",
        "shuffle=bit has no effect with codec='raw'",
    }
