"""Do we read what zarr-python writes into a zip, value by value?"""

from __future__ import annotations

import os
import warnings
import zipfile

import numpy as np
import pytest

import chunkstore as cs
from tests import support
from tests.store.stores import random_array

zarr = support.require("zarr")
numcodecs = support.require("numcodecs")

pytestmark = [
    pytest.mark.leaves_open("the event loop of zarr"),
    # zarr-python says so when it writes a chunk or metadata again.
    pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*onsolidated metadata.*"),
]

X = random_array((50, 7), "float32", seed=1)
V3 = {
    "default": {},
    "none": {"compressors": None},
    "zstd": {"compressors": zarr.codecs.ZstdCodec(level=3, checksum=True)},
    "gzip": {"compressors": zarr.codecs.GzipCodec(level=5)},
    "crc32c": {"compressors": [zarr.codecs.ZstdCodec(), zarr.codecs.Crc32cCodec()]},
    **{
        f"blosc {name} {shuffle}": {
            "compressors": zarr.codecs.BloscCodec(cname=name, clevel=5, shuffle=shuffle)
        }
        for name in ("blosclz", "lz4", "lz4hc", "zlib", "zstd")
        for shuffle in ("noshuffle", "shuffle", "bitshuffle")
    },
    "transposed": {"filters": [zarr.codecs.TransposeCodec(order=(1, 0))]},
    "big-endian": {"serializer": zarr.codecs.BytesCodec(endian="big")},
    "dotted keys": {"chunk_key_encoding": {"name": "default", "separator": "."}},
    "v2 keys": {"chunk_key_encoding": {"name": "v2", "separator": "/"}},
    "sharded": {"shards": (20, 7), "chunks": (5, 7)},
    "sharded along both axes": {"shards": (20, 6), "chunks": (5, 3)},
    "chunks along both axes": {"chunks": (9, 3)},
    "one chunk": {"chunks": (60, 9)},
    "fill value": {"fill_value": np.float32(np.nan)},
}
V2 = {
    "default": {},
    "none": {"compressors": None},
    "zstd": {"compressors": numcodecs.Zstd(level=3)},
    "gzip": {"compressors": numcodecs.GZip(level=3)},
    "zlib": {"compressors": numcodecs.Zlib(level=3)},
    "blosc": {"compressors": numcodecs.Blosc("lz4", shuffle=2)},
    "slashes": {"chunk_key_encoding": {"name": "v2", "separator": "/"}},
    "big-endian": {"dtype": ">f4"},
}
CASES = {f"v3 {name}": (3, options) for name, options in V3.items()}
CASES |= {f"v2 {name}": (2, options) for name, options in V2.items()}


def write(path, arrays, *, zarr_format=3, **options):
    """Write arrays as zarr-python does."""
    with zarr.storage.ZipStore(path, mode="w") as store:
        group = zarr.create_group(store, zarr_format=zarr_format)
        for name, x in arrays.items():
            settings = {"chunks": (8, *x.shape[1:]), **options}
            dtype = settings.pop("dtype", x.dtype)
            created = group.create_array(name, shape=x.shape, dtype=dtype, **settings)
            created[...] = x


@pytest.mark.parametrize(("zarr_format", "options"), CASES.values(), ids=CASES)
def test_an_array_of_zarr_python_is_read(zarr_format, options, tmp_path):
    path = tmp_path / "a.zip"
    write(path, {"x": X}, zarr_format=zarr_format, **options)
    with cs.open(path) as store:
        x = store["x"]
        assert (x.shape, x.dtype) == (X.shape, X.dtype)
        np.testing.assert_array_equal(x[...], X)
        np.testing.assert_array_equal(x[[49, 3, 3, 0]], X[[49, 3, 3, 0]])
        np.testing.assert_array_equal(x[::-7, 1:5:2], X[::-7, 1:5:2])
        np.testing.assert_array_equal(np.concatenate(list(x.iter_chunks())), X)
        assert not store.is_ours
        assert store.num_samples == 50
    assert cs.verify(path).ok


@pytest.mark.parametrize(
    "dtype",
    ["bool", "int8", "uint16", "int32", "uint64", "float16", "float64", "complex64", "complex128"],
)
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_every_core_dtype_of_zarr_python_is_read(dtype, zarr_format, tmp_path):
    x = random_array((21, 3), dtype, seed=2)
    write(tmp_path / "a.zip", {"x": x}, zarr_format=zarr_format)
    with cs.open(tmp_path / "a.zip") as store:
        assert store["x"].dtype == x.dtype
        assert store["x"][...].tobytes() == x.tobytes()


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_chunks_that_are_missing_are_the_fill_value(zarr_format, tmp_path):
    path = tmp_path / "a.zip"
    x = np.full((40, 3), 7, np.int32)
    x[17] = 1
    with zarr.storage.ZipStore(path, mode="w") as store:
        array = zarr.create_array(
            store, shape=x.shape, dtype="i4", chunks=(4, 3), fill_value=7, zarr_format=zarr_format
        )
        array[16:20] = x[16:20]
    with zipfile.ZipFile(path) as file:
        assert sum("4" in name for name in file.namelist()) == 1
    with cs.open(path) as store:
        assert list(store) == [""]
        np.testing.assert_array_equal(store[""][...], x)
    assert cs.verify(path).ok


