"""Do zarr-python and we read the same values out of the same documents and bytes?"""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.errors import UnsupportedError
from chunkstore.format.chain import CodecChain
from chunkstore.format.codecs import BLOSC_CODECS, CODEC_NAMES, SHUFFLES, default_codecs
from chunkstore.format.crc32c import Crc32cCodec
from chunkstore.format.data_type import CORE_NAMES
from chunkstore.format.grid import ChunkKeyEncoding
from chunkstore.format.gzip import GzipCodec
from chunkstore.format.metadata import ArrayMetadata, parse_node, parse_v2_array
from chunkstore.format.zstd import ZstdCodec
from tests.format.documents import any_bits, core_dtypes, fill_values

# zarr-python's event loop keeps its descriptors for the life of the process.
pytestmark = pytest.mark.leaves_open("the event loop of zarr-python")


def read_folder(folder) -> np.ndarray:
    """Read an array of files with nothing but the format layer."""
    if (folder / "zarr.json").exists():
        node = parse_node((folder / "zarr.json").read_bytes())
    else:
        attributes = folder / ".zattrs"
        node = parse_v2_array(
            (folder / ".zarray").read_bytes(),
            attributes.read_bytes() if attributes.exists() else None,
        )
    assert isinstance(node, ArrayMetadata)
    array = np.full(node.shape, node.fill_value, node.dtype)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix().encode()
        flat = int(node.chunk_keys.parse(np.frombuffer(name, np.uint8)[None], node.grid)[0])
        if path.is_dir() or flat < 0:
            continue
        encoded = path.read_bytes()
        chunk = np.zeros(node.chunk_shape, node.dtype)
        node.codecs.decode_into(encoded, chunk)
        assert len(encoded) <= node.codecs.max_encoded_nbytes(chunk.nbytes)
        place = tuple(
            slice(i * c, min((i + 1) * c, n))
            for i, c, n in zip(node.grid.coords(flat), node.chunk_shape, node.shape, strict=True)
        )
        array[place] = chunk[tuple(slice(0, s.stop - s.start) for s in place)]
    return array


