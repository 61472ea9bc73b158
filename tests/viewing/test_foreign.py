"""Can files of other writers be seen, damaged and sparse ones too?"""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

import chunkstore as cs
from chunkstore.cli import main
from chunkstore.viewing.surveying import survey
from tests.support import REPOSITORY, require
from tests.viewing.files import Outline

FILES = sorted((REPOSITORY / "tests" / "data" / "zarr_zips").glob("*.zip"))
# Files that are not opened: there is nothing to see.
REFUSED = {
    "codec_strange": "UnsupportedError",
    "count_low": "CorruptionError",
    "cut_data": "IncompleteError",
    "cut_listing": "IncompleteError",
    "dots": "FormatError",
    "json_torn": "FormatError",
    "key_strange": "UnsupportedError",
    "locked": "UnsupportedError",
    "meta_flip": "CorruptionError",
    "noise": "FormatError",
    "offset_past_end": "CorruptionError",
    "one_folder": "FormatError",
    "other_zip": "FormatError",
    "shape_large": "FormatError",
    "size_past_end": "CorruptionError",
    "type_strange": "UnsupportedError",
}


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_file_that_opens_has_a_page_and_one_that_does_not_has_an_error(path, tmp_path):
    out = tmp_path / "a.html"
    result = CliRunner().invoke(main, ["view", str(path), "-o", str(out), "--json"])
    found = json.loads(result.stdout)
    if path.stem in REFUSED:
        assert result.exit_code == 1
        assert found["error"]["type"] == REFUSED[path.stem]
        assert not out.exists()
        return
    with cs.open(path) as store:
        assert found["error"] is None
        assert set(found["arrays"]) == set(store)
        assert result.exit_code == (1 if found["damage"] else 0)
        text = Outline(out.read_text(encoding="utf-8")).text
        for damage in found["damage"]:
            assert damage["array"] in store
            assert "could not be read" in text
        Outline(store._repr_html_())
        for name, array in store.items():
            Outline(array._repr_html_())
            Outline(store.preview(name, n=3)._repr_html_())
        assert {entry.array for entry in survey(store, is_whole=True).damage} == {
            entry["array"] for entry in found["damage"]
        }


@pytest.mark.leaves_open("the event loop of zarr")
def test_a_few_chunks_in_a_grid_of_billions_are_seen(tmp_path):
    zarr = require("zarr")
    path = tmp_path / "sparse.zip"
    with zarr.storage.ZipStore(path, mode="w") as storage:
        array = zarr.create_array(
            store=storage, name="x", shape=(10**12,), chunks=(1000,), dtype="i4", fill_value=7
        )
        array[5000:5010] = np.arange(10)
        array[9 * 10**11 : 9 * 10**11 + 3] = 100
    report = cs.view(path)
    (look,) = report.look.arrays
    assert not look.summary.is_exact
    assert (look.summary.minimum, look.summary.maximum) == (0, 100)
    assert (look.compression.num_stored, look.compression.num_chunks) == (2, 10**9)
    assert "more than 50,000,000 samples" in report.look.advice
    text = Outline((tmp_path / "sparse.html").read_text(encoding="utf-8")).text
    assert "2 of 1,000,000,000 chunks are stored" in text
    with cs.open(path) as store:
        assert "2 chunks" in store._repr_html_()


@pytest.mark.leaves_open("the event loop of zarr")
def test_chunks_across_several_axes_are_counted_along_the_first(tmp_path):
    zarr = require("zarr")
    path = tmp_path / "grid.zip"
    values = np.random.default_rng(0).integers(0, 256, (40, 24, 24), dtype=np.uint8)
    with zarr.storage.ZipStore(path, mode="w") as storage:
        array = zarr.create_array(
            store=storage, name="x", shape=values.shape, chunks=(10, 7, 24), dtype="u1"
        )
        array[...] = values
    report = cs.view(path)
    (look,) = report.look.arrays
    assert look.summary.is_exact
    assert look.summary.mean == pytest.approx(values.mean())
    with cs.open(path) as store:
        chunks, nbytes = store["x"].stored_chunk_nbytes()
        assert chunks.tolist() == [0, 1, 2, 3]
        assert nbytes.sum() == store["x"].encoded_nbytes
