"""What other programs read of an export is what was stored."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chunkstore as cs
from chunkstore.exporting.contents import Contents
from tests import support
from tests.support import require

FORMATS = ["npy", "npz", "hdf5", "zarr", "parquet", "arrow"]
SUFFIXES = {"npy": "", "npz": ".npz", "hdf5": ".h5", "zarr": ".zarr", "parquet": ".parquet"}


def arrays(num_samples=500):
    rng = np.random.default_rng(3)
    return {
        "x": rng.integers(0, 255, (num_samples, 6, 5, 3), dtype=np.uint8),
        "f": rng.standard_normal((num_samples, 4)).astype("f4"),
        "half": rng.standard_normal(num_samples).astype("f2"),
        "y": rng.integers(-5, 5, num_samples),
        "flag": rng.random((num_samples, 2)) > 0.5,
        "name": np.array([f"bild-ä {i}" for i in range(num_samples)]),
        "bytes": np.array([b"ab%d" % i for i in range(num_samples)]),
        "day": np.datetime64("2020-01-01", "D") + np.arange(num_samples),
        "stamp": np.datetime64("2020-01-01T00:00:00.123456789", "ns") + np.arange(num_samples),
        "wait": np.arange(num_samples).astype("m8[ms]"),
    }


pytestmark = pytest.mark.leaves_open("zarr keeps its event loop")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "train.zarr.zip"
    attributes = {"class_names": ["a", "b"], "mean": 1.5, "title": "ein Bild"}
    cs.save(path, arrays(), chunk_nbytes=4096, attributes=attributes)
    return path


def read(path, kind):
    """Return the arrays of an export, as an independent reader sees them."""
    if kind == "npy":
        return {
            found.relative_to(path).with_suffix("").as_posix(): np.load(found)
            for found in path.rglob("*.npy")
        }
    if kind == "npz":
        with np.load(path) as archive:
            return dict(archive)
    if kind == "hdf5":
        return read_hdf5(path)
    if kind == "zarr":
        zarr = require("zarr")
        group = zarr.open_group(path, mode="r")
        found = {name: array[...] for name, array in group.arrays()}
        # Text of fixed length is stored as numbers with an axis more; the format says so.
        for name, kind in {"bytes": "S", "name": "U"}.items():
            if name in found:
                found[name] = found[name].view(f"{kind}{found[name].shape[1]}")[:, 0]
        return found
    return read_rows(path, kind)


def read_hdf5(path):
    h5py = require("h5py")
    found = {}
    with h5py.File(path) as file:

        def add(name, node):
            if isinstance(node, h5py.Dataset):
                is_text = h5py.check_string_dtype(node.dtype) and node.dtype.kind == "O"
                values = node.asstr()[...].astype(str) if is_text else node[...]
                if "numpy_dtype" in node.attrs and not is_text:
                    values = values.view(node.attrs["numpy_dtype"])
                found[name] = values

        file.visititems(add)
    return found


def read_rows(path, kind):
    pa = require("pyarrow")

    if kind == "parquet":
        table = pa.parquet.read_table(path)
    else:
        with pa.OSFile(str(path)) as file:
            table = pa.ipc.open_file(file).read_all()
    found = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = column.chunk(0) if column.num_chunks else pa.array([], column.type)
        if isinstance(column.type, pa.FixedShapeTensorType):
            found[name] = column.to_numpy_ndarray()
        elif pa.types.is_temporal(column.type) or pa.types.is_floating(column.type):
            found[name] = column.to_numpy(zero_copy_only=False)
        else:
            found[name] = np.array(column.to_pylist())
    return found


def check_equal(found, expected, kind):
    assert set(found) == set(expected)
    for name, array in expected.items():
        got = found[name]
        if kind == "zarr" and array.dtype.kind in "mM":
            # Stored as integers; the format says so.
            got = got.view(array.dtype)
        assert got.shape == array.shape
        assert np.array_equal(got, array), name
        exact = kind not in ("parquet", "arrow") or array.dtype.kind in "iuf"
        if exact and array.dtype.kind not in "USMm":
            assert got.dtype == array.dtype, name


@pytest.mark.parametrize("kind", FORMATS)
def test_an_independent_reader_sees_every_value(path, tmp_path, kind):
    out = tmp_path / f"out{SUFFIXES.get(kind, '.arrow')}"
    cs.export(path, out, format=kind)
    check_equal(read(out, kind), arrays(), kind)
    assert sorted(found.name for found in tmp_path.iterdir()) == [out.name]


@pytest.mark.parametrize("kind", FORMATS)
def test_parts_of_the_samples_and_of_the_arrays_are_exported(path, tmp_path, kind):
    out = tmp_path / "part"
    with cs.open(path) as store:
        view = cs.concat([store.select(slice(7, None, 3)), store.select([1, 2, 499])])
        cs.export(view, out, format=kind, arrays=["y", "x"])
    expected = {
        name: np.concatenate([values[7::3], values[[1, 2, 499]]])
        for name, values in arrays().items()
        if name in ("x", "y")
    }
    check_equal(read(out, kind), expected, kind)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_dict_of_arrays_is_exported_and_so_are_no_samples(tmp_path, kind):
    given = {"x": np.arange(12.0).reshape(6, 2), "y": np.arange(6)}
    cs.export(given, tmp_path / "a", format=kind)
    check_equal(read(tmp_path / "a", kind), given, kind)
    none = {name: values[:0] for name, values in given.items()}
    cs.export(none, tmp_path / "b", format=kind)
    found = read(tmp_path / "b", kind)
    assert {name: len(values) for name, values in found.items()} == {"x": 0, "y": 0}


@given(
    values=hnp.arrays(
        st.sampled_from(["u1", "i2", "i8", "f4", "f8", "?", "c16", "M8[s]"]),
        hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=5),
    )
)
def test_npy_npz_and_zarr_keep_every_type(values, tmp_path_factory):
    folder = tmp_path_factory.mktemp("types")
    for kind in ("npy", "npz", "zarr"):
        cs.export({"x": values}, folder / kind, format=kind)
        found = read(folder / kind, kind)["x"]
        assert found.tobytes() == values.tobytes()


def test_a_whole_file_becomes_a_zarr_folder_with_the_same_encoded_chunks(path, tmp_path):
    import zipfile

    cs.export(path, tmp_path / "out.zarr")
    with zipfile.ZipFile(path) as archive:
        chunks = [name for name in archive.namelist() if "/c/" in name]
        for name in chunks:
            assert (tmp_path / "out.zarr" / name).read_bytes() == archive.read(name)


def test_one_array_goes_into_one_npy_file(path, tmp_path):
    cs.export(path, tmp_path / "x.npy", arrays=["x"])
    assert np.array_equal(np.load(tmp_path / "x.npy", mmap_mode="r"), arrays()["x"])
    with pytest.raises(ValueError, match=r"an npy file holds one array.*name one with arrays="):
        cs.export(path, tmp_path / "y.npy")


def test_unaligned_and_nested_arrays_keep_their_paths(tmp_path):
    path = tmp_path / "a.zarr.zip"
    with cs.create(path) as writer:
        writer.append(**{"deep/x": np.arange(10)})
        writer.put("deep/mean", np.arange(3.0), aligned=False)
    for kind in ("npy", "npz", "hdf5"):
        cs.export(path, tmp_path / kind, format=kind)
        found = read(tmp_path / kind, kind)
        assert {name: values.tolist() for name, values in found.items()} == {
            "deep/x": list(range(10)),
            "deep/mean": [0.0, 1.0, 2.0],
        }
    with pytest.warns(cs.ChunkStoreWarning, match="deep/mean are not exported"):
        cs.export(path, tmp_path / "rows.parquet")
    assert read(tmp_path / "rows.parquet", "parquet")["deep/x"].tolist() == list(range(10))


def test_attributes_come_along(path, tmp_path):
    h5py, pa = require("h5py"), require("pyarrow")

    cs.export(path, tmp_path / "a.h5", arrays=["y"])
    with h5py.File(tmp_path / "a.h5") as file:
        assert json.loads(file.attrs["class_names"]) == ["a", "b"]
        assert (file.attrs["mean"], file.attrs["title"]) == (1.5, "ein Bild")
    cs.export(path, tmp_path / "a.parquet", arrays=["y"])
    metadata = pa.parquet.read_schema(tmp_path / "a.parquet").metadata
    assert json.loads(metadata[b"chunkstore"])["class_names"] == ["a", "b"]


@pytest.mark.parametrize(
    ("kind", "compression"),
    [("hdf5", c) for c in ("lzf", "gzip", "none")]
    + [("parquet", c) for c in ("zstd", "snappy", "gzip", "lz4", "none")]
    + [("arrow", c) for c in ("zstd", "lz4", "none")],
)
def test_every_compression_is_read_back(path, tmp_path, kind, compression):
    cs.export(path, tmp_path / "a", format=kind, arrays=["x", "y"], compression=compression)
    expected = {name: arrays()[name] for name in ("x", "y")}
    check_equal(read(tmp_path / "a", kind), expected, kind)


@pytest.mark.parametrize("kind", [*FORMATS, "images"])
def test_what_is_there_stays_unless_it_may_be_replaced(tmp_path, kind):
    out = tmp_path / "out"
    given = {"x": np.zeros((3, 4, 4, 3), "u1")}
    out.write_text("mine")
    with pytest.raises(FileExistsError, match="overwrite=True replaces it"):
        cs.export(given, out, format=kind)
    assert out.read_text() == "mine"
    cs.export(given, out, format=kind, overwrite=True)
    first = sorted(found.name for found in out.rglob("*"))
    cs.export({"x": given["x"] + 1}, out, format=kind, overwrite=True)
    assert sorted(found.name for found in out.rglob("*")) == first
    assert [found.name for found in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("kind", ["npy", "images", "zarr", "hdf5"])
@pytest.mark.parametrize("name", ["thesis.tex", "zarr.json", "my.png", "my.npy"])
def test_a_folder_with_other_files_is_never_replaced(tmp_path, kind, name):
    out = tmp_path / "home"
    (out / "deep").mkdir(parents=True)
    (out / "deep" / name).write_text("years")
    given = {"x": np.zeros((3, 4, 4), "u1")}
    with pytest.raises(OSError, match=f"holds deep/{name}|a folder, and hdf5 is a fil"):
        cs.export(given, out, format=kind, overwrite=True)
    assert (out / "deep" / name).read_text() == "years"
    if kind != "hdf5" and (kind, name) != ("zarr", "zarr.json"):
        cs.export(given, tmp_path / "own", format=kind)
        (tmp_path / "own" / name).write_text("added later")
        with pytest.raises(FileExistsError, match=f"nothing but an export.* holds {name}"):
            cs.export(given, tmp_path / "own", format=kind, overwrite=True)


@pytest.mark.parametrize("kind", ["npy", "zarr", "npz"])
def test_what_is_exported_is_never_replaced_by_it(path, tmp_path, kind):
    own = tmp_path / "a.zarr.zip"
    own.write_bytes(path.read_bytes())
    content = own.read_bytes()
    with cs.open(own) as store:
        for source in (own, store, store.select(slice(3))):
            with pytest.raises(ValueError, match="this is the file that is exported"):
                cs.export(source, own, format=kind, overwrite=True)
    assert own.read_bytes() == content


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_dates_that_are_none_are_nulls(tmp_path, kind):
    days = np.array(["2020-01-01", "NaT", "1969-12-31"], "M8[s]")
    cs.export({"d": days}, tmp_path / "a", format=kind)
    assert np.array_equal(read(tmp_path / "a", kind)["d"], days, equal_nan=True)


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
@pytest.mark.parametrize("unit", ["D", "h", "s"])
def test_dates_that_are_too_far_away_are_refused_by_name(tmp_path, kind, unit):
    far = np.array([0, 2**62], f"M8[{unit}]")
    if unit == "s":
        far = np.array([0, 2**62], "m8[h]")
    with pytest.raises(cs.UnsupportedError, match=r"array 'd': .* is too far away for parquet"):
        cs.export({"d": far}, tmp_path / "a", format=kind)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [*FORMATS, "images"])
def test_a_folder_that_is_not_there_is_named_and_not_made(tmp_path, kind):
    with pytest.raises(FileNotFoundError, match="the export cannot be written") as failed:
        cs.export({"x": np.zeros((3, 4, 4), "u1")}, tmp_path / "no" / "a.npy", format=kind)
    assert "no/a.npy" in str(failed.value)
    assert not list(tmp_path.iterdir())


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path, monkeypatch):
    out = tmp_path / "a.npz"
    whole = Contents.iter_blocks

    def slow(self, name):
        out.write_text("mine")
        return whole(self, name)

    monkeypatch.setattr(Contents, "iter_blocks", slow)
    with pytest.raises(FileExistsError, match="overwrite=True replaces it"):
        cs.export({"x": np.arange(3)}, out)
    assert out.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [out]


def test_two_exports_to_one_place_do_not_mix(tmp_path, monkeypatch):
    out = tmp_path / "a.npz"
    whole = Contents.iter_blocks
    told = []

    def slow(self, name):
        if not told:
            told.append("begun")
            with pytest.raises(
                cs.LockedError, match=r"a\.npz: another export is writing it; if no"
            ):
                cs.export({"x": np.zeros(5)}, out)
        return whole(self, name)

    monkeypatch.setattr(Contents, "iter_blocks", slow)
    cs.export({"x": np.arange(3)}, out)
    with np.load(out) as archive:
        assert archive["x"].tolist() == [0, 1, 2]
    assert list(tmp_path.iterdir()) == [out]


def test_an_open_store_is_exported_as_it_was_when_it_was_opened(tmp_path):
    zarr = require("zarr")
    path = tmp_path / "a.zarr.zip"
    cs.save(path, {"x": np.arange(10), "deep/y": np.arange(10)})
    with cs.open(path) as store:
        with cs.append(path) as writer:
            writer.append_mapping({"x": np.arange(5), "deep/y": np.arange(5)})
        cs.export(store, tmp_path / "a.zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert group["x"][...].tolist() == group["deep/y"][...].tolist() == list(range(10))


def test_the_bar_of_a_zarr_export_counts_all_bytes(path, tmp_path, monkeypatch):
    moved = []

    @contextlib.contextmanager
    def bar(total, **_):
        moved.append(total)
        yield moved.append

    monkeypatch.setattr("chunkstore.exporting.run.progress_bar", bar)
    cs.export(path, tmp_path / "a.zarr")
    total, *steps = moved
    assert 0.99 * total <= sum(steps) <= total


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_days_stay_days(tmp_path, kind):
    days = np.array(["2020-02-29", "1815-12-10"], "M8[D]")
    cs.export({"d": days}, tmp_path / "a", format=kind)
    found = read(tmp_path / "a", kind)["d"]
    assert (found.dtype, found.tolist()) == (days.dtype, days.tolist())


def test_attributes_of_every_kind_come_back_from_hdf5(tmp_path):
    h5py = require("h5py")
    path = tmp_path / "a.zarr.zip"
    attributes = {"n": None, "big": 2**70, "flag": True, "list": [1, {"a": 2}], "text": "ä"}
    spec = {"x": cs.ArraySpec("f4", attributes={"unit": ["m"]})}
    with cs.create(path, arrays=spec, attributes=attributes) as writer:
        writer.append(x=np.zeros(3, "f4"))
    cs.export(path, tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        assert sorted(file.attrs["chunkstore_json"]) == ["big", "list", "n"]
        found = {
            key: json.loads(value) if key in file.attrs["chunkstore_json"] else value
            for key, value in file.attrs.items()
            if key != "chunkstore_json"
        }
        assert found == attributes
        assert json.loads(file["x"].attrs["unit"]) == ["m"]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_chunk_leaves_nothing_behind(path, tmp_path, kind):
    damaged = tmp_path / "damaged.zarr.zip"
    content = bytearray(path.read_bytes())
    place = content.index(b"x/c/0/0/0/0") + 200
    content[place] ^= 1
    damaged.write_bytes(content)
    (tmp_path / "out").mkdir()
    with pytest.raises((cs.CorruptionError, OSError), match=r"crc32|CRC"):
        cs.export(damaged, tmp_path / "out" / "a", format=kind)
    assert not list((tmp_path / "out").iterdir())


def test_an_export_that_is_killed_leaves_no_file_of_that_name_and_can_be_repeated(path, tmp_path):
    program = """