def write_folder(folder, node, array):
    """Write an array as files with nothing but the format layer."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "zarr.json").write_text(json.dumps(node.to_json(), allow_nan=False))
    for flat in range(node.grid.num_chunks):
        coords = node.grid.coords(flat)
        chunk = np.zeros(node.chunk_shape, node.dtype)
        part = array[
            tuple(slice(i * c, (i + 1) * c) for i, c in zip(coords, node.chunk_shape, strict=True))
        ]
        chunk[tuple(slice(0, n) for n in part.shape)] = part
        path = folder / node.chunk_keys.key(coords)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(node.codecs.encode(chunk))


def opened_by_zarr(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return zarr.open_array(folder, mode="r")


@pytest.mark.parametrize("name", CORE_NAMES)
def test_we_read_every_data_type_that_zarr_python_writes(name, tmp_path):
    x = any_bits((7, 5), np.dtype(name), seed=1)
    zarr.create_array(tmp_path / "x", data=x, chunks=(3, 2))
    assert read_folder(tmp_path / "x").tobytes() == x.tobytes()


def v3_codecs():
    from zarr import codecs

    for cname in BLOSC_CODECS:
        for shuffle in ("noshuffle", "shuffle", "bitshuffle"):
            blosc = codecs.BloscCodec(cname=cname, clevel=3, shuffle=shuffle)
            yield pytest.param({"compressors": blosc}, id=f"{cname}-{shuffle}")
    yield pytest.param({"compressors": None}, id="raw")
    yield pytest.param({"compressors": codecs.ZstdCodec(level=3)}, id="zstd")
    yield pytest.param({"compressors": codecs.ZstdCodec(checksum=True)}, id="zstd-checksum")
    yield pytest.param({"compressors": codecs.GzipCodec(level=1)}, id="gzip")
    yield pytest.param({"compressors": codecs.Crc32cCodec()}, id="crc32c")
    several = [codecs.BloscCodec(), codecs.GzipCodec(), codecs.ZstdCodec(), codecs.Crc32cCodec()]
    yield pytest.param({"compressors": several}, id="several")
    yield pytest.param({"serializer": codecs.BytesCodec(endian="big")}, id="big-endian")
    yield pytest.param({"filters": codecs.TransposeCodec(order=(2, 0, 1))}, id="transpose")
    yield pytest.param({"chunk_key_encoding": {"name": "v2", "separator": "."}}, id="v2-keys")
    yield pytest.param({"chunk_key_encoding": {"name": "default", "separator": "."}}, id="dots")
    yield pytest.param({"shards": (6, 4, 4)}, id="shards")
    for location in ("start", "end"):
        sharding = codecs.ShardingCodec(
            chunk_shape=(1, 2, 2),
            codecs=[
                codecs.TransposeCodec(order=(1, 2, 0)),
                codecs.BytesCodec(endian="big"),
                codecs.BloscCodec(),
            ],
            index_location=location,
        )
        yield pytest.param(
            {"serializer": sharding, "compressors": None}, id=f"shards-index-{location}"
        )


@pytest.mark.parametrize("options", list(v3_codecs()))
def test_we_read_every_codec_that_zarr_python_writes(options, tmp_path):
    x = np.arange(7 * 5 * 4, dtype=np.int32).reshape(7, 5, 4) ** 2
    x[3:6] = 9
    array = zarr.create_array(
        tmp_path / "x", shape=x.shape, dtype=x.dtype, chunks=(3, 2, 2), fill_value=9, **options
    )
    array[...] = x
    np.testing.assert_array_equal(read_folder(tmp_path / "x"), x)
    raw = (tmp_path / "x" / "zarr.json").read_bytes()
    node = parse_node(raw)
    assert json.loads(raw)["codecs"] == node.codecs.to_json()
    assert parse_node(json.dumps(node.to_json()).encode()) == node


def v2_options():
    import numcodecs

    yield pytest.param({"compressors": None}, id="raw")
    for shuffle in (-1, 0, 1, 2):
        blosc = numcodecs.Blosc("lz4", 5, shuffle)
        yield pytest.param({"compressors": blosc}, id=f"blosc-shuffle{shuffle}")
    yield pytest.param({"compressors": numcodecs.Zstd(3)}, id="zstd")
    yield pytest.param({"compressors": numcodecs.GZip(1)}, id="gzip")
    yield pytest.param({"compressors": numcodecs.Zlib(1)}, id="zlib")
    yield pytest.param({"compressors": numcodecs.LZ4()}, id="lz4")
    yield pytest.param({"order": "F"}, id="fortran")
    yield pytest.param({"chunk_key_encoding": {"name": "v2", "separator": "/"}}, id="slashes")
    yield pytest.param({"fill_value": None}, id="no-fill-value")


@pytest.mark.parametrize("dtype", ["u1", ">i2", "<f4", ">f8", "<c16"])
@pytest.mark.parametrize("options", list(v2_options()))
def test_we_read_what_zarr_python_writes_as_v2(dtype, options, tmp_path):
    x = np.arange(7 * 5).reshape(7, 5).astype(dtype)
    array = zarr.create_array(
        tmp_path / "x", shape=x.shape, dtype=x.dtype, chunks=(3, 2), zarr_format=2, **options
    )
    array[:6] = x[:6]
    array.attrs["unit"] = "mm"
    expected = zarr.open_array(tmp_path / "x", mode="r")[...]
    got = read_folder(tmp_path / "x")
    assert got.dtype.isnative
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.1], ids=str)
@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8", "<c8", ">c16"])
def test_we_read_the_fill_values_that_zarr_python_writes_as_v2(dtype, value, tmp_path):
    zarr.create_array(
        tmp_path / "x", shape=(2,), dtype=np.dtype(dtype), fill_value=value, zarr_format=2
    )
    expected = np.full(2, value, np.dtype(dtype).newbyteorder("="))
    np.testing.assert_array_equal(read_folder(tmp_path / "x"), expected)


@given(
    dtype=core_dtypes(),
    codec=st.sampled_from(CODEC_NAMES),
    shuffle=st.sampled_from(SHUFFLES),
    separator=st.sampled_from("/."),
    is_named=st.booleans(),
    seed=st.integers(0, 99),
)
def test_zarr_python_reads_what_we_write_without_a_warning(
    dtype, codec, shuffle, separator, is_named, seed, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("array")
    x = any_bits((5, 4), dtype, seed)
    node = ArrayMetadata(
        shape=(5, 4),
        dtype=dtype,
        chunk_shape=(2, 4),
        fill_value=dtype.type(0),
        codecs=default_codecs(dtype, codec=codec, level=1, shuffle=shuffle),
        chunk_keys=ChunkKeyEncoding("default", separator),
        dimension_names=("sample", "x_1") if is_named else None,
        attributes={"unit": "mm"},
    )
    write_folder(folder, node, x)
    array = opened_by_zarr(folder)
    assert array[...].tobytes() == x.tobytes()
    assert array.attrs.asdict() == {"unit": "mm"}
    assert array.metadata.dimension_names == node.dimension_names
    assert array.fill_value == 0


@pytest.mark.parametrize("endian", ["little", "big"])
@pytest.mark.parametrize("order", [None, (1, 0)], ids=["plain", "transposed"])
@pytest.mark.parametrize(
    "behind", [(), (ZstdCodec(1, checksum=True),), (GzipCodec(1), Crc32cCodec())], ids=str
)
def test_zarr_python_reads_every_chain_that_we_can_encode(endian, order, behind, tmp_path):
    x = np.arange(20, dtype=np.uint16).reshape(5, 4)
    node = ArrayMetadata(
        shape=(5, 4),
        dtype=x.dtype,
        chunk_shape=(2, 3),
        fill_value=x.dtype.type(0),
        codecs=CodecChain(x.dtype, endian, behind, order=order),
    )
    write_folder(tmp_path / "x", node, x)
    np.testing.assert_array_equal(opened_by_zarr(tmp_path / "x")[...], x)


@given(data=st.data(), dtype=core_dtypes())
def test_both_take_every_fill_value_for_the_same(data, dtype, tmp_path_factory):
    folder = tmp_path_factory.mktemp("array")
    value = data.draw(fill_values(dtype))
    node = ArrayMetadata(
        shape=(3,),
        dtype=dtype,
        chunk_shape=(2,),
        fill_value=value,
        codecs=default_codecs(dtype, codec="raw", level=0, shuffle="none"),
    )
    (folder / "zarr.json").write_text(json.dumps(node.to_json(), allow_nan=False))
    np.testing.assert_array_equal(opened_by_zarr(folder)[...], np.full(3, value, dtype))
    np.testing.assert_array_equal(read_folder(folder), np.full(3, value, dtype))


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (1,)], ids=str)
def test_arrays_of_odd_shapes_are_read_both_ways(shape, tmp_path):
    x = np.full(shape, 5, np.int16)
    zarr.create_array(tmp_path / "theirs", data=x)
    np.testing.assert_array_equal(read_folder(tmp_path / "theirs"), x)
    node = ArrayMetadata(
        shape=shape,
        dtype=x.dtype,
        chunk_shape=tuple(max(1, n) for n in shape),
        fill_value=x.dtype.type(0),
        codecs=default_codecs(x.dtype, codec="lz4", level=5, shuffle="none"),
    )
    write_folder(tmp_path / "ours", node, x)
    np.testing.assert_array_equal(opened_by_zarr(tmp_path / "ours")[...], x)


def test_a_group_with_consolidated_metadata_is_read(tmp_path):
    group = zarr.create_group(tmp_path / "g", attributes={"a": 1})
    group.create_array("x", data=np.arange(3))
    with pytest.warns(UserWarning, match="Consolidated metadata"):
        zarr.consolidate_metadata(tmp_path / "g")
    node = parse_node((tmp_path / "g" / "zarr.json").read_bytes())
    assert node.attributes == {"a": 1}


@pytest.mark.parametrize("dtype", ["U5", "S5", "M8[s]", [("a", "i4")]], ids=str)
def test_extension_types_of_zarr_python_are_refused_by_name(dtype, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.create_array(tmp_path / "x", shape=(3,), dtype=np.dtype(dtype))
    with pytest.raises(UnsupportedError, match=r"data type .* is not read"):
        parse_node((tmp_path / "x" / "zarr.json").read_bytes())
