"""Are stores that contradict themselves refused, by errors of ours and never by values?"""

from __future__ import annotations

import json

import numpy as np
import pytest

import chunkstore as cs
from tests.container.zips import RawEntry, build_zip

ARRAY = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [10],
    "data_type": "uint8",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [5]}},
    "chunk_key_encoding": {"name": "default"},
    "fill_value": 9,
    "codecs": [{"name": "bytes"}],
    "attributes": {},
}
GROUP = {"zarr_format": 3, "node_type": "group", "attributes": {}}
CHUNKS = [RawEntry(b"x/c/0", b"12345"), RawEntry(b"x/c/1", b"abcde")]
VALUES = np.frombuffer(b"12345abcde", np.uint8)


def metadata(name, document):
    return RawEntry(name.encode(), json.dumps(document).encode())


def ours(**changes):
    """Return the metadata of a file of ours with one array, and changes of what it says."""
    own = {"version": 1, "complete": True, "num_samples": 10, "aligned": ["x"], "arrays": ["x"]}
    root = GROUP | {"attributes": {"chunkstore": own | changes}}
    return [metadata("zarr.json", root), metadata("x/zarr.json", ARRAY)]


def read(tmp_path, entries):
    path = tmp_path / "a.zip"
    path.write_bytes(build_zip(entries))
    with cs.open(path) as store:
        return {name: array[...] for name, array in store.items()}


def test_what_is_ours_and_whole_is_read(tmp_path):
    found = read(tmp_path, [*ours(), *CHUNKS])
    assert list(found) == ["x"]
    np.testing.assert_array_equal(found["x"], VALUES)


OWN = {
    "version-text": ({"version": "1"}, cs.FormatError, "version is '1'"),
    "version-true": ({"version": True}, cs.FormatError, "version is True"),
    "version-0": ({"version": 0}, cs.FormatError, "version is 0"),
    "version-new": ({"version": 99}, cs.UnsupportedError, "format version 99"),
    "requires": ({"requires": ["magic"]}, cs.UnsupportedError, r"requires the features \['magic'"),
    "incomplete": ({"complete": False}, cs.FormatError, "must say complete: true"),
    "arrays-number": ({"arrays": 5}, cs.FormatError, "list the arrays"),
    "arrays-of-numbers": ({"arrays": [1]}, cs.FormatError, "list the arrays"),
    "arrays-of-lists": ({"arrays": [["x"]]}, cs.FormatError, "list the arrays"),
    "aligned-number": ({"aligned": 5}, cs.FormatError, "list the aligned arrays"),
    "aligned-of-lists": ({"aligned": [["x"]]}, cs.FormatError, "list the aligned arrays"),
    "samples-text": ({"num_samples": "10"}, cs.FormatError, "num_samples"),
    "samples-other": ({"num_samples": 11}, cs.CorruptionError, "the file holds 11 samples"),
    "one-more": ({"arrays": ["x", "y"]}, cs.CorruptionError, "array 'y' is missing"),
    "one-less": ({"arrays": [], "aligned": []}, cs.CorruptionError, "'x' is in the file, but not"),
}


@pytest.mark.parametrize("name", OWN)
def test_what_a_file_of_ours_says_of_itself_is_held(tmp_path, name):
    changes, error, message = OWN[name]
    with pytest.raises(error, match=message):
        read(tmp_path, [*ours(**changes), *CHUNKS])


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        pytest.param([CHUNKS[0]], "chunk 1 of array 'x' is missing", id="missing-chunk"),
        pytest.param([*CHUNKS, RawEntry(b"x/c/2", b"12345")], "belongs to no array", id="outside"),
        pytest.param([*CHUNKS, RawEntry(b"x/c/00", b"12345")], "belongs to no array", id="zero"),
        pytest.param([*CHUNKS, RawEntry(b"README", b"")], "belongs to no array", id="stranger"),
        pytest.param([*CHUNKS, CHUNKS[0]], "lists a chunk of array 'x' twice", id="twice"),
    ],
)
def test_in_a_file_of_ours_nothing_is_missing_or_strange(tmp_path, entries, message):
    with pytest.raises(cs.CorruptionError, match=message):
        read(tmp_path, [*ours(), *entries])


@pytest.mark.parametrize(
    ("outer", "inner"), [("zarr.json", "c/zarr.json"), ("x/zarr.json", "x/c/zarr.json")]
)
def test_a_node_inside_an_array_would_take_its_chunks_and_is_refused(tmp_path, outer, inner):
    above = outer.rpartition("/")[0]
    chunk = RawEntry(f"{above}/c/0".lstrip("/").encode(), b"12345")
    nodes = [metadata("zarr.json", GROUP)] if above else []
    with pytest.raises(cs.FormatError, match=f"lies inside array '{above}'"):
        read(tmp_path, [*nodes, metadata(outer, ARRAY), metadata(inner, ARRAY), chunk])


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        pytest.param([RawEntry(b"x/c/0", bytes(1 << 20), deflated=True)], "at most 5", id="long"),
        pytest.param([RawEntry(b"x/c/0", b"")], "length of 0 bytes", id="empty"),
        pytest.param([RawEntry(b"x/c/0", b"1234")], "length of 4 bytes", id="short"),
    ],
)
def test_a_chunk_of_another_length_is_refused(tmp_path, entries, message):
    with pytest.raises(cs.CorruptionError, match=f"'x/c/0' at byte .*{message}"):
        read(tmp_path, [metadata("zarr.json", GROUP), metadata("x/zarr.json", ARRAY), *entries])


def test_in_files_of_others_a_missing_chunk_is_the_fill_value(tmp_path):
    nodes = [metadata("zarr.json", GROUP), metadata("x/zarr.json", ARRAY)]
    strange = [RawEntry(name, b"12345") for name in (b"x/c/2", b"x/c/01", b"x/c/+1", b"README")]
    np.testing.assert_array_equal(
        read(tmp_path, [*nodes, CHUNKS[0], *strange])["x"], [*b"12345", 9, 9, 9, 9, 9]
    )


@pytest.mark.parametrize("name", [b"\xff/zarr.json", b"a/\xff\xfe/zarr.json"])
def test_a_name_that_is_no_utf_8_is_refused(tmp_path, name):
    raw = json.dumps(ARRAY).encode()
    with pytest.raises(cs.FormatError, match="is not UTF-8"):
        read(tmp_path, [metadata("zarr.json", GROUP), RawEntry(name, raw)])
