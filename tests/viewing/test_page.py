"""Is the page whole, harmless and true, whatever the file holds?"""

from __future__ import annotations

import base64
import functools
import io
import re
from pathlib import Path

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.viewing import labelling
from chunkstore.viewing.sampling import LOOK_NBYTES
from chunkstore.viewing.style import CLASS_COLOURS, DAY, NIGHT, OTHER_COLOUR, STYLE
from tests.store.stores import DTYPES, STRUCTURE, random_array
from tests.support import require
from tests.viewing.files import ODD_NAMES, Outline, damage, images_with_labels, photos, write

MOST_NBYTES = 5_000_000


def page_of(path, **options):
    """Return the report and the outline of a file's page, which is checked."""
    report = cs.view(path, **options)
    text = Path(report.path).read_text(encoding="utf-8")
    assert len(text.encode()) == report.nbytes < MOST_NBYTES
    outline = Outline(text)
    check_outline(outline)
    return report, outline


def check_outline(outline):
    """Check what holds for every page: one heading, names for all, nothing from elsewhere."""
    tags = [tag for tag, _ in outline.elements]
    assert tags.count("h1") == 1
    assert tags.count("main") == tags.count("title") == 1
    assert "script" not in tags
    assert "iframe" not in tags
    ids = [found["id"] for _, found in outline.elements if "id" in found]
    assert len(ids) == len(set(ids))
    for tag, found in outline.elements:
        assert not any(name.startswith("on") for name in found), (tag, found)
        assert "style" not in found
        for name in ("src", "href", "srcset", "action", "data", "xlink:href"):
            if name in found:
                assert found[name].startswith(("data:", "#")), (tag, found)
        if found.get("href", "").startswith("#"):
            assert found["href"][1:] in ids
        if tag == "img":
            assert found["alt"]
            assert int(found["width"]) > 0
        if tag == "svg":
            assert found.get("aria-label") or found.get("aria-hidden") == "true"
        if found.get("class") == "scroll" or tag == "pre":
            # Whoever has no mouse can scroll it, and hears what it is.
            assert found["tabindex"] == "0"
            assert found["aria-label"]
        if tag == "th":
            assert found["scope"] in ("col", "row")
        if "aria-labelledby" in found:
            assert found["aria-labelledby"] in ids


def test_the_page_of_images_shows_pictures_labels_mixing_chunks_and_provenance(tmp_path):
    path = images_with_labels(tmp_path / "train.zarr.zip")
    report, outline = page_of(path, samples=30)
    assert report.path == str(tmp_path / "train.html")
    assert report.ok
    assert report.look.is_exact
    images = outline.all("img")
    assert len(images) == 30
    assert images[0]["alt"].startswith("sample ")
    assert sorted({image["alt"].split(", labelled ")[1] for image in images}) == [
        "cat",
        "dog",
        "emu",
    ]
    for words in (
        "400 samples",
        "32 x 32 pixels, colour",
        "blosc zstd-1",
        "Well mixed",
        "nothing to do",
        "at the start 100.0 % are cat; in the middle 100.0 % are dog; at the end 100.0 % are emu",
        "Ratio of the chunks along the file",
        '"source": "photos/"',
        "Every sample was read.",
    ):
        assert words in outline.text, words


@pytest.mark.parametrize("is_sorted", [True, False], ids=["sorted", "mixed"])
def test_the_page_says_what_a_loader_says_of_a_file_larger_than_its_memory(
    tmp_path, monkeypatch, is_sorted
):
    # One chunk in a window, as of a file many times the memory.
    monkeypatch.setattr(labelling, "Loader", functools.partial(cs.Loader, window=1))
    path = images_with_labels(tmp_path / "train.zarr.zip", is_sorted=is_sorted)
    report, outline = page_of(path)
    with cs.open(path) as store, cs.Loader(store, ("x", "y"), batch_size=64, window=1) as loader:
        expected = loader.diagnose("y", warn=False)
    assert report.look.advice == expected
    assert expected.advice in outline.text
    assert ("Poorly mixed" if is_sorted else "Well mixed") in outline.text


def test_the_pictures_are_the_samples(tmp_path):
    image = require("PIL.Image")
    path = images_with_labels(tmp_path / "train.zarr.zip", count=40)
    _, outline = page_of(path, samples=7)
    samples = photos(40)
    for found in outline.all("img"):
        number = int(found["alt"].split()[1].strip(",").replace(",", ""))
        data = base64.b64decode(found["src"].partition(",")[2])
        with image.open(io.BytesIO(data)) as picture:
            np.testing.assert_array_equal(np.asarray(picture), samples[number])


