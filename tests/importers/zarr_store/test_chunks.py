"""Claims about chunks of zarr folders that are decoded without zarr-python, against it."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import BZ2, LZ4, Blosc, GZip, Zlib, Zstd
from zarr.codecs import BloscCodec, BytesCodec, GzipCodec, TransposeCodec, ZstdCodec

import chunkstore as cs
from chunkstore.importers import zarr_store_chunks
from chunkstore.importers.arrays.grid import GridColumn
from chunkstore.importers.zarr_store import open_zarr

pytestmark = pytest.mark.leaves_open("zarr keeps an event loop for the life of the process")

V3 = {
    "none": None,
    "zstd": ZstdCodec(level=3, checksum=True),
    "gzip": GzipCodec(level=4),
    "blosc": BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"),
}
V2 = {
    "none": None,
    "zstd": Zstd(1),
    "gzip": GZip(3),
    "zlib": Zlib(3),
    "lz4": LZ4(),
    "blosc": Blosc(),
}
DTYPES = ["u1", "i2", "u4", "i8", "f4", "f8", "c8", "?"]


@pytest.fixture(autouse=True)
def any_chunk_is_large_enough(monkeypatch):
    monkeypatch.setattr(zarr_store_chunks, "_LEAST_CHUNK_NBYTES", 0)


@st.composite
def grids(draw):
    """Shapes of an array and of its chunks, which may be longer."""
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=3)))
    return shape, tuple(draw(st.integers(1, n + 2)) for n in shape)


def values_of(shape, dtype, seed):
    values = np.random.default_rng(seed).integers(0, 3, shape).astype(dtype)
    if np.dtype(dtype).kind in "fc":
        values.reshape(-1)[:3] = [np.nan, np.inf, -0.0][: values.size]
    return values


def check_samples(folder, data):
    """Assert that some samples are those of zarr-python, and decoded here."""
    expected = zarr.open_group(folder, mode="r")["x"]
    start = data.draw(st.integers(0, expected.shape[0] - 1))
    stop = data.draw(st.integers(start + 1, expected.shape[0]))
    with open_zarr(folder) as samples:
        column = samples.columns["x"]
        assert isinstance(column, GridColumn)
        found, wanted = column.read(start, stop), expected[start:stop]
        assert found.dtype == wanted.dtype.newbyteorder("=")
        assert found.tobytes() == wanted.astype(found.dtype).tobytes()


@given(
    grid=grids(),
    dtype=st.sampled_from(DTYPES),
    codec=st.sampled_from(list(V3)),
    endian=st.sampled_from(["little", "big"]),
    is_turned=st.booleans(),
    data=st.data(),
)
@settings(max_examples=40, deadline=None)
def test_samples_of_format_3_are_those_of_zarr_python(
    tmp_path_factory, grid, dtype, codec, endian, is_turned, data
):
    shape, chunks = grid
    folder = tmp_path_factory.mktemp("zarr") / "a.zarr"
    order = tuple(range(len(shape)))[::-1]
    x = zarr.open_group(folder, mode="w", zarr_format=3).create_array(
        "x",
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        fill_value=1,
        filters=[TransposeCodec(order=order)] if is_turned else (),
        serializer=BytesCodec(endian=endian if np.dtype(dtype).itemsize > 1 else None),
        compressors=V3[codec],
    )
    # What is not written is the fill value.
    stop = data.draw(st.integers(0, shape[0]))
    x[:stop] = values_of(shape, dtype, 1)[:stop]
    check_samples(folder, data)


@given(
    grid=grids(),
    dtype=st.sampled_from([*DTYPES, ">i4", ">f8"]),
    codec=st.sampled_from(list(V2)),
    order=st.sampled_from("CF"),
    separator=st.sampled_from("./"),
    data=st.data(),
)
@settings(max_examples=40, deadline=None)
def test_samples_of_format_2_are_those_of_zarr_python(
    tmp_path_factory, grid, dtype, codec, order, separator, data
):
    shape, chunks = grid
    folder = tmp_path_factory.mktemp("zarr") / "a.zarr"
    x = zarr.open_group(folder, mode="w", zarr_format=2).create_array(
        "x",
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        fill_value=data.draw(st.sampled_from([None, 0, 1])),
        order=order,
        compressors=V2[codec],
        chunk_key_encoding={"name": "v2", "separator": separator},
    )
    stop = data.draw(st.integers(0, shape[0]))
    x[:stop] = values_of(shape, dtype, 1)[:stop]
    check_samples(folder, data)


def test_what_is_not_ours_to_decode_is_read_by_zarr_python(tmp_path):
    values = np.arange(60).reshape(20, 3)
    group = zarr.open_group(tmp_path / "three.zarr", mode="w")
    group.create_array("shards", data=values, chunks=(2, 3), shards=(8, 3))
    old = zarr.open_group(tmp_path / "two.zarr", mode="w", zarr_format=2)
    old.create_array("text", data=np.array(["a", "bc"] * 10, dtype="U2"), chunks=(5,))
    old.create_array("bzip", data=values, chunks=(5, 3), compressors=BZ2())
    with zarr.storage.ZipStore(tmp_path / "a.zip", mode="w") as store:
        zarr.create_array(store, name="zipped", data=values, chunks=(5, 3))
    for name in ("three.zarr", "two.zarr", "a.zip"):
        with open_zarr(tmp_path / name) as samples:
            for key, column in samples.columns.items():
                assert not isinstance(column, GridColumn)
                expected = ["bc", "a"] if key == "text" else values[3:5].tolist()
                assert column.read(3, 5).tolist() == expected


DAMAGE = {
    "flipped": lambda path: path.write_bytes(path.read_bytes()[:-3] + b"abc"),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:20]),
    "empty": lambda path: path.write_bytes(b""),
    "longer": lambda path: path.write_bytes(path.read_bytes() * 100),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_chunk_is_named_with_its_array_and_samples(tmp_path, damage):
    folder = tmp_path / "a.zarr"
    values = np.random.default_rng(0).integers(0, 9, (50, 40))
    group = zarr.open_group(folder, mode="w").create_group("g")
    group.create_array("x", data=values, chunks=(20, 25), compressors=ZstdCodec(checksum=True))
    damage(folder / "g" / "x" / "c" / "1" / "0")
    with open_zarr(folder) as samples:
        column = samples.columns["g/x"]
        assert isinstance(column, GridColumn)
        np.testing.assert_array_equal(column.read(0, 20), values[:20])
        with pytest.raises(
            cs.CorruptionError,
            match=r"a\.zarr: array 'g/x': samples \[20, 40\): the chunk 'c/1/0' is damaged: ",
        ):
            column.read(30, 45)


def test_a_chunk_that_is_a_folder_or_may_not_be_read_is_no_fill_value(tmp_path):
    folder = tmp_path / "a.zarr"
    zarr.open_group(folder, mode="w").create_array("x", data=np.arange(20), chunks=(10,))
    chunk = folder / "x" / "c" / "1"
    chunk.unlink()
    chunk.mkdir()
    with open_zarr(folder) as samples, pytest.raises(IsADirectoryError):
        samples.columns["x"].read(0, 20)
