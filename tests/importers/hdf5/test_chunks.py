"""Claims about chunks of HDF5 that are decoded past HDF5's lock, against h5py."""

from __future__ import annotations

import itertools
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.format.grid import ChunkGrid
from chunkstore.importers import hdf5_chunks
from chunkstore.importers.arrays.grid import GridColumn
from chunkstore.importers.hdf5 import open_hdf5
from chunkstore.importers.hdf5_filters import (
    BLOSC,
    DEFLATE,
    FLETCHER32,
    LZF,
    SHUFFLE,
    ZSTD,
    filter_chain,
    fletcher32,
)
from chunkstore.importers.hdf5_index import read_index
from chunkstore.importers.hdf5_lzf import lzf_decoder
from tests.support import require

h5py = require("h5py")
hdf5plugin = require("hdf5plugin")

COMPRESSIONS = {
    "none": {},
    "gzip": {"compression": "gzip", "compression_opts": 4},
    "lzf": {"compression": "lzf"},
    "blosc-lz4": dict(hdf5plugin.Blosc(cname="lz4", shuffle=hdf5plugin.Blosc.BITSHUFFLE)),
    "blosc-zlib": dict(hdf5plugin.Blosc(cname="zlib", shuffle=hdf5plugin.Blosc.SHUFFLE)),
    "zstd": dict(hdf5plugin.Zstd()),
}
DTYPES = ["u1", "i1", "?", "<u2", ">u2", "<i8", ">i4", "<f2", ">f4", "<f8", "<c8", ">c16"]


@pytest.fixture(autouse=True)
def any_chunk_is_large_enough(monkeypatch):
    monkeypatch.setattr(hdf5_chunks, "_LEAST_CHUNK_NBYTES", 0)


@st.composite
def grids(draw):
    """Shapes of an array and of its chunks, with edges and cells along several axes."""
    shape = tuple(draw(st.lists(st.integers(1, 12), min_size=1, max_size=4)))
    return shape, tuple(draw(st.integers(1, n)) for n in shape)