def test_the_same_file_and_seed_give_the_same_page_and_another_seed_other_pictures(tmp_path):
    path = images_with_labels(tmp_path / "train.zarr.zip")
    first = cs.view(path, tmp_path / "a.html", samples=10)
    again = cs.view(path, tmp_path / "b.html", samples=10)
    other = cs.view(path, tmp_path / "c.html", samples=10, seed=1)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert first.to_json()["arrays"] == again.to_json()["arrays"] == other.to_json()["arrays"]
    assert (tmp_path / "a.html").read_bytes() != (tmp_path / "c.html").read_bytes()


def test_images_and_masks_show_the_same_samples(tmp_path):
    masks = photos(300)[..., 0] > 128
    path = write(tmp_path / "a.zarr.zip", x=photos(300), mask=masks, y=np.arange(300) % 2)
    report, _ = page_of(path, samples=40)
    looks = {look.name: look for look in report.look.arrays}
    numbers = [picture.number for picture in looks["x"].pictures]
    assert len(numbers) == 20
    assert [picture.number for picture in looks["mask"].pictures] == numbers
    for picture in looks["mask"].pictures:
        np.testing.assert_array_equal(picture.pixels, masks[picture.number] * np.uint8(255))


def test_features_are_drawn_in_a_plane_and_coloured_by_label(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    features = rng.normal(size=(300, 40)) + np.eye(40)[labels] * 9
    path = write(tmp_path / "f.zarr.zip", features=features.astype("f4"), label=labels)
    report, outline = page_of(path)
    assert "Principal components" in outline.text
    assert len(outline.all("circle")) == 300
    groups = [found["class"] for found in outline.all("g")]
    assert sorted(groups) == ["c0 dot", "c1 dot", "c2 dot"]
    look = {array.name: array for array in report.look.arrays}["features"]
    # Classes that lie apart do so in the plane.
    centres = np.stack(
        [look.scatter.points[np.array(look.point_labels) == str(k)].mean(axis=0) for k in range(3)]
    )
    assert min(np.linalg.norm(centres[i] - centres[(i + 1) % 3]) for i in range(3)) > 1.5


BAD_INPUTS = {
    "one-sample": {"x": np.ones((1, 8, 8, 3), np.uint8), "y": np.array([1])},
    "two-samples": {"x": np.ones((2, 5)), "y": np.array([1, 2])},
    "constant": {"x": np.full((50, 8, 8), 7.0), "y": np.zeros(50, int)},
    "all-nan": {"x": np.full((50, 8, 8), np.nan), "f": np.full((50, 4), np.nan)},
    "all-inf": {"x": np.full((50, 8, 8), np.inf, "f4"), "f": np.full((50, 4), -np.inf)},
    "unlabelled": {"x": np.arange(3200, dtype="u1").reshape(50, 8, 8)},
    "one-axis": {"v": np.arange(100.0)},
    "strings": {"name": np.array(["a", "\u05d0", ""] * 9), "tag": np.array([b"x\xff"] * 27)},
    "times": {"t": np.array(["2020-01-01", "NaT"] * 9, "M8[s]"), "d": np.ones(18, "m8[ms]")},
    "structures": {"s": random_array((20,), STRUCTURE)},
    "booleans": {"m": np.arange(6400).reshape(100, 8, 8) % 2 == 0, "y": np.arange(100) > 50},
    "complex": {"z": np.arange(40).reshape(10, 4) * 1j},
    "raw-bytes": {"r": np.arange(40, dtype="u1").view("V4")},
    "empty-samples": {"x": np.zeros((5, 0))},
    "one-hot": {"x": np.ones((30, 4)), "y": np.eye(3)[np.arange(30) % 3]},
    "value-labels": {"x": np.ones((30, 4)), "y": np.linspace(0, 1, 30)},
    "nan-labels": {"x": np.ones((30, 4)), "y": np.full(30, np.nan)},
    "string-labels": {"x": np.ones((30, 4)), "y": np.array(["a", "b", "c"] * 10)},
    "vector-labels": {"x": np.ones((30, 4)), "y": np.linspace(0, 1, 90).reshape(30, 3)},
    "many-classes": {"x": np.ones((900, 4)), "y": np.arange(900) % 200},
    "huge-numbers": {"x": np.array([[1e308, -1e308], [5e-324, 0.0]] * 9)},
    "large-integers": {"x": np.array([2**63, 0, 2**64 - 1] * 9, np.uint64)},
}


@pytest.mark.parametrize("arrays", BAD_INPUTS.values(), ids=BAD_INPUTS)
def test_a_page_of_data_of_any_kind(tmp_path, arrays):
    path = write(tmp_path / "a.zarr.zip", **arrays)
    report, outline = page_of(path)
    assert report.ok
    for name in arrays:
        assert f"Array {name}" in outline.text
    require("matplotlib")
    picture = cs.view(path, tmp_path / "a.png")
    assert picture.nbytes > 5000


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(40,), (40, 5), (40, 9, 9)])
def test_a_page_of_each_type(tmp_path, dtype, shape):
    path = write(tmp_path / "a.zarr.zip", x=random_array(shape, dtype))
    report, _ = page_of(path)
    assert report.look.arrays[0].summary.is_exact


