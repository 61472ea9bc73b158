"""Arrays of objects come over as JSON text; an element that cannot is named or left out."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.importers import json_values
from chunkstore.importers.json_values import from_json_text
from tests.importers.bcolz.folders import blosc_frame, write_carray


def write_objects(folder, elements):
    """Write an array of pickles; bytes are taken for pickles already."""
    raw = [e if isinstance(e, bytes) else pickle.dumps(e, 2) for e in elements]
    frames = iter(raw)
    return write_carray(
        folder,
        np.zeros(len(raw), np.uint8),
        chunk_length=1,
        frame=lambda part: blosc_frame(np.frombuffer(next(frames), np.uint8)),
        storage={"dtype": "object"},
    )


def imported(folder, out, **options):
    """Import an array of objects and return the elements, None for those that were left out."""
    cs.import_bcolz({"a": folder}, out, allow_pickle=True, **options)
    with cs.open(out) as store:
        text = store["a/json"][:].tobytes()
        return [from_json_text(text[a:b]) if b > a else None for a, b in store["a/range"][:]]


def test_halves_of_letters_and_huge_numbers_come_over(tmp_path):
    elements = ["s", "a\ud83d", {"\udc00": [1 << 50_000]}, -(1 << 9999), ["\ud83d\ude00"]]
    folder = write_objects(tmp_path / "a", elements)
    assert imported(folder, tmp_path / "a.zarr.zip") == elements


def looped():
    value = []
    value.append(value)
    return value


def deep():
    value = []
    for _ in range(200):
        value = [value]
    return value


def shared():
    value = ["abc"]
    for _ in range(60):
        value = [value, value]
    return value


HOSTILE = {
    "a list in itself": (looped(), "nested more than 100 deep, or holds itself"),
    "deep lists": (deep(), "nested more than 100 deep"),
    "one list in many places": (shared(), "more than 1048576 letters of JSON"),
}


@pytest.mark.parametrize(("element", "message"), HOSTILE.values(), ids=list(HOSTILE))
def test_an_element_that_has_no_text_is_named_and_can_be_left_out(
    tmp_path, element, message, monkeypatch
):
    monkeypatch.setattr(json_values, "MAX_TEXT_LENGTH", 1 << 20)
    folder = write_objects(tmp_path / "a", [[1], element, "b"])
    out = tmp_path / "a.zarr.zip"
    with pytest.raises(cs.CorruptionError, match=f"array .*, sample 1: .*{message}"):
        imported(folder, out)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cs.ChunkStoreWarning)
        assert imported(folder, out, salvage=True) == [[1], None, "b"]
    with cs.open(out) as store:
        assert store["valid"][:].tolist() == [True, False, True]
