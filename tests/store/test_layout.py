"""Does a file look as docs/format.md says, seen with zipfile and json alone?"""

from __future__ import annotations

import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.store.spec import choose_chunk_lengths
from tests.store.stores import document, entries, flip, random_array, without_sync

MIB = 1 << 20


def x_and_y(start, stop):
    return {
        "x": np.arange(start * 100, stop * 100, dtype="i4").reshape(-1, 10, 10),
        "y": np.arange(start, stop, dtype="i8"),
    }


SPECS = {
    "x": cs.ArraySpec("i4", (10, 10), chunk_length=8),
    "y": cs.ArraySpec("i8", chunk_length=16),
}


def created(path):
    with cs.create(path, arrays=SPECS, attributes={"k": 1}) as writer:
        writer.append(**x_and_y(0, 100))


def appended(path):
    created(path)
    for start in range(100, 140, 2):
        with cs.append(path) as writer:
            writer.append(**x_and_y(start, start + 2))
            writer.attributes["k"] = start


def replaced(path):
    appended(path)
    with cs.append(path) as writer:
        writer.put("y", np.arange(140)[::-1])
        writer.put("group/mean", np.zeros((3, 3)), aligned=False)


def compacted(path):
    replaced(path)
    cs.compact(path)


def repaired(path):
    replaced(path)
    cs.repair(path, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


FILES = {f.__name__: f for f in (created, appended, replaced, compacted, repaired)}


@pytest.fixture(params=FILES.values(), ids=FILES)
def path(request, tmp_path):
    path = tmp_path / "a.zarr.zip"
    with without_sync():
        request.param(path)
    return path


def test_every_entry_is_stored_with_a_complete_header_and_a_fixed_date(path):
    raw = path.read_bytes()
    for info in entries(path):
        assert info.compress_type == zipfile.ZIP_STORED
        assert info.compress_size == info.file_size
        assert info.date_time == (1980, 1, 1, 0, 0, 0)
        assert info.flag_bits == 0
        assert info.extra == b""
        assert info.external_attr == 0o100644 << 16
        assert not info.is_dir()
        assert info.filename.isascii()
        local = struct.unpack_from("<4sHHHHHIIIHH", raw, info.header_offset)
        sizes = (info.CRC, info.file_size, info.file_size, len(info.filename), 0)
        assert local == (b"PK\3\4", 20, 0, 0, 0, 0x21, *sizes)


def test_no_name_is_listed_twice_and_testzip_finds_nothing(path):
    names = [info.filename for info in entries(path)]
    assert len(names) == len(set(names))
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        assert file.comment == b""


def test_the_directory_lists_metadata_first_and_then_each_arrays_chunks_in_index_order(path):
    names = [info.filename for info in entries(path)]
    arrays = document(path)["attributes"]["chunkstore"]["arrays"]
    metadata = [name for name in names if name.endswith("zarr.json")]
    assert names[: len(metadata)] == metadata
    assert metadata[0] == "zarr.json"
    chunks = []
    for name in arrays:
        node = document(path, f"{name}/zarr.json")
        count = -(-node["shape"][0] // node["chunk_grid"]["configuration"]["chunk_shape"][0])
        chunks += [f"{name}/c/{i}" + "/0" * (len(node["shape"]) - 1) for i in range(count)]
    assert names[len(metadata) :] == chunks


def test_the_root_says_what_is_complete_and_repeats_the_metadata(path):
    root = document(path)
    own = root["attributes"]["chunkstore"]
    assert own["version"] == 1
    assert own["complete"] is True
    assert own["aligned"] == ["x", "y"]
    with cs.open(path) as store:
        assert own["num_samples"] == store.num_samples
        assert own["arrays"] == list(store)
    copies = root["consolidated_metadata"]
    assert (copies["kind"], copies["must_understand"]) == ("inline", False)
    paths = {info.filename for info in entries(path) if info.filename.endswith("/zarr.json")}
    assert {f"{name}/zarr.json" for name in copies["metadata"]} == paths
    for name, copy in copies["metadata"].items():
        assert document(path, f"{name}/zarr.json") == copy


def test_arrays_are_plain_zarr_with_a_name_for_every_axis(path):
    x = document(path, "x/zarr.json")
    assert x["data_type"] == "int32"
    assert x["chunk_grid"]["configuration"]["chunk_shape"] == [8, 10, 10]
    assert x["chunk_key_encoding"] == {"name": "default", "configuration": {"separator": "/"}}
    assert [codec["name"] for codec in x["codecs"]] == ["bytes", "blosc"]
    assert x["codecs"][1]["configuration"]["blocksize"] == 0
    assert x["codecs"][1]["configuration"]["typesize"] == 4
    assert x["dimension_names"] == ["sample", "x_1", "x_2"]
    assert document(path, "y/zarr.json")["dimension_names"] == ["sample"]


def test_a_new_file_begins_with_the_root_then_the_arrays_then_chunks_as_they_were_appended(
    tmp_path,
):
    path = tmp_path / "a.zarr.zip"
    created(path)
    in_file = [i.filename for i in sorted(entries(path), key=lambda info: info.header_offset)]
    assert in_file[:3] == ["zarr.json", "x/zarr.json", "y/zarr.json"]
    assert in_file[3:9] == [
        "x/c/0/0/0",
        "x/c/1/0/0",
        "y/c/0",
        "x/c/2/0/0",
        "x/c/3/0/0",
        "y/c/1",
    ]
    # The last chunks are not full: they stand behind all others.
    assert in_file[-2:] == ["x/c/12/0/0", "y/c/6"]
    end = 0
    for info in sorted(entries(path), key=lambda info: info.header_offset):
        assert info.header_offset == end, "a gap in a new file"
        end += 30 + len(info.filename) + info.file_size
    raw = path.read_bytes()
    # The reserve in front is padded with spaces; the end record is the end.
    root = raw[39 : 39 + entries(path)[0].file_size]
    assert root.endswith(b" " * 100)
    assert root.rstrip(b" ").endswith(b"}")
    assert raw[-22:-18] == b"PK\5\6"
    with cs.open(path) as store:
        assert store.dead_nbytes == 0


def test_values_are_where_the_metadata_says_they_are(tmp_path):
    """Nothing but zipfile, json and the description of the layout."""
    path = tmp_path / "a.zarr.zip"
    x = random_array((21, 3), "f8")
    cs.save(path, {"x": x}, codec="raw", chunk_nbytes=16)
    node = document(path, "x/zarr.json")
    length = node["chunk_grid"]["configuration"]["chunk_shape"][0]
    assert node["codecs"] == [{"name": "bytes", "configuration": {"endian": "little"}}]
    with zipfile.ZipFile(path) as file:
        chunks = [
            np.frombuffer(file.read(f"x/c/{i}/0"), "<f8").reshape(-1, 3)
            for i in range(-(-21 // length))
        ]
    assert all(len(chunk) == length for chunk in chunks), "the last chunk is stored whole"
    np.testing.assert_array_equal(np.concatenate(chunks)[:21], x)
    assert (np.concatenate(chunks)[21:] == 0).all()


def test_the_chunk_length_is_that_of_the_widest_array_times_powers_of_two(tmp_path):
    specs = {
        "image": cs.ArraySpec("u1", (64, 64, 3)),
        "feature": cs.ArraySpec("f4", (16,)),
        "label": cs.ArraySpec("i8"),
        "flag": cs.ArraySpec("?"),
    }
    lengths = choose_chunk_lengths(specs, target_nbytes=MIB)
    # 1 MiB / 12 KiB = 85; then the least power of two that makes 16 KiB.
    assert lengths == {"image": 85, "feature": 85 * 4, "label": 85 * 32, "flag": 85 * 256}
    path = tmp_path / "a.zarr.zip"
    cs.save(path, {name: np.zeros((3, *s.sample_shape), s.dtype) for name, s in specs.items()})
    with cs.open(path) as store:
        assert {name: store[name].chunk_length for name in store} == lengths


@given(
    widths=st.lists(st.integers(0, 3 * MIB), min_size=1, max_size=5),
    target_nbytes=st.integers(1, 4 * MIB),
)
def test_chunk_lengths_keep_samples_aligned_and_entries_large_enough(widths, target_nbytes):
    specs = {f"a{i}": cs.ArraySpec("u1", (width,)) for i, width in enumerate(widths)}
    lengths = choose_chunk_lengths(specs, target_nbytes=target_nbytes)
    base = max(1, target_nbytes // max(1, *widths, 1))
    for name, spec in specs.items():
        factor, rest = divmod(lengths[name], base)
        assert rest == 0
        assert factor & (factor - 1) == 0, "no power of two"
        nbytes = lengths[name] * max(1, spec.sample_nbytes)
        assert nbytes >= 16 << 10
        assert factor == 1 or nbytes // 2 < 16 << 10, "larger than it need be"


def rewrite(path, change):
    """Write a zip again with zipfile; ``change`` maps a name to its new names and bytes."""
    with zipfile.ZipFile(path) as file:
        old = [(info.filename, file.read(info.filename)) for info in file.infolist()]
    with zipfile.ZipFile(path, "w") as file:
        for name, data in old:
            for new_name, new_data in change(name, data):
                file.writestr(new_name, new_data)


INCOMPLETE = {
    "missing chunk": (
        lambda n, d: [] if n == "x/c/3/0/0" else [(n, d)],
        r"'x/c/3/0/0': chunk 3 of array 'x' is missing \(1 chunks of 13\)",
    ),
    "missing last chunk": (
        lambda n, d: [] if n == "y/c/6" else [(n, d)],
        r"chunk 6 of array 'y' is missing",
    ),
    "missing array": (
        lambda n, d: [] if n.startswith("y/") else [(n, d)],
        r"array 'y' is missing: the file lists it, its zarr\.json is gone",
    ),
    "array that is not listed": (
        lambda n, d: [(n, d), (n.replace("y/", "z/"), d)] if n.startswith("y/") else [(n, d)],
        r"array 'z' is in the file, but not in its list",
    ),
    "unknown name": (
        lambda n, d: [(n, d), ("README", b"hello")] if n == "zarr.json" else [(n, d)],
        r"'README': the directory lists a name that belongs to no array of this file",
    ),
    "chunk outside the grid": (
        lambda n, d: [(n, d), ("x/c/13/0/0", d)] if n == "x/c/3/0/0" else [(n, d)],
        r"'x/c/13/0/0': the directory lists a name that belongs to no array",
    ),
    "flipped name": (
        lambda n, d: [("x/c/30/0", d) if n == "x/c/3/0/0" else (n, d)],
        r"x/c/3",
    ),
    "other length": (
        lambda n, d: [(n, d.replace(b'"num_samples":100', b'"num_samples":101'))],
        r"array 'x' has shape \(100, 10, 10\), but the file holds 101 samples",
    ),
    "not complete": (
        lambda n, d: [(n, d.replace(b'"complete":true', b'"complete":false'))],
        r"complete: true",
    ),
    "newer version": (
        lambda n, d: [(n, d.replace(b'"chunkstore":{"version":1', b'"chunkstore":{"version":2'))],
        r"format version 2, this release reads up to 1",
    ),
}


@pytest.mark.parametrize(("change", "message"), INCOMPLETE.values(), ids=INCOMPLETE)
def test_a_file_of_ours_that_is_not_complete_is_refused(change, message, tmp_path):
    path = tmp_path / "a.zarr.zip"
    created(path)
    rewrite(path, lambda name, data: [(name, data)])
    cs.open(path).close()
    rewrite(path, change)
    with pytest.raises(cs.ChunkStoreError, match=message) as refusal:
        cs.open(path)
    assert refusal.value.path == str(path)
    if "version" not in message and "complete:" not in message:
        assert isinstance(refusal.value, cs.CorruptionError)


def test_in_a_file_of_another_writer_a_missing_chunk_is_the_fill_value(tmp_path):
    path = tmp_path / "a.zarr.zip"
    created(path)
    rewrite(
        path,
        lambda n, d: (
            [] if n == "x/c/3/0/0" else [(n, d.replace(b'"chunkstore"', b'"otherwriter"'))]
        ),
    )
    with cs.open(path) as store:
        x = store["x"][...]
    assert (x[24:32] == 0).all()
    np.testing.assert_array_equal(x[:24], x_and_y(0, 24)["x"])


def test_a_chunk_listed_twice_is_damage_in_a_file_of_ours(tmp_path):
    path = tmp_path / "a.zarr.zip"
    created(path)
    raw = bytearray(path.read_bytes())
    # The directory's record and the local header of chunk 4 say chunk 3.
    for place in (raw.find(b"x/c/4/0/0"), raw.rfind(b"x/c/4/0/0")):
        raw[place + 4] = ord("3")
    path.write_bytes(raw)
    with pytest.raises(cs.CorruptionError, match=r"lists a chunk of array 'x' twice"):
        cs.open(path)


def test_any_bit_of_a_small_file_flipped_gives_an_error_or_the_right_values(tmp_path):
    path = tmp_path / "a.zarr.zip"
    expected = x_and_y(0, 20)
    with cs.create(path, arrays=SPECS) as writer:
        writer.append(**expected)
    pristine = path.read_bytes()
    rng = np.random.default_rng(1)
    # Headers, names, directory and end in full; of data and padding a sample.
    raw_metadata = {i for i, byte in enumerate(pristine) if byte == 0x20 and rng.random() < 0.97}
    sound = 0
    for offset in range(len(pristine)):
        if offset in raw_metadata or rng.random() < 0.5:
            continue
        path.write_bytes(pristine)
        flip(path, offset, int(rng.integers(8)))
        try:
            with cs.open(path) as store:
                got = {name: store[name][...] for name in store}
        except (cs.ChunkStoreError, KeyError):
            continue
        sound += 1
        assert set(got) == set(expected), f"byte {offset}"
        for name, array in expected.items():
            np.testing.assert_array_equal(got[name], array, err_msg=f"byte {offset}")
    # Dates, versions and permissions of records are not needed to read right.
    assert 0 < sound < 400