import os, signal, sys
import chunkstore as cs
from chunkstore.exporting.contents import Contents
whole = Contents.iter_blocks
def cut(self, name):
    for block in whole(self, name):
        yield block
        if name == "f":
            os.kill(os.getpid(), signal.SIGKILL)
Contents.iter_blocks = cut
cs.export(sys.argv[1], sys.argv[2])
"""
    out = tmp_path / "a.npz"
    code = subprocess.run([sys.executable, "-c", program, path, out], check=False).returncode
    assert code != 0
    assert [found.name for found in tmp_path.iterdir()] == ["a.npz.export.partial"]
    cs.export(path, out)
    check_equal(read(out, "npz"), arrays(), "npz")
    assert [found.name for found in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"out": "a.bin"}, ValueError, "does not follow from the name 'a.bin'"),
        ({"format": "tiff"}, ValueError, "format must be one of 'npy', .*got 'tiff'"),
        ({"arrays": ["nope"]}, KeyError, "no array 'nope' to export; there are 'x', "),
        ({"arrays": []}, ValueError, "no array to export"),
        ({"compression": "lzf"}, ValueError, "compression of npz must be left out, got 'lzf'"),
        ({"out": "a.h5", "compression": "zip"}, ValueError, "compression of hdf5 must be one of"),
        (
            {"source": [1, 2]},
            TypeError,
            "takes a file, a store, a view or a dict of arrays, got l",
        ),
        ({"source": "missing.zarr.zip"}, FileNotFoundError, "missing"),
    ],
)
def test_what_cannot_be_is_refused(path, tmp_path, arguments, error, message):
    out = tmp_path / arguments.pop("out", "a.npz")
    source = arguments.pop("source", path)
    with pytest.raises(error, match=message):
        cs.export(source, out, **arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_types_that_rows_have_not_are_refused_by_name(tmp_path, kind):
    with pytest.raises(cs.UnsupportedError, match="array 'z' of type complex128 has no type in"):
        cs.export({"z": np.zeros(3, complex)}, tmp_path / "a", format=kind)
    assert not list(tmp_path.iterdir())


def test_structures_with_text_are_refused_in_hdf5_and_others_kept(tmp_path):
    h5py = require("h5py")
    rows = np.zeros(3, [("a", "i4"), ("b", "f8", (2,))])
    rows["a"] = [1, 2, 3]
    cs.export({"r": rows}, tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["r"][...].tobytes() == rows.tobytes()
    with pytest.raises(cs.UnsupportedError, match="array 'r': field 't' of type <U3"):
        cs.export({"r": np.zeros(3, [("t", "U3")])}, tmp_path / "b.h5")


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "big.zarr.zip"
    # Quickly encoded and not all alike.
    pattern = np.arange(100 * 224 * 224 * 3, dtype=np.uint32) >> 12
    samples = pattern.astype(np.uint8).reshape(100, 224, 224, 3)
    with cs.create(path, arrays={"x": cs.ArraySpec("u1", (224, 224, 3))}, codec="lz4") as writer:
        for _ in range(20):
            writer.append(x=samples)
    return path


@pytest.mark.parametrize("kind", ["npz", "hdf5", "zarr", "parquet", "arrow"])
def test_memory_does_not_grow_with_the_data(large, tmp_path, kind):
    require({"hdf5": "h5py", "parquet": "pyarrow", "arrow": "pyarrow"}.get(kind, "numpy"))
    program = """
import sys
import numpy as np
import chunkstore as cs
from tests.support import status_nbytes
cs.export({"x": np.zeros((1, 1))}, sys.argv[2] + ".warm", format=sys.argv[3])
before = status_nbytes("VmRSS")
cs.export(sys.argv[1], sys.argv[2], format=sys.argv[3])
print(-1 if before is None else status_nbytes("VmHWM") - before)
"""
    printed = subprocess.run(
        [sys.executable, "-c", program, large, tmp_path / "a", kind],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(support.REPOSITORY)},
    ).stdout
    # 287 MiB of samples; a group of rows of parquet takes twenty times its bytes.
    assert int(printed) <= (192 if kind == "parquet" else 96) << 20
