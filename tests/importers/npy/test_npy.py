"""Claims about npy and npz files, against NumPy's own reader."""

from __future__ import annotations

import tracemalloc
import zipfile

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.importers import npy_decoded
from chunkstore.importers.npy import open_npy
from tests.importers.killed import killed_after_a_checkpoint, use_small_blocks

DTYPES = [
    "|u1",
    "<i2",
    ">i4",
    "<f2",
    ">f8",
    "<c8",
    "?",
    "<U5",
    "S3",
    "<M8[ns]",
    [("a", ">i2"), ("b", "u1")],
]


def values_of(dtype, shape=(50, 3, 4), seed=0):
    rng = np.random.default_rng(seed)
    return (
        rng.integers(0, 100, shape).astype(np.dtype(dtype))
        if not isinstance(dtype, list)
        else np.array(
            [(int(n), 1) for n in rng.integers(0, 100, shape).reshape(-1)], dtype
        ).reshape(shape)
    )


def check(path, expected, name):
    with cs.open(path) as store:
        assert store[name].dtype == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(store[name][...], expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_dtype_and_order_comes_over_exactly(tmp_path, dtype, order):
    values = np.asarray(values_of(dtype), order=order)
    np.save(tmp_path / "trn_x.npy", values)
    cs.import_npy(tmp_path / "trn_x.npy", tmp_path / "a.zarr.zip")
    check(tmp_path / "a.zarr.zip", np.load(tmp_path / "trn_x.npy"), "trn_x")


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)], ids=str)
def test_every_version_of_the_format_is_read(tmp_path, version):
    values = values_of("<f4")
    with (tmp_path / "x.npy").open("wb") as file:
        np.lib.format.write_array(file, values, version=version)
    cs.import_npy(tmp_path / "x.npy", tmp_path / "a.zarr.zip")
    check(tmp_path / "a.zarr.zip", values, "x")


def test_several_files_are_arrays_of_one_store(tmp_path):
    np.save(tmp_path / "i.npy", values_of("u1"))
    np.save(tmp_path / "l.npy", np.arange(50))
    report = cs.import_npy(
        {"x": tmp_path / "i.npy", "y": tmp_path / "l.npy"},
        tmp_path / "set",
        split={"train": 0.8, "val": 0.2},
        shuffle=True,
        stratify=np.arange(50) % 2,
    )
    assert set(report) == {"train", "val"}
    for part in report.values():
        loaded = cs.load(part.path)
        np.testing.assert_array_equal(loaded["x"], values_of("u1")[loaded["y"]])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "deflated"])