def test_a_page_of_an_empty_file_and_of_no_samples(tmp_path):
    with cs.create(tmp_path / "none.zarr.zip"):
        pass
    _, outline = page_of(tmp_path / "none.zarr.zip")
    assert "There is no array in this file." in outline.text
    specs = {"x": cs.ArraySpec("u1", (8, 8, 3)), "y": cs.ArraySpec("i8")}
    with cs.create(tmp_path / "zero.zarr.zip", arrays=specs):
        pass
    _, outline = page_of(tmp_path / "zero.zarr.zip")
    assert "0 samples" in outline.text
    assert "It is empty." in outline.text


def test_unaligned_arrays_and_groups_are_shown(tmp_path):
    path = write(
        tmp_path / "a.zarr.zip",
        **{"group/inner/x": np.arange(50).reshape(25, 2)},
        unaligned={"mean": np.ones((8, 8)), "scalar": np.array([3.5])},
    )
    _, outline = page_of(path)
    assert "Array group/inner/x" in outline.text
    assert "Array mean" in outline.text
    # A mean image is one picture, not eight rows.
    assert [found["alt"] for found in outline.all("img")] == ["the whole array"]
    with cs.open(path) as store:
        assert "the whole array" in store.preview("mean")._repr_html_()


@pytest.mark.leaves_open("the event loop of zarr")
def test_an_array_without_axes_shows_its_value(tmp_path):
    zarr = require("zarr")
    foreign = tmp_path / "zero-d.zip"
    with zarr.storage.ZipStore(foreign, mode="w") as storage:
        array = zarr.create_array(store=storage, name="s", shape=(), dtype="f8")
        array[...] = 2.5
    _, outline = page_of(foreign)
    assert "scalar" in outline.text
    assert "2.5" in outline.text


@pytest.mark.parametrize("odd", ODD_NAMES, ids=range(len(ODD_NAMES)))
def test_what_the_file_says_is_text_whatever_it_says(tmp_path, odd):
    path = write(
        tmp_path / "a.zarr.zip",
        x=photos(24, side=8),
        y=np.arange(24) % 3,
        attributes={"class_names": [odd, "dog", odd + "2"], odd: [odd, {odd: 1}]},
    )
    _, outline = page_of(path)
    raw = (tmp_path / "a.html").read_bytes()
    for forbidden in (b"<script", b"onerror='", b"\xe2\x80\xae"):
        assert forbidden not in raw
    assert len(outline.all("img")) == 24
    for control in "\x00\x08\x1b\x7f\u202e\u2066":
        assert control not in outline.text
    if odd == ODD_NAMES[0]:
        # Escaped, and there to be read.
        assert "<script>alert(1)</script>" in outline.text
    require("matplotlib")
    assert cs.view(path, tmp_path / "a.png").nbytes > 5000


def test_labels_that_are_odd_strings_are_text(tmp_path):
    kept = [odd for odd in ODD_NAMES if "\udcff" not in odd]
    labels = np.array(kept * 6)
    path = write(tmp_path / "a.zarr.zip", x=photos(len(labels), side=8), y=labels)
    _, outline = page_of(path)
    assert "<script>alert(1)</script>" in outline.text
    assert "two\\nlines\\ttab" in outline.text


def test_a_file_with_an_odd_name_has_a_page(tmp_path):
    path = write(tmp_path / 'a<b>&"c" \u05d0.zarr.zip', x=np.arange(9))
    _, outline = page_of(path)
    assert 'a<b>&"c" \u05d0.zarr.zip' in outline.text


def test_huge_attributes_are_cut_with_a_note(tmp_path):
    path = write(
        tmp_path / "a.zarr.zip", x=np.arange(9), attributes={"big": ["row of text"] * 200_000}
    )
    report, outline = page_of(path)
    assert "Cut after 4,000 characters" in outline.text
    assert report.nbytes < 100_000


