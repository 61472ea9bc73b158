"""Does a notebook show files and arrays without ever failing or reading much?"""

from __future__ import annotations

import numpy as np
import pytest

import chunkstore as cs
from tests.store.stores import DTYPES, STRUCTURE, random_array
from tests.support import require
from tests.viewing.files import ODD_NAMES, Outline, damage, images_with_labels, photos, write


@pytest.fixture
def reads(monkeypatch):
    """Return the list of chunks that are read."""
    found = []
    read_samples = cs.Array.read_samples

    def counted(self, start, stop, **options):
        found.append((self.name, start))
        return read_samples(self, start, stop, **options)

    monkeypatch.setattr(cs.Array, "read_samples", counted)
    return found


def test_a_store_shows_its_arrays_and_thumbnails_of_images(tmp_path, reads):
    path = images_with_labels(tmp_path / "a.zarr.zip")
    with cs.open(path) as store:
        html = store._repr_html_()
        outline = Outline(html)
        assert len(outline.all("img")) == 6
        assert len(reads) <= 3
        for words in ("400 samples", "400 x 32 x 32 x 3", "uint8", "blosc zstd-1"):
            assert words in outline.text
        # One small picture of the chunks for each array.
        assert len(outline.all("svg")) == 2
        for array in store.values():
            assert array.name in Outline(array._repr_html_()).text


def test_an_array_shows_shape_type_chunks_codec_and_ratio(tmp_path):
    path = images_with_labels(tmp_path / "a.zarr.zip")
    with cs.open(path) as store:
        x = store["x"]
        text = Outline(x._repr_html_()).text
        ratio = f"{x.nbytes / x.encoded_nbytes:.2f}"
        for words in (x.codec, f"{x.num_chunks} of shape", "400 x 32 x 32 x 3", f"ratio {ratio}"):
            assert words in text


def test_a_closed_store_still_says_what_it_was_and_why_there_are_no_pictures(tmp_path):
    store = cs.open(images_with_labels(tmp_path / "a.zarr.zip"))
    store.close()
    for shown in (store, store["x"], store["y"]):
        text = Outline(shown._repr_html_()).text
        assert "400" in text
    assert "the store is closed" in Outline(store["x"]._repr_html_()).text
    assert "the store is closed" in Outline(store._repr_html_()).text


def test_damaged_files_are_shown_with_their_damage(tmp_path):
    path = images_with_labels(tmp_path / "a.zarr.zip", count=12)
    damage(path, "x/c/0/0/0/0")
    with cs.open(path) as store:
        outline = Outline(store["x"]._repr_html_())
        assert "damaged" in outline.text
        assert "x/c/0/0/0/0" in outline.text
        assert "damaged" in Outline(store._repr_html_()).text


@pytest.mark.parametrize("dtype", [*DTYPES, STRUCTURE], ids=str)
@pytest.mark.parametrize("shape", [(0,), (1,), (7, 8, 8)])
def test_each_type_and_shape_is_shown(tmp_path, dtype, shape):
    path = tmp_path / "a.zarr.zip"
    cs.save(path, {"x": random_array(shape, dtype)})
    with cs.open(path) as store:
        Outline(store._repr_html_())
        Outline(store["x"]._repr_html_())


def test_an_empty_file_is_shown(tmp_path):
    with cs.create(tmp_path / "a.zarr.zip"):
        pass
    with cs.open(tmp_path / "a.zarr.zip") as store:
        assert "no array" in Outline(store._repr_html_()).text


def test_chunks_too_large_for_a_display_are_not_read(tmp_path, reads):
    with cs.create(tmp_path / "a.zarr.zip", chunk_nbytes=40 << 20, level=1) as writer:
        writer.append(x=np.zeros((200, 512, 512), np.uint8))
    with cs.open(tmp_path / "a.zarr.zip") as store:
        text = Outline(store["x"]._repr_html_()).text
    assert "no pictures: one chunk decodes to" in text
    assert reads == []


