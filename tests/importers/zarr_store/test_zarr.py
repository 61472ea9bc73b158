"""Claims about zarr stores, against zarr-python."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import zarr
from numcodecs import Blosc, Shuffle
from zarr.codecs import BloscCodec

import chunkstore as cs

pytestmark = pytest.mark.leaves_open("zarr keeps an event loop for the life of the process")
CODECS = {
    "default": {},
    "raw": {"compressors": None},
    "gzip": {"compressors": zarr.codecs.GzipCodec()},
    "blosc": {"compressors": zarr.codecs.BloscCodec(cname="lz4", shuffle="bitshuffle")},
    "sharded": {"shards": (28, 8), "chunks": (7, 4)},
}


def write(path, zarr_format, *, store=None, **options):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 8)).astype("f4")
    group = zarr.create_group(
        store or str(path), zarr_format=zarr_format, attributes={"author": "someone"}
    )
    options.setdefault("chunks", (7, 8))
    options |= {"shape": x.shape, "dtype": x.dtype, "attributes": {"unit": "mV"}}
    group.create_array("train/x", **options)[:] = x
    group.create_array("train/y", data=np.arange(100), chunks=(64,))
    return x


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("is_zip", [False, True], ids=["folder", "zip"])
def test_arrays_of_format_3_come_over_exactly(tmp_path, codec, is_zip):
    path = tmp_path / "a.zip" if is_zip else tmp_path / "a"
    store = zarr.storage.ZipStore(path, mode="w") if is_zip else None
    x = write(path, 3, store=store, **CODECS[codec])
    if store is not None:
        store.close()
    cs.import_zarr(path, tmp_path / "a.zarr.zip", threads=3, chunk_length=11)
    with cs.open(tmp_path / "a.zarr.zip") as result:
        np.testing.assert_array_equal(result["train/x"][...], x)
        assert result["train/y"][...].tolist() == list(range(100))
        assert result["train/x"].dtype == np.float32
        assert result["train/x"].attributes["unit"] == "mV"
        assert result.attributes["author"] == "someone"


@pytest.mark.parametrize("dtype", [">f8", "<u2", "bool", "<c16", "S4", "<M8[s]", "U3"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_format_2_come_over_exactly(tmp_path, dtype, order):
    values = np.arange(60).reshape(20, 3).astype(dtype)
    array = zarr.create_array(
        str(tmp_path / "a"),
        shape=values.shape,
        dtype=dtype,
        chunks=(7, 2),
        zarr_format=2,
        order=order,
    )
    array[:] = values
    cs.import_zarr(tmp_path / "a", tmp_path / "b.zarr.zip")
    result = cs.load(tmp_path / "b.zarr.zip")["a"]
    np.testing.assert_array_equal(result, values)
    assert result.dtype == np.dtype(dtype).newbyteorder("=")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_text_of_any_length_comes_over(tmp_path, zarr_format):
    group = zarr.open_group(str(tmp_path / "a"), mode="w", zarr_format=zarr_format)
    array = group.create_array("text", shape=(5,), dtype=str, chunks=(2,))
    texts = ["a", "grün", "", "longer text", "x"]
    array[:] = np.array(texts, object) if zarr_format == 2 else np.array(texts)
    cs.import_zarr(tmp_path / "a", tmp_path / "b.zarr.zip")
    assert cs.load(tmp_path / "b.zarr.zip")["text"].tolist() == texts


def test_paths_are_chosen_and_single_values_become_attributes(tmp_path):
    x = write(tmp_path / "a", 3)
    group = zarr.open_group(str(tmp_path / "a"), mode="r+")
    group.create_array("scale", data=np.array(0.5))
    group.create_array("mean", data=np.arange(8.0))
    arrays = {"x": "/train/x", "scale": "scale", "m": "mean"}
    cs.import_zarr(tmp_path / "a", tmp_path / "b.zarr.zip", arrays=arrays, beside=["m"])
    with cs.open(tmp_path / "b.zarr.zip") as store:
        assert set(store) == {"x", "m"}
        assert store.attributes["scale"] == 0.5
        np.testing.assert_array_equal(store["x"][...], x)
        assert store["m"][...].tolist() == list(range(8))


def test_a_shuffled_split_holds_every_sample_once(tmp_path):
    x = write(tmp_path / "a", 3)
    reports = cs.import_zarr(
        tmp_path / "a",
        tmp_path / "set",
        arrays={"x": "train/x", "y": "train/y"},
        split={"train": 0.7, "val": 0.3},
        shuffle=True,
    )
    parts = [cs.load(report.path) for report in reports.values()]
    assert sorted(np.concatenate([part["y"] for part in parts]).tolist()) == list(range(100))
    for part in parts:
        np.testing.assert_array_equal(part["x"], x[part["y"]])


def test_chunks_that_are_not_in_the_store_are_noted(tmp_path):
    array = zarr.create_array(
        str(tmp_path / "a"), shape=(100,), dtype="i4", chunks=(10,), fill_value=7
    )
    array[:45] = 1
    report = cs.import_zarr(tmp_path / "a", tmp_path / "b.zarr.zip")
    assert any("5 chunks are not in the store" in note for note in report.notes)
    np.testing.assert_array_equal(cs.load(report.path)["a"], array[:])


def test_a_damaged_chunk_names_array_and_samples(tmp_path):
    write(tmp_path / "a", 3)
    chunk = tmp_path / "a/train/x/c/4/0"
    chunk.write_bytes(chunk.read_bytes()[:20])
    with pytest.raises(cs.CorruptionError, match=r"array 'train/x': samples \[\d+, \d+\)"):
        cs.import_zarr(tmp_path / "a", tmp_path / "b.zarr.zip")
    assert not (tmp_path / "b.zarr.zip").exists()


def test_a_damaged_zip_is_an_error(tmp_path):
    store = zarr.storage.ZipStore(tmp_path / "a.zip", mode="w")
    write(None, 3, store=store, compressors=None)
    store.close()
    raw = bytearray((tmp_path / "a.zip").read_bytes())
    raw[len(raw) // 3] ^= 1
    (tmp_path / "a.zip").write_bytes(raw)
    with pytest.raises(cs.CorruptionError, match="the zip is damaged"):
        cs.import_zarr(tmp_path / "a.zip", tmp_path / "b.zarr.zip")


def test_what_is_no_store_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder or zip"):
        cs.import_zarr(tmp_path / "a", tmp_path / "b.zarr.zip")
    (tmp_path / "a").mkdir()
    with pytest.raises(cs.FormatError, match="no zarr group or array"):
        cs.import_zarr(tmp_path / "a", tmp_path / "b.zarr.zip")
    (tmp_path / "c").write_text("text")
    with pytest.raises(cs.FormatError, match="no folder and no zip"):
        cs.import_zarr(tmp_path / "c", tmp_path / "b.zarr.zip")
    write(tmp_path / "d", 3)
    with pytest.raises(KeyError, match="no array 'z', only train/x, train/y"):
        cs.import_zarr(tmp_path / "d", tmp_path / "b.zarr.zip", arrays=["z"])


def test_a_store_of_ours_can_be_imported_as_any_other(tmp_path):
    write(tmp_path / "a", 3)
    cs.import_zarr(tmp_path / "a", tmp_path / "b.zarr.zip")
    shutil.rmtree(tmp_path / "a")
    cs.import_zarr(tmp_path / "b.zarr.zip", tmp_path / "c.zarr.zip", codec="lz4")
    assert cs.load(tmp_path / "c.zarr.zip")["train/y"].sum() == 4950


LOGICAL = {
    "text": np.array(["a", "grün", ""] * 7),
    "texts": np.array([["a", "grün"]] * 21),
    "bytes": np.array([b"ab", b"\xff", b""] * 7),
    "raw": np.frombuffer(bytes(range(63)), "V3"),
    "dates": np.arange(21).astype("M8[D]"),
    "spans": np.array([1, "NaT", 3] * 7, "m8[ms]"),
    "pairs": np.array([(i, f"t{i}") for i in range(21)], [("i", "i2"), ("t", "U3")]),
    "numbers": np.arange(21.0),
}


@pytest.mark.parametrize("source", ["file", "export"])
def test_types_that_zarr_lacks_come_back_from_stores_of_ours(tmp_path, source):
    beside = np.array(["first", "second"])
    with cs.create(tmp_path / "a.zarr.zip", attributes={"author": "me"}) as writer:
        writer.append(**LOGICAL)
        writer.put("beside", beside, aligned=False)
        writer.attributes["names"] = ["k"]
    path = tmp_path / "a.zarr.zip"
    if source == "export":
        path = tmp_path / "a.zarr"
        cs.export(tmp_path / "a.zarr.zip", path)
    report = cs.import_zarr(path, tmp_path / "b.zarr.zip", chunk_length=4)
    assert report.notes == ()
    with cs.open(tmp_path / "b.zarr.zip") as store:
        assert set(store.sample_arrays) == set(LOGICAL)
        for name, values in {**LOGICAL, "beside": beside}.items():
            assert store[name].dtype == values.dtype, name
            assert store[name].shape == values.shape, name
            assert store[name][...].tobytes() == values.tobytes(), name
        assert store.attributes["author"] == "me"
        assert store.attributes["names"] == ["k"]


def test_a_type_that_does_not_fit_what_is_stored_is_named(tmp_path):
    group = zarr.open_group(str(tmp_path / "a"), mode="w")
    about = {"chunkstore": {"dtype": "<U3"}}
    group.create_array("x", data=np.zeros((5, 2), "u4"), attributes=about)
    with pytest.raises(cs.FormatError, match=r"array 'x': .*says <U3, .*\(5, 2\)"):
        cs.import_zarr(tmp_path / "a", tmp_path / "b.zarr.zip")
    group["x"].attrs["chunkstore"] = {"dtype": "O"}
    with pytest.raises(cs.FormatError, match=r"array 'x': .*is no data type"):
        cs.import_zarr(tmp_path / "a", tmp_path / "b.zarr.zip")


def write_v2(folder, values):
    group = zarr.open_group(folder, mode="w", zarr_format=2)
    return group.create_array(
        "x", data=values, chunks=(1000,), filters=[Shuffle(8)], compressors=Blosc(cname="zlib")
    )


def write_v3(folder, values):
    group = zarr.open_group(folder, mode="w")
    compressor = BloscCodec(shuffle="noshuffle")
    return group.create_array("x", data=values, chunks=(1000,), compressors=compressor)


def write_text(folder, values):
    return write_v3(folder, values.astype(str).astype(np.dtypes.StringDType()))


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
@pytest.mark.parametrize("write", [write_v2, write_v3, write_text])
def test_a_frame_that_was_cut_short_is_damage_where_zarr_decodes_it(tmp_path, write):
    folder, out = tmp_path / "t.zarr", tmp_path / "t.zarr.zip"
    values = np.random.default_rng(0).integers(0, 1 << 40, 4000).astype("M8[ns]")
    array = write(folder, values)
    cs.import_zarr(folder, out)
    chunk = folder / "x" / array.metadata.encode_chunk_key((2,))
    for nbytes in (chunk.stat().st_size - 1, 2000, 16, 3):
        chunk.write_bytes(chunk.read_bytes()[:nbytes])
        with pytest.raises(cs.CorruptionError, match=r"samples \[2000, 3000\): the chunk .* frame"):
            cs.import_zarr(folder, out, overwrite=True)


@pytest.mark.parametrize("damage", [b"{", b"\xef\xff", b'{"zarr_format": 9}', b"[]"], ids=repr)
@pytest.mark.parametrize("name", ["zarr.json", "g/zarr.json", "g/x/zarr.json"])
def test_damaged_metadata_are_an_error_that_names_the_store(tmp_path, damage, name):
    folder = tmp_path / "t.zarr"
    zarr.open_group(folder, mode="w").create_group("g").create_array("x", data=np.arange(9))
    (folder / name).write_bytes(damage)
    with pytest.raises(cs.ChunkStoreError, match=r"t\.zarr"):
        cs.import_zarr(folder, tmp_path / "t.zarr.zip")
