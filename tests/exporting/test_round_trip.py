"""What is exported and imported again is what it was: values, types, shapes, order, attributes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chunkstore as cs
from tests.support import require

pytestmark = pytest.mark.leaves_open("zarr keeps its event loop")

IMPORTS = {
    "npy": ("", cs.import_npy, "numpy"),
    "npz": (".npz", cs.import_npy, "numpy"),
    "hdf5": (".h5", lambda *a, **k: cs.import_hdf5(*a, **k), "h5py"),
    "zarr": (".zarr", lambda *a, **k: cs.import_zarr(*a, **k), "zarr"),
    "parquet": (".parquet", lambda *a, **k: cs.import_parquet(*a, **k), "pyarrow"),
    "arrow": (".arrow", lambda *a, **k: cs.import_parquet(*a, **k), "pyarrow"),
}
NUMBERS = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]
TIMES = [f"{kind}8[{unit}]" for kind in "mM" for unit in ("D", "h", "m", "s", "ms", "us", "ns")]
# What rows of parquet and arrow have not.
ODD_TIMES = ["M8[Y]", "M8[M]", "M8[W]", "M8[25s]", "m8[ps]", "M8"]
TEXTS = ["U1", "U7", "S1", "S5"]
OTHERS = ["c8", "c16", "V3", [("a", "i4"), ("b", "f8", (2,))]]
WITH_TEXT = [("t", "U3"), ("n", "i2")]
ALL = [*NUMBERS, *TIMES, *ODD_TIMES, *TEXTS, *OTHERS, WITH_TEXT]


def values_of(dtype, shape, rng):
    """Return values of every kind, those that come back only by luck among them."""
    dtype = np.dtype(dtype)
    if dtype.names:
        values = np.zeros(shape, dtype)
        for name in dtype.names:
            inner = dtype[name]
            values[name] = values_of(inner.base, (*shape, *inner.shape), rng)
        return values
    count = int(np.prod(shape, dtype=int))
    if dtype.kind == "b":
        flat = rng.integers(0, 2, count).astype(dtype)
    elif dtype.kind in "mM":
        flat = rng.integers(-(10**6), 10**6, count).view(dtype)
        flat[rng.random(count) < 0.1] = "NaT"
    elif dtype.kind == "U":
        letters = [*"aZ ä€😀\n,\"'", ""]
        lengths = rng.integers(0, dtype.itemsize // 4 + 1, count)
        flat = np.array(["".join(rng.choice(letters, n)) for n in lengths.tolist()], dtype)
    elif dtype.kind == "V":
        flat = rng.integers(0, 256, count * dtype.itemsize, dtype=np.uint8).view(dtype)
    elif dtype.kind == "S":
        flat = np.array([rng.bytes(dtype.itemsize) for _ in range(count)], dtype)
    elif dtype.kind in "fc":
        flat = rng.normal(0, 1e4, (count, 2)).astype("f8").view("c16")[:, 0]
        flat = (flat if dtype.kind == "c" else flat.real).astype(dtype)
        flat[rng.random(count) < 0.1] = np.nan
        flat[rng.random(count) < 0.1] = -0.0
    else:
        limits = np.iinfo(dtype)
        flat = rng.integers(limits.min, limits.max, count, dtype, endpoint=True)
    return flat.reshape(shape)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(-1e9, 1e9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner),
    max_leaves=5,
)
ATTRIBUTES = st.dictionaries(st.sampled_from(["title", "unit", "class_names", "ä b"]), JSON)


@st.composite
def files(draw, dtypes):
    """Return arrays of one length by name, attributes of each, and those of the file."""
    num_samples = draw(st.integers(0, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    arrays, attributes = {}, {}
    for i in range(draw(st.integers(1, 3))):
        shape = draw(st.lists(st.integers(1, 3), max_size=2))
        name = draw(st.sampled_from(["x", "deep/er/y", "z z"])) + str(i)
        arrays[name] = values_of(draw(st.sampled_from(dtypes)), (num_samples, *shape), rng)
        attributes[name] = draw(ATTRIBUTES)
    return arrays, attributes, draw(ATTRIBUTES)


def write(path, arrays, attributes, of_file):
    specs = {
        name: cs.ArraySpec(values.dtype, values.shape[1:], attributes=attributes[name])
        for name, values in arrays.items()
    }
    with cs.create(path, arrays=specs, attributes=of_file, chunk_nbytes=64) as writer:
        writer.append_mapping(arrays)


def lacks(kind, dtype):
    """Return whether a format has no place for a type, as docs/importing.md says."""
    if kind == "hdf5":
        return dtype.names is not None and "U" in {dtype[name].base.kind for name in dtype.names}
    if kind in ("parquet", "arrow"):
        is_odd = dtype.kind in "mM" and dtype in map(np.dtype, ODD_TIMES)
        return dtype.kind in "cV" or is_odd
    return False


@pytest.mark.parametrize("kind", IMPORTS)
@given(data=st.data())
@settings(max_examples=25)
def test_an_export_comes_back_as_it_was(kind, data, tmp_path_factory):
    suffix, import_file, package = IMPORTS[kind]
    require(package)
    arrays, attributes, of_file = data.draw(files(ALL))
    folder = tmp_path_factory.mktemp("round")
    write(folder / "a.zarr.zip", arrays, attributes, of_file)
    out = folder / f"out{suffix}"
    if refused := [name for name, values in arrays.items() if lacks(kind, values.dtype)]:
        with pytest.raises(cs.UnsupportedError, match=f"array '{refused[0]}'"):
            cs.export(folder / "a.zarr.zip", out, format=kind)
        assert not out.exists()
        return
    cs.export(folder / "a.zarr.zip", out, format=kind)
    import_file(out, folder / "b.zarr.zip")
    with cs.open(folder / "b.zarr.zip") as store:
        assert set(store) == set(arrays)
        for name, values in arrays.items():
            assert store[name].dtype == values.dtype
            assert store[name].shape == values.shape
            assert store[name][...].tobytes() == values.tobytes()
            if kind not in ("npy", "npz"):
                assert store[name].attributes == attributes[name]
        if kind not in ("npy", "npz"):
            found = store.attributes
            del found["import"]
            assert found == of_file


@pytest.mark.parametrize("kind", IMPORTS)
def test_a_literal_file_comes_back(kind, tmp_path):
    suffix, import_file, package = IMPORTS[kind]
    require(package)
    arrays = {
        "x": np.arange(24, dtype="u1").reshape(2, 3, 4),
        "t": np.array([["a", ""], ["äöü", "b"]], "U5"),
        "d": np.array(["2020-02-29", "NaT"], "M8[D]"),
        "h": np.array(["1969-12-31T23", "NaT"], "M8[h]"),
    }
    attributes = {"x": {"unit": "gray"}, "t": {}, "d": {}, "h": {"of": [1, None]}}
    write(tmp_path / "a.zarr.zip", arrays, attributes, {"class_names": ["b", "a"], "none": None})
    out = tmp_path / f"out{suffix}"
    cs.export(tmp_path / "a.zarr.zip", out, format=kind)
    import_file(out, tmp_path / "b.zarr.zip")
    with cs.open(tmp_path / "b.zarr.zip") as store:
        assert store["t"][...].tolist() == [["a", ""], ["äöü", "b"]]
        assert {name: str(array.dtype) for name, array in store.items()} == {
            "x": "uint8",
            "t": "<U5",
            "d": "datetime64[D]",
            "h": "datetime64[h]",
        }
        assert str(store["h"][0]) == "1969-12-31T23"
        if kind not in ("npy", "npz"):
            assert store.attributes["class_names"] == ["b", "a"]
            assert store["h"].attributes == {"of": [1, None]}


@pytest.mark.parametrize("kind", ["npy", "npz", "hdf5", "zarr"])
def test_arrays_that_are_no_samples_come_back_beside_them(kind, tmp_path):
    suffix, import_file, package = IMPORTS[kind]
    require(package)
    with cs.create(tmp_path / "a.zarr.zip") as writer:
        writer.append(x=np.arange(5))
        writer.put("mean", np.arange(3.0), aligned=False)
    cs.export(tmp_path / "a.zarr.zip", tmp_path / f"out{suffix}", format=kind)
    # Only our own zarr says which they are.
    beside = {} if kind == "zarr" else {"beside": ["mean"]}
    import_file(tmp_path / f"out{suffix}", tmp_path / "b.zarr.zip", **beside)
    with cs.open(tmp_path / "b.zarr.zip") as store:
        assert store.sample_arrays == ("x",)
        assert store["mean"][...].tolist() == [0, 1, 2]


def pictures(num_samples, shape=(5, 6, 3), dtype="u1"):
    rng = np.random.default_rng(0)
    return rng.integers(0, np.iinfo(dtype).max, (num_samples, *shape), dtype=dtype)


def exported_again(tmp_path, arrays, *, attributes=None, **options):
    """Return what came back of an image folder: arrays sorted by name, and the attributes."""
    require("PIL.Image")
    cs.save(tmp_path / "a.zarr.zip", arrays, attributes=attributes)
    cs.export(tmp_path / "a.zarr.zip", tmp_path / "pictures", format="images")
    cs.import_images(tmp_path / "pictures", tmp_path / "b.zarr.zip", shuffle=False, **options)
    with cs.open(tmp_path / "b.zarr.zip") as store:
        return {name: array[...] for name, array in store.items()}, store.attributes


@pytest.mark.parametrize(
    ("shape", "dtype", "options"),
    [
        ((5, 6, 3), "u1", {}),
        ((5, 6, 4), "u1", {"mode": "rgba"}),
        ((5, 6, 1), "u1", {"mode": "gray"}),
        ((5, 6, 1), "u2", {"mode": "gray", "sixteen_bit": "keep"}),
    ],
)
def test_pictures_without_names_come_back_in_their_order(tmp_path, shape, dtype, options):
    x = pictures(12, shape, dtype)
    found, _ = exported_again(tmp_path, {"x": x}, **options)
    assert found["x"].dtype == x.dtype
    assert np.array_equal(found["x"], x)


@pytest.mark.parametrize("class_names", [["dog", "cat", "ant"], None], ids=["named", "numbers"])
def test_pictures_keep_their_classes_also_where_one_has_none(tmp_path, class_names):
    # Class 1 has no picture, and names are in no order.
    y = np.array([2, 0, 0, 2, 2, 0])
    names = np.array([f"n/{i}.png" for i in range(6)])
    attributes = None if class_names is None else {"class_names": class_names}
    arrays = {"x": pictures(6), "y": y, "name": names}
    found, about = exported_again(tmp_path, arrays, attributes=attributes)
    stems = [int(name.rpartition("/")[2].removesuffix(".png")) for name in found["name"].tolist()]
    assert sorted(stems) == list(range(6))
    assert np.array_equal(found["y"], y[stems])
    assert np.array_equal(found["x"], arrays["x"][stems])
    assert about["class_names"] == (class_names or ["0", "1", "2"])
    # A class that was added since is one of the folder's own.
    (tmp_path / "pictures" / "new").mkdir()
    source = tmp_path / "pictures" / found["name"][0]
    (tmp_path / "pictures" / "new" / "1.png").write_bytes(source.read_bytes())
    cs.import_images(tmp_path / "pictures", tmp_path / "c.zarr.zip")
    with cs.open(tmp_path / "c.zarr.zip") as store:
        assert "new" in store.attributes["class_names"]


def test_folders_in_names_come_back_so_equal_names_in_them_are_two(tmp_path):
    x = pictures(3)
    names = np.array(["a/1.png", "b/1.png", "b/c/1.png"])
    found, _ = exported_again(tmp_path, {"x": x, "name": names}, layout="flat")
    assert found["name"].tolist() == names.tolist()
    assert np.array_equal(found["x"], x)


def test_an_imported_folder_of_classes_comes_back_with_its_names(tmp_path):
    names = np.array(["ant/1.png", "ant/deep/1.png", "bee/1.png"])
    arrays = {"x": pictures(3), "y": np.array([0, 0, 1]), "name": names}
    found, _ = exported_again(tmp_path, arrays, attributes={"class_names": ["ant", "bee"]})
    assert found["name"].tolist() == names.tolist()
    assert found["y"].tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("arrays", "attributes", "message"),
    [
        ({"name": np.array([".a.png"])}, {}, r"sample 0 has the name '\.a\.png', and .* hidden"),
        ({"name": np.array([".k/a.png"])}, {}, r"sample 0 has the name '\.k/a\.png', and"),
        ({"y": np.array([0])}, {"class_names": [".k"]}, r"class 0 has the name '\.k', and .* hidd"),
    ],
    ids=["file", "folder", "class"],
)
def test_what_an_import_would_leave_out_is_not_written(tmp_path, arrays, attributes, message):
    require("PIL.Image")
    cs.save(tmp_path / "a.zarr.zip", {"x": pictures(1), **arrays}, attributes=attributes)
    with pytest.raises(ValueError, match=message):
        cs.export(tmp_path / "a.zarr.zip", tmp_path / "pictures", format="images")
    assert not (tmp_path / "pictures").exists()


@pytest.mark.parametrize("name", ["y", "name"])
def test_labels_and_names_that_are_none_are_warned_of(tmp_path, name):
    require("PIL.Image")
    given = {"x": pictures(2), name: np.array([0.5, 1.5])}
    with pytest.warns(cs.ChunkStoreWarning, match=f"array '{name}' of type float64 and shape"):
        cs.export(given, tmp_path / "pictures", format="images")
    marker = json.loads((tmp_path / "pictures" / ".chunkstore-export.json").read_text())
    assert marker == {"format": "images", "files": ["0.png", "1.png"]}


def test_a_text_with_a_zero_character_is_refused_by_hdf5_by_name(tmp_path):
    require("h5py")
    with pytest.raises(cs.UnsupportedError, match="array 't' has a text with a zero character"):
        cs.export({"t": np.array(["a\0b"])}, tmp_path / "a.h5")
    assert not list(tmp_path.iterdir())