def test_a_root_array_nested_groups_and_attributes_are_read(tmp_path):
    path = tmp_path / "a.zip"
    with zarr.storage.ZipStore(path, mode="w") as store:
        group = zarr.create_group(store, attributes={"k": [1, 2]})
        for name in ("a/b/x", "a/y", "z"):
            group.create_array(name, data=X, chunks=(20, 7), attributes={"name": name})
    with cs.open(path) as store:
        assert set(store) == {"a/b/x", "a/y", "z"}
        assert store.attributes == {"k": [1, 2]}
        for name in store:
            np.testing.assert_array_equal(store[name][...], X)
            assert store[name].attributes == {"name": name}


def test_a_file_that_zarr_python_appended_to_is_read_as_it_is_now(tmp_path):
    path = tmp_path / "a.zip"
    with zarr.storage.ZipStore(path, mode="w") as store:
        array = zarr.create_array(store, data=X[:5], chunks=(10, 7))
        for start in range(5, 50, 5):
            array.append(X[start : start + 5])
        array[3] = -1
        array.attrs["k"] = 2
    with zarr.storage.ZipStore(path, mode="a") as store:
        zarr.open_array(store)[20:30] = -2
    with zipfile.ZipFile(path) as file:
        assert len(file.namelist()) > len(set(file.namelist())), "no name is listed twice"
    expected = X.copy()
    expected[3], expected[20:30] = -1, -2
    with cs.open(path) as store:
        np.testing.assert_array_equal(store[""][...], expected)
        assert store.attributes == {"k": 2}
    assert cs.verify(path).ok


def test_consolidated_metadata_does_not_disturb(tmp_path):
    path = tmp_path / "a.zip"
    write(path, {"x": X, "y": X[:, 0]})
    with warnings.catch_warnings(), zarr.storage.ZipStore(path, mode="a") as store:
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(store)
    with cs.open(path) as store:
        np.testing.assert_array_equal(store["x"][...], X)
        assert store.sample_arrays == ("x", "y")


def test_a_zipped_directory_store_is_read_and_a_folder_in_front_is_explained(tmp_path):
    zarr.create_group(tmp_path / "a.zarr").create_array("x", data=X, chunks=(8, 7))

    def zipped(name, prefix, method):
        with zipfile.ZipFile(tmp_path / name, "w", method) as file:
            for folder, _, files in os.walk(tmp_path / "a.zarr"):
                for each in files:
                    full = os.path.join(folder, each)  # noqa: PTH118
                    file.write(full, prefix + os.path.relpath(full, tmp_path / "a.zarr"))
        return tmp_path / name

    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with cs.open(zipped("b.zip", "", method)) as store:
            np.testing.assert_array_equal(store["x"][...], X)
        with pytest.raises(cs.FormatError, match=r"below the folder 'a\.zarr'.*cd a\.zarr && zip"):
            cs.open(zipped("c.zip", "a.zarr/", method))


UNSUPPORTED = {
    "strings": (lambda g: g.create_array("x", data=np.array(["a", "bc"])), "data type"),
    "numcodecs": (
        lambda g: g.create_array(
            "x", data=X, filters=[zarr.codecs.numcodecs.Delta(dtype="float32")]
        ),
        "numcodecs.delta",
    ),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:.*not (in|have).*Zarr (version 3|V3) specification:UserWarning")
@pytest.mark.parametrize(("make", "feature"), UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_a_feature_that_we_do_not_read_is_named(make, feature, tmp_path):
    path = tmp_path / "a.zip"
    with zarr.storage.ZipStore(path, mode="w") as store:
        make(zarr.create_group(store))
    with pytest.raises(cs.UnsupportedError, match=feature) as refusal:
        cs.open(path)
    assert refusal.value.key == "x/zarr.json"


def test_a_foreign_file_is_brought_over_by_save(tmp_path):
    write(tmp_path / "a.zip", {"x": X, "group/y": np.arange(50)}, zarr_format=2)
    with cs.open(tmp_path / "a.zip") as store:
        cs.save(tmp_path / "b.zarr.zip", store)
    with cs.open(tmp_path / "b.zarr.zip") as store:
        assert store.is_ours
        np.testing.assert_array_equal(store["x"][...], X)
        np.testing.assert_array_equal(store["group/y"][...], np.arange(50))
    for refused in (cs.append, cs.compact, lambda p: cs.repair(p, tmp_path / "c.zarr.zip")):
        with pytest.raises(cs.UnsupportedError):
            refused(tmp_path / "a.zip")


def test_damage_in_a_chunk_of_a_foreign_file_is_found(tmp_path):
    path = tmp_path / "a.zip"
    write(path, {"x": X}, compressors=None)
    with zipfile.ZipFile(path) as file:
        info = file.getinfo("x/c/3/0")
    raw = bytearray(path.read_bytes())
    raw[info.header_offset + 30 + len(info.filename) + 50] ^= 1
    path.write_bytes(raw)
    with cs.open(path) as store:
        with pytest.raises(cs.CorruptionError, match=r"'x/c/3/0' at byte \d+: crc32"):
            store["x"][...]
        np.testing.assert_array_equal(store["x"][:24], X[:24])
    assert cs.verify(path).lost_samples == {"x": [(24, 32)]}