@pytest.mark.parametrize("limit", [0, 1 << 20], ids=["file", "memory"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_an_npz_file_come_over_exactly(tmp_path, monkeypatch, save, limit, order):
    monkeypatch.setattr(npy_decoded, "_IN_MEMORY_NBYTES", limit)
    x = np.asarray(values_of(">f4", (500, 3, 4)), order=order)
    save(tmp_path / "a.npz", images=x, labels=np.arange(500), rate=np.float32(0.5), mean=x[0])
    cs.import_npy(
        tmp_path / "a.npz",
        tmp_path / "a.zarr.zip",
        arrays={"x": "images", "y": "labels", "rate": "rate", "mean": "mean"},
        beside=["mean"],
        threads=3,
    )
    check(tmp_path / "a.zarr.zip", x, "x")
    check(tmp_path / "a.zarr.zip", np.arange(500), "y")
    check(tmp_path / "a.zarr.zip", x[0], "mean")
    with cs.open(tmp_path / "a.zarr.zip") as store:
        assert store.attributes["rate"] == 0.5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "a.zarr.zip"]


def test_files_of_a_folder_follow_each_other_by_number(tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    for i in (1, 2, 10):
        np.save(folder / f"part{i}.npy", np.full((i, 2), i))
    (folder / "notes.txt").write_text("no array")
    (folder / ".hidden.npy").write_bytes(b"")
    cs.import_npy(folder, tmp_path / "a.zarr.zip", chunk_length=3)
    expected = np.repeat([1, 2, 10], [1, 2, 10])
    assert cs.load(tmp_path / "a.zarr.zip")["parts"][:, 0].tolist() == expected.tolist()


def test_stacked_files_are_samples_with_their_names_shuffled_by_default(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for i in range(60):
        np.save(folder / f"scan{i}.npy", np.asarray(np.full((3, 4), i, ">f4"), order="FC"[i % 2]))
    cs.import_npy(folder, tmp_path / "a.zarr.zip", stack=True, seed=1)
    loaded = cs.load(tmp_path / "a.zarr.zip")
    numbers = [int(name[4:-4]) for name in loaded["name"].tolist()]
    assert sorted(numbers) == list(range(60))
    assert numbers != list(range(60))
    assert loaded["x"].dtype == np.float32
    for number, sample in zip(numbers, loaded["x"], strict=True):
        np.testing.assert_array_equal(sample, np.load(folder / f"scan{number}.npy"))
    cs.import_npy(folder, tmp_path / "b.zarr.zip", stack=True, shuffle=False, threads=3)
    assert cs.load(tmp_path / "b.zarr.zip")["x"][:, 0, 0].tolist() == list(range(60))


def test_stacked_npz_files_are_samples_of_several_arrays(tmp_path):
    paths = [tmp_path / f"{i}.npz" for i in range(12)]
    for i, path in enumerate(paths):
        np.savez(path, obs=np.full((5, 2), i), reward=np.float32(i))
    cs.import_npy(paths, tmp_path / "a.zarr.zip", stack=True, shuffle=False)
    loaded = cs.load(tmp_path / "a.zarr.zip")
    assert loaded["obs"].shape == (12, 5, 2)
    assert loaded["reward"].tolist() == list(range(12))
    assert loaded["name"][3] == "3.npz"


def write_bad_folder(folder):
    folder.mkdir()
    for i in range(10):
        np.save(folder / f"{i}.npy", np.full((3, 4), i, "f4"))
    np.save(folder / "2.npy", np.zeros((4, 3), "f4"))
    np.save(folder / "5.npy", np.zeros((3, 4), "f8"))
    (folder / "6.npy").write_bytes(b"\xff\xd8\xff a photograph")
    np.save(folder / "7.npy", np.array([{}], object), allow_pickle=True)


def test_all_bad_files_are_named_before_the_first_sample_is_written(tmp_path):
    write_bad_folder(tmp_path / "scans")
    with pytest.raises(cs.ChunkStoreError) as caught:
        cs.import_npy(tmp_path / "scans", tmp_path / "a.zarr.zip", stack=True)
    text = str(caught.value)
    assert "4 files cannot be imported" in text
    assert "2.npy: array 'x' has shape (4, 3) and dtype float32, expected shape (3, 4)" in text
    assert "5.npy: array 'x' has shape (3, 4) and dtype float64" in text
    assert "6.npy is no npy file" in text
    assert "7.npy holds Python objects" in text
    assert [path.name for path in tmp_path.iterdir()] == ["scans"]


def test_bad_files_are_left_out_and_listed_on_request(tmp_path):
    write_bad_folder(tmp_path / "scans")
    report = cs.import_npy(tmp_path / "scans", tmp_path / "a.zarr.zip", stack=True, on_error="skip")
    assert sorted(entry.name for entry in report.skipped) == ["2.npy", "5.npy", "6.npy", "7.npy"]
    assert sorted(cs.load(report.path)["x"][:, 0, 0].tolist()) == [0, 1, 3, 4, 8, 9]


def damaged_npz(path, position):
    raw = bytearray(path.read_bytes())
    raw[position] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "deflated"])
def test_a_flipped_bit_in_an_npz_file_is_an_error(tmp_path, save):
    path = tmp_path / "a.npz"
    save(path, x=np.random.default_rng(0).integers(0, 255, 5000, dtype="u1"))
    damaged_npz(path, 3000)
    with pytest.raises(cs.CorruptionError, match=r"a\.npz: array 'x'"):
        cs.import_npy(path, tmp_path / "a.zarr.zip")
    assert not (tmp_path / "a.zarr.zip").exists()


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_file_that_is_cut_off_is_named(tmp_path, order):
    path = tmp_path / "x.npy"
    np.save(path, np.asarray(np.zeros((100, 100)), order=order))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(cs.CorruptionError, match=r"x\.npy.*it was cut off"):
        cs.import_npy(path, tmp_path / "a.zarr.zip")


def header_file(text):
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


HOSTILE = {
    "code": header_file("__import__('os').abort()"),
    "no-tuple": header_file("{'descr': '<f4', 'fortran_order': False, 'shape': 5}"),
    "negative": header_file("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}"),
    "dtype": header_file("{'descr': 'nothing', 'fortran_order': False, 'shape': (1,)}"),
    "huge": header_file("{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999,)}"),
    "version": b"\x93NUMPY\x09\x00\x00\x00",
    "long": b"\x93NUMPY\x02\x00\xff\xff\xff\x7f",
    "short": b"\x93NUMPY\x01\x00\x80\x00{'descr'",
    "nested": header_file("(" * 30000),
    "empty": b"",
    "no-bytes": header_file("{'descr': '|S0', 'fortran_order': False, 'shape': (3,)}"),
    "cut value": header_file("{'descr': '<f8', 'fortran_order': False, 'shape': ()}") + b"123",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_headers_are_errors_that_name_the_file(tmp_path, content):
    (tmp_path / "x.npy").write_bytes(content)
    for stack in (False, True):
        with pytest.raises(cs.ChunkStoreError, match=r"x\.npy"):
            cs.import_npy(tmp_path / "x.npy", tmp_path / "a.zarr.zip", stack=stack)


def test_a_single_value_that_is_cut_off_is_named(tmp_path):
    np.save(tmp_path / "x.npy", np.float64(1))
    raw = (tmp_path / "x.npy").read_bytes()
    for content in (raw[:-3], raw + b"more"):
        (tmp_path / "x.npy").write_bytes(content)
        with pytest.raises(cs.CorruptionError, match=r"x\.npy: a single value .* takes 8 bytes"):
            cs.import_npy(tmp_path / "x.npy", tmp_path / "a.zarr.zip")


def test_what_is_no_npz_file_is_named(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"text")
    with pytest.raises(cs.FormatError, match=r"a\.npz: this is no npz file"):
        cs.import_npy(tmp_path / "a.npz", tmp_path / "a.zarr.zip")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("x.txt", "text")
    with pytest.raises(cs.FormatError, match=r"'x\.txt' is no npy file"):
        cs.import_npy(tmp_path / "b.npz", tmp_path / "a.zarr.zip")
    with pytest.raises(FileNotFoundError, match=r"c\.npy"):
        cs.import_npy(tmp_path / "c.npy", tmp_path / "a.zarr.zip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(cs.FormatError, match="no file in the folder"):
        cs.import_npy(tmp_path / "empty", tmp_path / "a.zarr.zip")


def test_an_empty_array_is_a_store_without_samples(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((0, 3), "f4"))
    np.savez_compressed(tmp_path / "y.npz", x=np.zeros((0, 3), "f4"))
    for name in ("x.npy", "y.npz"):
        cs.import_npy(tmp_path / name, tmp_path / f"{name}.zarr.zip")
        assert cs.load(tmp_path / f"{name}.zarr.zip")["x"].shape == (0, 3)


@pytest.mark.parametrize("dtype", ["<f4", ">u2", "u1"])
def test_a_plain_binary_file_comes_over_as_its_dtype_and_shape(tmp_path, dtype):
    values = values_of(dtype, (30, 4, 5))
    path = tmp_path / "features.bin"
    path.write_bytes(b"head" + values.tobytes())
    cs.import_raw(path, tmp_path / "a.zarr.zip", dtype=dtype, sample_shape=(4, 5), offset=4)
    check(tmp_path / "a.zarr.zip", values, "features")


def test_a_binary_file_with_bytes_over_is_refused(tmp_path):
    (tmp_path / "a.bin").write_bytes(bytes(42))
    with pytest.raises(cs.FormatError, match=r"42 bytes behind offset 0 .* 2 are over"):
        cs.import_raw(tmp_path / "a.bin", tmp_path / "a.zarr.zip", dtype="f4", sample_shape=(2,))


def test_more_files_than_a_process_may_have_open_come_over(tmp_path):
    resource = pytest.importorskip("resource")
    folder = tmp_path / "parts"
    folder.mkdir()
    for i in range(300):
        np.save(folder / f"{i}.npy", np.full((2, 2), i))
    packed = tmp_path / "packed"
    packed.mkdir()
    for i in range(300):
        np.savez(packed / f"{i}.npz", x=np.full((2, 2), i))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        cs.import_npy(folder, tmp_path / "a.zarr.zip")
        cs.import_npy(folder, tmp_path / "b.zarr.zip", stack=True)
        cs.import_npy(packed, tmp_path / "c.zarr.zip")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (
        cs.load(tmp_path / "a.zarr.zip")["parts"][:, 0].tolist()
        == np.repeat(range(300), 2).tolist()
    )


@pytest.mark.parametrize("shuffle", [False, True])
def test_many_compressed_files_take_the_memory_of_few(tmp_path, shuffle, monkeypatch):
    monkeypatch.setattr(npy_decoded, "_IN_MEMORY_NBYTES", 1 << 20)
    folder = tmp_path / "parts"
    folder.mkdir()
    values = np.zeros((40, 8, 1 << 16), "u1")
    for i in range(40):
        values[i, :, 0] = i
        np.savez_compressed(folder / f"{i}.npz", x=values[i])
    cs.import_npy(folder, tmp_path / "warm.zarr.zip", arrays=["x"], threads=1, verify=False)
    tracemalloc.start()
    try:
        with open_npy(folder, arrays=["x"]) as samples:
            numbers = np.arange(320)
            if shuffle:
                numbers = np.random.default_rng(0).permutation(numbers)
            for i in range(0, 320, 8):
                read = samples.read(numbers[i : i + 8], skips=False).arrays["x"]
                assert read[:, 0].tolist() == (numbers[i : i + 8] // 8).tolist()
            held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    # 20 MiB are decoded.
    assert held < 6 << 20


def test_a_single_value_of_several_files_is_an_attribute_where_it_is_the_same(tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    for i in range(2):
        np.savez(folder / f"{i}.npz", x=np.arange(3), scale=0.5)
    cs.import_npy(folder, tmp_path / "a.zarr.zip")
    with cs.open(tmp_path / "a.zarr.zip") as store:
        assert store.attributes["scale"] == 0.5
    np.savez(folder / "1.npz", x=np.arange(3), scale=1.5)
    with pytest.raises(cs.FormatError, match=r"1\.npz: the single value 'scale' is .*1\.5"):
        cs.import_npy(folder, tmp_path / "b.zarr.zip")
    cs.import_npy(folder, tmp_path / "b.zarr.zip", arrays=["x"])
    np.savez(folder / "1.npz", x=1, scale=0.5)
    with pytest.raises(cs.FormatError, match=r"1\.npz: 'x' is a single value, in .*0\.npz an arr"):
        cs.import_npy(folder, tmp_path / "c.zarr.zip")


def test_endings_in_large_letters_are_the_same(tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    for i in range(2):
        with (folder / f"{i}.NPY").open("wb") as file:
            np.save(file, np.full(3, i))
    cs.import_npy(folder, tmp_path / "a.zarr.zip")
    assert cs.load(tmp_path / "a.zarr.zip")["parts"].tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("form", ["npy", "npz", "folder"])
def test_an_import_that_was_killed_goes_on_and_ends_with_the_same_bytes(
    tmp_path, monkeypatch, form
):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 8, (1200, 100, 100), dtype="u1")
    if form == "npy":
        np.save(tmp_path / "source", values)
    elif form == "npz":
        np.savez_compressed(tmp_path / "source", x=values, y=np.arange(1200))
    else:
        (tmp_path / "source").mkdir()
        for i in range(3):
            np.save(tmp_path / "source" / f"{i}.npy", values[i * 400 : i * 400 + 400])
    source = {"npy": "source.npy", "npz": "source.npz", "folder": "source"}[form]
    call = f"cs.import_npy({source!r}, 'b.zarr.zip', shuffle=True, seed=3)"
    use_small_blocks(monkeypatch)
    assert killed_after_a_checkpoint(call, tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(cs.ChunkStoreError, match="seed"):
        cs.import_npy(source, "b.zarr.zip", shuffle=True, seed=4)
    cs.import_npy(source, "b.zarr.zip", shuffle=True, seed=3)
    cs.import_npy(source, "whole.zarr.zip", shuffle=True, seed=3)
    assert (tmp_path / "b.zarr.zip").read_bytes() == (tmp_path / "whole.zarr.zip").read_bytes()


def test_other_values_beside_the_samples_do_not_continue_an_import(tmp_path, monkeypatch):
    values = np.random.default_rng(0).integers(0, 8, (600, 100, 100), dtype="u1")
    np.savez(tmp_path / "a.npz", x=values, mean=np.zeros(2), other=np.ones(2))
    call = "cs.import_npy('a.npz', 'b.zarr.zip', arrays={'x': 'x', 'm': 'mean'}, beside=['m'])"
    use_small_blocks(monkeypatch)
    assert killed_after_a_checkpoint(call, tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(cs.ChunkStoreError, match="beside"):
        cs.import_npy("a.npz", "b.zarr.zip", arrays={"x": "x", "m": "other"}, beside=["m"])
    cs.import_npy("a.npz", "b.zarr.zip", arrays={"x": "x", "m": "mean"}, beside=["m"])
    with cs.open("b.zarr.zip") as store:
        assert store["m"][...].tolist() == [0, 0]


def test_a_folder_that_was_exported_comes_back_as_its_arrays(tmp_path):
    arrays = {"x": np.arange(6).reshape(3, 2), "y": np.arange(6, 12).reshape(3, 2)}
    cs.export(arrays, tmp_path / "out", format="npy")
    cs.import_npy(tmp_path / "out", tmp_path / "o.zarr.zip")
    found = cs.load(tmp_path / "o.zarr.zip")
    assert {name: values.tolist() for name, values in found.items()} == {
        name: values.tolist() for name, values in arrays.items()
    }


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_second_array_in_a_file_is_noted(tmp_path, order):
    with (tmp_path / "x.npy").open("wb") as file:
        np.save(file, np.asarray(np.arange(6).reshape(3, 2), order=order))
        size = file.tell()
        np.save(file, np.arange(5))
    rest = (tmp_path / "x.npy").stat().st_size - size
    report = cs.import_npy(tmp_path / "x.npy", tmp_path / "a.zarr.zip")
    (note,) = report.notes
    assert note.startswith(f"{tmp_path / 'x.npy'}: {rest} bytes behind the array are not read; sav")
    assert cs.load(tmp_path / "a.zarr.zip")["x"].tolist() == [[0, 1], [2, 3], [4, 5]]