def values_of(shape, dtype, seed):
    """Values that compress and hold what bytes can, NaN and infinities among them."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 3, shape).astype(dtype)
    if np.dtype(dtype).kind in "fc":
        values.reshape(-1)[:3] = [np.nan, np.inf, -0.0][: values.size]
    return values


def column_of(path, name="x"):
    """The column that an import reads, which must be one of ours."""
    samples = open_hdf5(path)
    column = samples.columns[name]
    assert isinstance(column, GridColumn)
    return samples, column


@given(
    grid=grids(),
    dtype=st.sampled_from(DTYPES),
    compression=st.sampled_from(list(COMPRESSIONS)),
    shuffle=st.booleans(),
    checksum=st.booleans(),
    seed=st.integers(0, 99),
    data=st.data(),
)
@settings(max_examples=60)
def test_samples_are_those_of_h5py_whatever_filters_chunks_and_dtype(
    tmp_path_factory, grid, dtype, compression, shuffle, checksum, seed, data
):
    shape, chunks = grid
    path = tmp_path_factory.mktemp("hdf5") / "a.h5"
    values = values_of(shape, dtype, seed)
    with h5py.File(path, "w") as file:
        x = file.create_dataset(
            "x",
            shape,
            dtype,
            chunks=chunks,
            shuffle=shuffle,
            fletcher32=checksum,
            fillvalue=np.ones((), dtype)[()],
            **COMPRESSIONS[compression],
        )
        # What is not written is the fill value.
        stop = data.draw(st.integers(0, shape[0]))
        x[:stop] = values[:stop]
    start = data.draw(st.integers(0, shape[0] - 1))
    stop = data.draw(st.integers(start + 1, shape[0]))
    samples, column = column_of(path)
    with samples, h5py.File(path) as file:
        expected = file["x"][start:stop]
        found = column.read(start, stop)
        assert found.dtype == expected.dtype.newbyteorder("=")
        assert found.tobytes() == expected.astype(found.dtype).tobytes()


@st.composite
def growing_grids(draw):
    """Shapes of an array and of its chunks, and how far each axis may grow; None without end."""
    shape, chunks = draw(grids())
    return shape, chunks, tuple(draw(st.sampled_from([n, n + 5, None])) for n in shape)


@given(
    grid=growing_grids(),
    libver=st.sampled_from(["earliest", "v108", "v110", "v112", "latest"]),
    compression=st.sampled_from(["none", "gzip", "lzf"]),
    seed=st.integers(0, 99),
)
@example(grid=((4, 6), (2, 2), (4, None)), libver="latest", compression="gzip", seed=0)
@settings(max_examples=150)
def test_chunks_stand_where_h5py_has_them_whatever_axes_are_unlimited(
    tmp_path_factory, grid, libver, compression, seed
):
    shape, chunks, most = grid
    path = tmp_path_factory.mktemp("hdf5") / "a.h5"
    values = np.random.default_rng(seed).permutation(np.prod(shape)).reshape(shape)
    with h5py.File(path, "w", libver=libver) as file:
        options = COMPRESSIONS[compression]
        file.create_dataset("x", data=values, chunks=chunks, maxshape=most, **options)
    with open_hdf5(path) as samples:
        column = samples.columns["x"]
        np.testing.assert_array_equal(column.read(0, shape[0]), values)
        assert isinstance(column, GridColumn) == (None not in most[1:])


class Counted:
    """Another object, whose attributes are noted as they are asked for."""

    def __init__(self, inner, asked):
        self._inner, self._asked = inner, asked

    def __getattr__(self, name):
        self._asked.append(name)
        found = getattr(self._inner, name)
        return Counted(found, self._asked) if name == "id" else found


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_the_index_is_walked_once_however_many_chunks_there_are(tmp_path, libver):
    path = tmp_path / "a.h5"
    values = np.arange(4000).reshape(1000, 4)
    with h5py.File(path, "w", libver=libver) as file:
        file.create_dataset("x", data=values, chunks=(2, 2), maxshape=(None, 4))
    samples, column = column_of(path)
    asked = []
    chunks = column._read_cell_into.__self__
    chunks._dataset = Counted(chunks._dataset, asked)
    with samples, ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda i: column.read(i, i + 10), range(0, 1000, 10)))
    np.testing.assert_array_equal(np.concatenate(parts), values)
    assert asked == ["id", "chunk_iter", "id", "get_num_chunks"]


class Listing:
    """A dataset whose index lists what it is told."""

    def __init__(self, starts, *, count=None):
        self.id = self
        self._starts = starts
        self._count = len(starts) if count is None else count

    def chunk_iter(self, add):
        for i, start in enumerate(self._starts):
            add(h5py.h5d.StoreInfo(start, 0, 1000 * i, 10))

    def get_num_chunks(self):
        return self._count


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        (Listing([(0, 0), (4, 3), (0, 0)]), r"lists the chunk at \(0, 0\) twice"),
        (Listing([(0, 0), (4, 4)]), r"lists a chunk at \(4, 4\); the dataset of shape \(10, 6\)"),
        (Listing([(12, 0)]), r"lists a chunk at \(12, 0\)"),
        (Listing([(0, 0)], count=2), "lists 1 chunks and says it has 2"),
    ],
    ids=["twice", "between", "outside", "too few"],
)
def test_an_index_of_chunks_that_cannot_be_is_damage(listing, message):
    with pytest.raises(cs.CorruptionError, match=message):
        read_index(listing, ChunkGrid((10, 6), (4, 3)))


def test_chunks_are_found_in_any_order_of_the_index():
    index = read_index(Listing([(8, 3), (0, 0), (4, 3)]), ChunkGrid((10, 6), (4, 3)))
    found = [index.find(number) for number in range(6)]
    offsets = [chunk and chunk.offset for chunk in found]
    assert offsets == [1000, None, None, 2000, None, 0]


def write_unfilled(file, name, *, chunks, fill_time):
    """A dataset of which nothing fills what is not written."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    if chunks is not None:
        properties.set_chunk(chunks)
    properties.set_fill_time(fill_time)
    if fill_time == h5py.h5d.FILL_TIME_NEVER:
        properties.set_fill_value(np.array(5, "i4"))
    space = h5py.h5s.create_simple((40, 8))
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.NATIVE_INT32, space, properties)
    return file[name]