def test_damage_is_named_on_the_page_and_what_is_whole_is_shown(tmp_path):
    path = damage(images_with_labels(tmp_path / "a.zarr.zip"), "x/c/1/0/0/0")
    report, outline = page_of(path, samples=200)
    assert not report.ok
    (entry,) = report.damage
    assert entry.array == "x"
    assert "x/c/1/0/0/0" in outline.text
    lost = [found for tag, found in outline.elements if found.get("class") == "lost"]
    assert lost
    assert len(outline.all("img")) + len(lost) == 200
    assert "chunkstore repair" in outline.text


def test_damaged_labels_leave_pictures_without_them(tmp_path):
    path = damage(images_with_labels(tmp_path / "a.zarr.zip", count=100), "y/c/0")
    report, outline = page_of(path)
    assert {entry.array for entry in report.damage} == {"y"}
    assert len(outline.all("img")) == 64


def test_noise_in_many_arrays_still_makes_a_small_page(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {f"x{i}": rng.integers(0, 256, (120, 64, 64, 3), dtype=np.uint8) for i in range(6)}
    path = write(tmp_path / "a.zarr.zip", **arrays)
    report, outline = page_of(path, samples=1000)
    assert len(outline.all("img")) == 6 * 120
    assert report.nbytes < MOST_NBYTES


def test_a_file_of_any_size_is_looked_at_in_bounded_parts_all_over_it(tmp_path, monkeypatch):
    part = tmp_path / "part.zarr.zip"
    with cs.create(part) as writer:
        writer.append(x=np.zeros((16 * 64, 128, 128, 4), np.uint8), y=np.zeros(16 * 64, np.int64))
    path = tmp_path / "large.zarr.zip"
    # 2 GiB, of which little is on the disk.
    cs.merge([part] * 32, path)
    read = {}
    read_samples = cs.Array.read_samples

    def counted(self, start, stop, **options):
        samples = read_samples(self, start, stop, **options)
        read.setdefault(self.name, []).append((start, samples.nbytes))
        return samples

    monkeypatch.setattr(cs.Array, "read_samples", counted)
    report, outline = page_of(path)
    assert report.look.store.nbytes > 1 << 31
    # Once for the values, once for the pictures.
    assert sum(nbytes for _, nbytes in read["x"]) <= 2 * LOOK_NBYTES
    places = np.array([start for start, _ in read["x"]]) * 8 // report.look.store.num_samples
    assert set(places) == set(range(8))
    assert not report.look.is_exact
    look = report.look.arrays[0].summary
    assert f"From {look.num_read_samples:,} of 32,768 samples" in outline.text
    # Labels are small: all of them.
    assert report.look.labelling.counts == (("0", 32_768),)


def test_very_many_arrays_are_listed_and_some_are_looked_at(tmp_path):
    arrays = {f"array{i:03}": np.arange(4) + i for i in range(60)}
    path = write(tmp_path / "a.zarr.zip", **arrays)
    report, outline = page_of(path)
    assert len(report.look.arrays) == 24
    assert len(report.look.others) == 36
    assert "array059" in outline.text
    assert "24 of 60 arrays were looked at" in outline.text


def test_labels_are_found_by_their_usual_name_or_as_the_caller_says(tmp_path):
    path = write(tmp_path / "a.zarr.zip", x=np.ones((20, 3)), kind=np.arange(20) % 2)
    assert cs.view(path).look.labelling is None
    assert cs.view(path, labels="kind").look.labelling.name == "kind"
    with pytest.raises(KeyError, match="labels names 'nothing', but there are only 'x', 'kind'"):
        cs.view(path, labels="nothing")
    with pytest.raises(TypeError, match="labels must be the name of an array, or None, got 3"):
        cs.view(path, labels=3)


def test_labels_must_be_there_for_each_sample(tmp_path):
    path = write(tmp_path / "a.zarr.zip", x=np.ones((20, 3)), unaligned={"mean": np.ones(3)})
    with pytest.raises(ValueError, match="no label for each of the 20 samples"):
        cs.view(path, labels="mean")


def test_wide_labels_beyond_the_bytes_of_a_look_are_not_read_whole(tmp_path, monkeypatch):
    labels = np.eye(10, dtype="f4")[np.arange(2000) % 10]
    path = write(tmp_path / "a.zarr.zip", x=np.ones((2000, 3)), y=labels)
    assert "loader.diagnose" not in cs.view(path).look.advice_text
    monkeypatch.setattr(labelling, "LOOK_NBYTES", 2 * labels.nbytes - 1)
    text = cs.view(path).look.advice_text
    assert text == (
        "the labels 'y' take 160,000 bytes, and a look holds at most 159,999; "
        "loader.diagnose('y') judges them"
    )
    assert "loader.diagnose(" in (tmp_path / "a.html").read_text()


@pytest.mark.parametrize("samples", [0, -1, 1001])
def test_samples_are_within_a_range(tmp_path, samples):
    path = write(tmp_path / "a.zarr.zip", x=np.ones((20, 3)))
    with pytest.raises(ValueError, match=rf"samples must be in \[1, 1000\], got {samples}"):
        cs.view(path, samples=samples)
    with pytest.raises(TypeError, match=r"samples must be an integer, got 1\.5"):
        cs.view(path, samples=1.5)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.html", b"<!doctype html>\n<p>This page tells how to use chunkstore view.</p>"),
        (
            "a.html",
            b'<!-- <meta name="generator" content="chunkstore view">--><p>I</p>',
        ),
        ("a.png", b"\x89PNG\r\n\x1a\n chunkstore view"),
    ],
)
def test_a_file_that_only_speaks_of_chunkstore_view_is_not_replaced(tmp_path, name, content):
    path = write(tmp_path / "a.zarr.zip", x=np.ones((20, 3)))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(cs.errors.ExistingFileError, match="was not made by chunkstore view"):
        cs.view(path, tmp_path / name)
    assert (tmp_path / name).read_bytes() == content