def test_previews_show_pictures_with_labels_and_can_be_saved(tmp_path):
    path = images_with_labels(tmp_path / "a.zarr.zip")
    with cs.open(path) as store:
        preview = store.preview("x", labels="y", n=20)
        assert len(preview.numbers) == 20
        assert set(preview.labels.values()) == {"cat", "dog", "emu"}
        assert preview.labels[preview.numbers[0]] == "cat"
        html = preview._repr_html_()
        (frame,) = Outline(html).all("iframe")
        inside = Outline(frame["srcdoc"])
        assert len(inside.all("img")) == 20
        assert preview.save(tmp_path / "sheet.html").read_text().count("<img") == 20
        require("matplotlib")
        assert preview._repr_png_()[1:4] == b"PNG"
        assert preview.save(tmp_path / "sheet.png").read_bytes()[1:4] == b"PNG"
        with pytest.raises(ValueError, match=r"must end in \.html or \.png"):
            preview.save(tmp_path / "sheet.jpg")
    # Made while the store was open, shown when it is closed.
    assert preview._repr_html_() == html


@pytest.mark.parametrize(
    "arrays",
    [
        pytest.param({"v": np.arange(100.0)}, id="values"),
        pytest.param({"f": np.random.default_rng(0).normal(size=(90, 5))}, id="features"),
        pytest.param({"t": np.array(["a", "b<c>"] * 5)}, id="texts"),
        pytest.param({"s": random_array((9,), STRUCTURE)}, id="structures"),
        pytest.param({"x": np.full((9, 8, 8), np.nan)}, id="nan"),
        pytest.param({"x": np.zeros((0, 8, 8))}, id="empty"),
    ],
)
def test_a_preview_of_data_of_any_kind(tmp_path, arrays):
    path = tmp_path / "a.zarr.zip"
    cs.save(path, arrays)
    with cs.open(path) as store:
        preview = store.preview()
        Outline(Outline(preview._repr_html_()).all("iframe")[0]["srcdoc"])
        require("matplotlib")
        assert preview._repr_png_()[1:4] == b"PNG"


def test_a_preview_without_matplotlib_is_a_page_and_its_picture_says_what_to_install(
    tmp_path, monkeypatch
):
    import sys

    with cs.open(images_with_labels(tmp_path / "a.zarr.zip", count=20)) as store:
        preview = store.preview("x")
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        assert preview._repr_png_() is None
        assert "<iframe" in preview._repr_html_()
        with pytest.raises(ImportError, match=r"chunkstore\[plot\]"):
            preview.save(tmp_path / "a.png")
        with pytest.raises(ImportError, match=r"chunkstore\[plot\]"):
            cs.view(store, tmp_path / "b.png")
        assert not (tmp_path / "b.png").exists()
        cs.view(store, tmp_path / "b.html")


def test_a_preview_refuses_what_cannot_be(tmp_path):
    path = images_with_labels(tmp_path / "a.zarr.zip", count=20)
    with cs.open(path) as store:
        with pytest.raises(KeyError, match="no array 'z'"):
            store.preview("z")
        with pytest.raises(ValueError, match=r"n must be in \[1, 1000\], got 0"):
            store.preview("x", n=0)
    with pytest.raises(ValueError, match="the store is closed"):
        store.preview("x")
    with cs.create(tmp_path / "none.zarr.zip"):
        pass
    with (
        cs.open(tmp_path / "none.zarr.zip") as store,
        pytest.raises(ValueError, match="there is no array to preview"),
    ):
        store.preview()


@pytest.mark.parametrize("odd", ODD_NAMES, ids=range(len(ODD_NAMES)))
def test_odd_labels_are_text_in_previews(tmp_path, odd):
    path = write(
        tmp_path / "a.zarr.zip",
        x=photos(12, side=8),
        y=np.zeros(12, int),
        attributes={"class_names": [odd]},
    )
    with cs.open(path) as store:
        html = store.preview("x")._repr_html_()
    inside = Outline(Outline(html).all("iframe")[0]["srcdoc"])
    assert len(inside.all("img")) == 12
    assert not inside.all("script")