def test_what_is_not_stored_and_never_filled_is_zeros_as_h5py_has_them(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        x = write_unfilled(file, "x", chunks=(4, 8), fill_time=h5py.h5d.FILL_TIME_NEVER)
        x[4:8] = 7
        write_unfilled(file, "y", chunks=None, fill_time=h5py.h5d.FILL_TIME_NEVER)
    with open_hdf5(path) as samples, h5py.File(path) as file:
        for name in ("x", "y"):
            column = samples.columns[name]
            out = np.full((40, 8), 0x5A5A5A5A, "i4")
            column.read_into(0, 40, out)
            np.testing.assert_array_equal(out, file[name][...])
            assert not isinstance(column, GridColumn)


def test_a_chunk_far_longer_than_its_dataset_takes_no_memory_of_its_length(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (10,), "f8", maxshape=(None,), chunks=(1 << 24,))
        file.create_dataset(
            "y", (10, 1 << 14), "f8", maxshape=(None, 1 << 14), chunks=(1 << 14, 10)
        )
    with open_hdf5(path) as samples:
        tracemalloc.start()
        x = samples.columns["x"].read(0, 10)
        _, most = tracemalloc.get_traced_memory()
        assert most < 1 << 20
        y = samples.columns["y"].read(0, 1)
        tracemalloc.stop()
    assert not x.any()
    assert not y.any()


@given(raw=st.binary(max_size=300))
@example(raw=b"")
@example(raw=b"\xff" * 300)
@example(raw=b"\0" * 7)
@settings(max_examples=60)
def test_the_checksum_is_that_of_hdf5(tmp_path_factory, raw):
    path = tmp_path_factory.mktemp("hdf5") / "a.h5"
    values = np.frombuffer(raw + b"\1", np.uint8)
    with h5py.File(path, "w") as file:
        x = file.create_dataset("x", data=values, chunks=values.shape, fletcher32=True)
        _, stored = x.id.read_direct_chunk((0,))
    assert fletcher32(values) == int.from_bytes(stored[-4:], "little")


def test_the_checksum_of_more_words_than_are_summed_at_a_time_is_that_of_hdf5(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, 300_001, dtype=np.uint8)
    values[:1000] = 255
    with h5py.File(tmp_path / "a.h5", "w") as file:
        x = file.create_dataset("x", data=values, chunks=values.shape, fletcher32=True)
        _, stored = x.id.read_direct_chunk((0,))
    assert fletcher32(values) == int.from_bytes(stored[-4:], "little")


def test_a_checksum_of_the_first_hdf5_is_taken():
    data = np.arange(20, dtype=np.uint8)
    right = fletcher32(data).to_bytes(4, "little")
    chain = filter_chain([(FLETCHER32, ())])
    for stored in (right, bytes([right[1], right[0], right[3], right[2]])):
        out = np.zeros(20, np.uint8)
        chain.decode_into(np.frombuffer(data.tobytes() + stored, np.uint8), 0, out)
        assert out.tobytes() == data.tobytes()
    wrong = bytes([right[2], right[3], right[0], right[1]])
    with pytest.raises(cs.CorruptionError, match="fletcher32 is 0x"):
        chain.decode_into(np.frombuffer(data.tobytes() + wrong, np.uint8), 0, out)


def test_a_literal_chunk_is_decoded():
    # Elements of two bytes; shuffled, deflated, and summed.
    shuffled = bytes([1, 2, 3, 0, 0, 1])
    packed = zlib.compress(shuffled)
    stored = packed + fletcher32(np.frombuffer(packed, np.uint8)).to_bytes(4, "little")
    chain = filter_chain([(SHUFFLE, (2,)), (DEFLATE, (6,)), (FLETCHER32, ())])
    out = np.zeros(6, np.uint8)
    chain.decode_into(np.frombuffer(stored, np.uint8), 0, out)
    assert out.view("<u2").tolist() == [1, 2, 259]


@pytest.mark.parametrize("left_out", list(itertools.product([False, True], repeat=3)), ids=str)
def test_filters_that_a_chunk_left_out_are_left_out(tmp_path, left_out):
    path = tmp_path / "a.h5"
    values = np.arange(40, dtype="<u4").reshape(10, 4)
    raw = values[4:8].tobytes()
    shuffle, compress, checksum = (not is_left_out for is_left_out in left_out)
    if shuffle:
        raw = np.frombuffer(raw, np.uint8).reshape(-1, 4).T.tobytes()
    if compress:
        raw = zlib.compress(raw)
    if checksum:
        raw += fletcher32(np.frombuffer(raw, np.uint8)).to_bytes(4, "little")
    with h5py.File(path, "w") as file:
        x = file.create_dataset(
            "x", data=values, chunks=(4, 4), compression="gzip", shuffle=True, fletcher32=True
        )
        mask = sum(is_left_out << i for i, is_left_out in enumerate(left_out))
        x.id.write_direct_chunk((4, 0), raw, mask)
    samples, column = column_of(path)
    with samples, h5py.File(path) as file:
        np.testing.assert_array_equal(file["x"][...], values)
        np.testing.assert_array_equal(column.read(0, 10), values)


def test_a_whole_import_through_every_filter_is_that_of_h5py(tmp_path):
    path, rng = tmp_path / "a.h5", np.random.default_rng(3)
    values = {name: rng.integers(0, 9, (300, 30, 31)).astype("<f4") for name in COMPRESSIONS}
    with h5py.File(path, "w") as file:
        for i, (name, options) in enumerate(COMPRESSIONS.items()):
            file.create_dataset(name, data=values[name], chunks=(16 + i, 30, 20), **options)
    cs.import_hdf5(path, tmp_path / "a.zarr.zip", threads=3)
    for name, loaded in cs.load(tmp_path / "a.zarr.zip").items():
        np.testing.assert_array_equal(loaded, values[name])


DAMAGE = {
    "gzip": ({"compression": "gzip"}, "deflate: the stream"),
    "lzf": ({"compression": "lzf"}, "lzf: the data"),
    "blosc": (dict(hdf5plugin.Blosc(cname="zstd")), "blosc frame"),
    "zstd": (dict(hdf5plugin.Zstd()), "zstd frame"),
    "fletcher32": ({"fletcher32": True}, r"fletcher32 is 0x\w+, expected 0x"),
}


@pytest.mark.parametrize(("options", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_chunk_is_named_with_its_dataset_samples_and_place(tmp_path, options, message):
    path = tmp_path / "a.h5"
    values = np.random.default_rng(0).integers(0, 3, (100, 64), dtype=np.uint8)
    with h5py.File(path, "w") as file:
        x = file.create_dataset("g/x", data=values, chunks=(30, 32), **options)
        info = x.id.get_chunk_info_by_coord((30, 32))
    raw = bytearray(path.read_bytes())
    # All of it: LZF has no checksum, and takes most flips for other data.
    for i in range(info.byte_offset, info.byte_offset + info.size):
        raw[i] ^= 0xA5
    path.write_bytes(raw)
    samples, column = column_of(path, "g/x")
    with samples:
        np.testing.assert_array_equal(column.read(0, 30), values[:30])
        with pytest.raises(
            cs.CorruptionError,
            match=r"a\.h5: dataset '/g/x': samples \[30, 60\): the chunk at \(30, 32\) at byte "
            rf"{info.byte_offset}: {message}",
        ):
            column.read(30, 60)


@pytest.mark.parametrize("kind", list(COMPRESSIONS))
def test_bytes_that_end_early_or_go_on_are_no_chunk(kind):
    numbers = {
        "none": [],
        "gzip": [(DEFLATE, (4,))],
        "lzf": [(LZF, (4, 261, 64))],
        "blosc-lz4": [(BLOSC, (2, 2, 1, 64, 5, 2, 1))],
        "blosc-zlib": [(BLOSC, (2, 2, 1, 64, 5, 1, 4))],
        "zstd": [(ZSTD, ())],
    }
    import io

    values = np.random.default_rng(1).integers(0, 3, 4096, dtype=np.uint8)
    with h5py.File(io.BytesIO(), "w") as file:
        x = file.create_dataset("x", data=values, chunks=(4096,), **COMPRESSIONS[kind])
        mask, stored = x.id.read_direct_chunk((0,))
    chain = filter_chain(numbers[kind])
    encoded = np.frombuffer(stored, np.uint8)
    out = np.empty(4096, np.uint8)
    chain.decode_into(encoded, mask, out)
    assert out.tobytes() == values.tobytes()
    for nbytes in (0, 1, 10, len(encoded) // 2, len(encoded) - 1):
        with pytest.raises(cs.CorruptionError):
            chain.decode_into(encoded[:nbytes], mask, out)
    for size in (4095, 4097, 0 if kind == "none" else 100):
        with pytest.raises(cs.CorruptionError):
            chain.decode_into(encoded, mask, np.empty(size, np.uint8))


def test_a_stream_that_decodes_to_very_much_is_not_followed():
    bomb = np.frombuffer(zlib.compress(bytes(64 << 20), 9), np.uint8)
    with pytest.raises(cs.CorruptionError, match="decodes to more than 100 bytes, expected 100"):
        filter_chain([(DEFLATE, ())]).decode_into(bomb, 0, np.empty(100, np.uint8))


def test_a_chunk_behind_the_end_of_the_file_is_an_error(tmp_path):
    path = tmp_path / "a.h5"
    values = np.random.default_rng(0).integers(0, 256, (64, 1000), dtype=np.uint8)
    with h5py.File(path, "w", libver="latest") as file:
        x = file.create_dataset("x", data=values, chunks=(8, 1000), compression="gzip")
        places = [x.id.get_chunk_info(i).byte_offset for i in range(8)]
    samples, column = column_of(path)
    with samples:
        with path.open("rb+") as file:
            file.truncate(max(places) + 10)
        first = places.index(max(places)) * 8
        with pytest.raises(cs.CorruptionError, match="it was cut off"):
            column.read(first, first + 8)


def test_lzf_is_decoded_by_the_function_that_h5py_has():
    decode = lzf_decoder()
    assert decode is not None
    out = np.empty(6, np.uint8)
    assert decode(np.frombuffer(b"\x00a\x60\x00", np.uint8), out) == 6
    assert out.tobytes() == b"aaaaaa"
    assert decode(np.frombuffer(b"\x00a\x60\x00", np.uint8), out[:5]) == 0


def test_bytes_that_are_no_whole_element_stay_at_the_end(tmp_path):
    path = tmp_path / "a.h5"
    values = np.random.default_rng(0).integers(0, 3, (40, 9)).astype("<f4")
    with h5py.File(path, "w") as file:
        # Shuffled behind the compressor: of any number of bytes.
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((4, 9))
        properties.set_deflate(3)
        properties.set_shuffle()
        space = h5py.h5s.create_simple(values.shape)
        h5py.h5d.create(file.id, b"x", h5py.h5t.py_create(values.dtype), space, properties)
        file["x"][...] = values
        sizes = {file["x"].id.get_chunk_info(i).size % 4 for i in range(10)}
        assert sizes - {0}
    samples, column = column_of(path)
    with samples:
        np.testing.assert_array_equal(column.read(0, 40), values)


UNUSUAL = {
    "scale-offset": ("i4", {"scaleoffset": 0}),
    "szip": ("i4", {"compression": "szip"}),
    "bitshuffle": ("f4", dict(hdf5plugin.Bitshuffle())),
    "two compressors": ("f4", None),
    "structure": ([("a", "<i4"), ("b", "<f8")], {"compression": "gzip"}),
}


@pytest.mark.parametrize(("dtype", "options"), UNUSUAL.values(), ids=UNUSUAL.keys())
def test_what_is_not_ours_to_decode_is_read_by_h5py(tmp_path, dtype, options):
    path = tmp_path / "a.h5"
    is_szip = options is not None and options.get("compression") == "szip"
    if is_szip and not h5py.h5z.filter_avail(h5py.h5z.FILTER_SZIP):
        pytest.skip("this HDF5 has no szip")
    values = np.arange(120).astype(dtype).reshape(60, 2)
    with h5py.File(path, "w") as file:
        if options is None:
            properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            properties.set_chunk((16, 2))
            properties.set_deflate(3)
            properties.set_filter(h5py.h5z.FILTER_LZF, 0)
            space = h5py.h5s.create_simple((60, 2))
            h5py.h5d.create(file.id, b"x", h5py.h5t.py_create(values.dtype), space, properties)
            file["x"][...] = values
        else:
            file.create_dataset("x", data=values, chunks=(16, 2), **options)
    with open_hdf5(path) as samples:
        column = samples.columns["x"]
        assert not isinstance(column, GridColumn)
        np.testing.assert_array_equal(column.read(3, 57), values[3:57])


def test_a_dataset_that_decodes_elsewhere_is_read_by_h5py(tmp_path, monkeypatch):
    monkeypatch.setattr("chunkstore.importers.hdf5_filters.lzf_decoder", lambda: None)
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as file:
        file.create_dataset("block", data=np.arange(10), chunks=(4,))
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("lzf", data=np.arange(10), chunks=(4,), compression="lzf")
        file["link"] = h5py.ExternalLink("a.h5", "/block")
    for name, arrays in (("a.h5", ["block"]), ("b.h5", ["lzf", "link"])):
        with open_hdf5(tmp_path / name, arrays=arrays) as samples:
            for column in samples.columns.values():
                assert not isinstance(column, GridColumn)
                assert column.read(0, 10).tolist() == list(range(10))


def test_a_chunk_at_the_edge_that_may_have_no_filters_is_read_by_h5py(tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    values = np.random.default_rng(0).integers(0, 256, (10, 8), dtype=np.uint8)
    with h5py.File(path, "w") as file:
        x = file.create_dataset("x", data=values, chunks=(4, 8), shuffle=True)
        assert x.id.get_chunk_info(2).size == 32
    samples, column = column_of(path)
    monkeypatch.setattr(
        hdf5_chunks._Chunks, "_decode_into", lambda *_: pytest.fail("it was decoded here")
    )
    with samples:
        np.testing.assert_array_equal(column.read(8, 10), values[8:])