def test_what_view_and_preview_wrote_may_be_replaced_by_them(tmp_path):
    path = write(tmp_path / "a.zarr.zip", x=np.ones((20, 8, 8), np.uint8))
    with cs.open(path) as store:
        for name in ("a.html", "a.png"):
            store.preview("x").save(tmp_path / name)
            cs.view(path, tmp_path / name)
            store.preview("x").save(tmp_path / name)


def test_a_page_replaces_a_page_and_nothing_else(tmp_path):
    path = write(tmp_path / "a.zarr.zip", x=np.ones((20, 3)))
    cs.view(path)
    cs.view(path)
    (tmp_path / "notes.html").write_text("my notes")
    with pytest.raises(cs.errors.ExistingFileError, match="was not made by chunkstore view"):
        cs.view(path, tmp_path / "notes.html")
    assert (tmp_path / "notes.html").read_text() == "my notes"
    cs.view(path, tmp_path / "notes.html", overwrite=True)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        "a.html",
        "a.zarr.zip",
        "notes.html",
    ]


def test_another_ending_a_folder_and_a_missing_folder_are_refused(tmp_path):
    path = write(tmp_path / "a.zarr.zip", x=np.ones((20, 3)))
    with pytest.raises(ValueError, match=r"out must end in \.html or \.png, got .*a\.pdf"):
        cs.view(path, tmp_path / "a.pdf")
    (tmp_path / "b.html").mkdir()
    with pytest.raises(IsADirectoryError, match="a file is wanted"):
        cs.view(path, tmp_path / "b.html")
    with pytest.raises(FileNotFoundError, match="cannot be written"):
        cs.view(path, tmp_path / "missing" / "a.html")


def test_an_open_store_can_be_viewed_and_stays_open(tmp_path):
    path = write(tmp_path / "a.zarr.zip", x=np.arange(20))
    with cs.open(path) as store:
        cs.view(store)
        assert store["x"][3] == 3
    with pytest.raises(ValueError, match="the store is closed"):
        cs.view(store)


def test_a_picture_of_the_file_is_a_png_of_which_most_is_not_white(tmp_path):
    require("matplotlib")
    image = require("PIL.Image")
    path = images_with_labels(tmp_path / "a.zarr.zip")
    report = cs.view(path, tmp_path / "a.png")
    with image.open(report.path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[1] == 1300
    assert (pixels < 250).any(axis=2).mean() > 0.15
    # It is ours: it may be replaced.
    first = (tmp_path / "a.png").read_bytes()
    cs.view(path, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == first


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first, second):
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("colours", [DAY, NIGHT], ids=["day", "night"])
def test_text_and_classes_can_be_told_from_their_background(colours):
    assert contrast("#000000", "#ffffff") == 21
    for background in ("page", "card"):
        for ink in ("ink", "quiet", "accent", "bad", "good"):
            assert contrast(colours[ink], colours[background]) >= 4.5, (ink, background)
        for colour in (*CLASS_COLOURS, OTHER_COLOUR):
            assert contrast(colour, colours[background]) >= 3, colour


def test_the_style_takes_nothing_from_elsewhere():
    assert not re.search(r"@import|url\(|expression|https?:", STYLE)
