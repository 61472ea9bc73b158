"""Does the new file hold exactly what is in the folder, and does it say what it does not hold?"""

from __future__ import annotations

import csv
import errno
import json
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.cli import main
from chunkstore.importers.images import decoding
from chunkstore.importers.images.planning import plan_csv, plan_images
from chunkstore.importing import run as frame
from tests.importers.images.pictures import Image, class_tree, pillow_pixels, pixels, save
from tests.support import require

SHAPE = (12, 16)


@pytest.fixture
def tree(tmp_path):
    """Folders of pictures."""
    class_tree(tmp_path / "photos", {"cat": 9, "dog": 7, "emu": 4}, shape=SHAPE)
    return tmp_path / "photos"


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of few samples, and a checkpoint after each."""
    monkeypatch.setattr(frame, "_BLOCK_NBYTES", 2000)
    monkeypatch.setattr(frame, "_LEAST_BETWEEN_CHECKPOINTS_NBYTES", 0)


def check_holds(path, root, *, expected_names=None):
    """Check all samples of a file against what Pillow reads."""
    with cs.open(path) as store:
        names = store["name"][...].tolist()
        class_names = store.attributes["class_names"]
        for i, name in enumerate(names):
            assert np.array_equal(store["x"][i], pillow_pixels(root / name))
            assert class_names[store["y"][i]] == name.partition("/")[0]
    if expected_names is not None:
        assert names == expected_names
    assert cs.verify(path).ok
    return names


def test_a_tree_comes_over_with_pixels_labels_and_names(tree, tmp_path):
    out = tmp_path / "train.zarr.zip"
    report = cs.import_images(tree, out, shuffle=False)
    assert (report.num_samples, report.skipped, report.lost) == (20, (), ())
    expected = [
        str(path.relative_to(tree)).replace("\\", "/") for path in sorted(tree.rglob("*.png"))
    ]
    check_holds(out, tree, expected_names=expected)
    with cs.open(out) as store:
        assert store["x"].dtype == np.uint8
        assert store["x"].shape == (20, *SHAPE, 3)
        assert store["y"].attributes["class_names"] == ["cat", "dog", "emu"]
        about = store.attributes["import"]
    assert about["kind"] == "images"
    assert about["order"] == {"shuffled": False}
    assert about["images"]["mode"] == "rgb"
    assert set(about["decoders"]) == {"pillow", "simplejpeg"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "train.zarr.zip"]


def test_samples_are_mixed_by_default_in_an_order_that_the_seed_decides(tree, tmp_path):
    orders = []
    for number, seed in enumerate((0, 0, 1)):
        out = tmp_path / f"{number}.zarr.zip"
        cs.import_images(tree, out, seed=seed)
        orders.append(check_holds(out, tree))
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])
    assert orders[0] != sorted(orders[0])
    with cs.open(tmp_path / "2.zarr.zip") as store:
        assert store.attributes["import"]["order"] == {"shuffled": True, "seed": 1}


@pytest.mark.usefixtures("small_blocks")
def test_the_file_is_the_same_whatever_the_number_of_threads(tree, tmp_path):
    contents = set()
    for threads in (1, 2, 5):
        out = tmp_path / f"{threads}.zarr.zip"
        cs.import_images(tree, out, threads=threads, chunk_nbytes=2000)
        contents.add(out.read_bytes())
    assert len(contents) == 1


@pytest.mark.usefixtures("small_blocks")
def test_an_import_that_failed_leaves_no_file_and_goes_on_with_the_same_bytes(
    tmp_path, monkeypatch
):
    tree = tmp_path / "photos"
    class_tree(tree, {"cat": 9, "dog": 11}, shape=(80, 100))
    whole, out = tmp_path / "whole.zarr.zip", tmp_path / "out.zarr.zip"
    options = {"chunk_nbytes": 24000, "threads": 1}
    cs.import_images(tree, whole, **options)
    decoded = []
    original = decoding.decode_image_into

    def decode(path, *arguments, **others):
        if len(decoded) == 13:
            raise KeyboardInterrupt
        decoded.append(path)
        return original(path, *arguments, **others)

    monkeypatch.setattr("chunkstore.importers.images.samples.decode_image_into", decode)
    with pytest.raises(KeyboardInterrupt):
        cs.import_images(tree, out, **options)
    assert not out.exists()
    again = []

    def count(path, *arguments, **others):
        again.append(path)
        return original(path, *arguments, **others)

    monkeypatch.setattr("chunkstore.importers.images.samples.decode_image_into", count)
    cs.import_images(tree, out, **options)
    assert out.read_bytes() == whole.read_bytes()
    assert 0 < len(again) < 20


def test_an_import_of_a_folder_that_was_changed_in_between_is_not_continued(
    tree, tmp_path, monkeypatch
):
    out = tmp_path / "out.zarr.zip"

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("chunkstore.importers.images.samples.decode_image_into", stop)
    with pytest.raises(KeyboardInterrupt):
        cs.import_images(tree, out)
    monkeypatch.undo()
    save(tree / "cat" / "000.png", pixels(*SHAPE, seed=99))
    with pytest.raises(FileExistsError, match="another fingerprint"):
        cs.import_images(tree, out)
    cs.import_images(tree, out, resume=False)
    check_holds(out, tree)


def test_an_existing_file_is_refused_and_replaced_when_told(tree, tmp_path):
    out = tmp_path / "out.zarr.zip"
    cs.save(out, {"mine": np.arange(3)})
    with pytest.raises(FileExistsError, match="exists already"):
        cs.import_images(tree, out)
    assert list(cs.load(out)) == ["mine"]
    cs.import_images(tree, out, overwrite=True)
    check_holds(out, tree)


def test_all_bad_files_are_named_at_once_before_anything_is_written(tree, tmp_path):
    (tree / "cat" / "000.png").write_text("no image")
    (tree / "dog" / "000.png").write_bytes(b"")
    save(tree / "emu" / "000.png", pixels(*SHAPE, channels=0, dtype=np.uint16))
    with pytest.raises(cs.FormatError) as caught:
        cs.import_images(tree, tmp_path / "out.zarr.zip")
    text = str(caught.value)
    assert "3 of 20 samples cannot be imported" in text
    for name in ("cat/000.png", "dog/000.png", "emu/000.png"):
        assert str(tree / name) in text
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_what_only_decoding_shows_is_named_and_may_be_skipped_when_continued(tree, tmp_path):
    out = tmp_path / "out.zarr.zip"
    bad = tree / "dog" / "003.png"
    content = bad.read_bytes()
    bad.write_bytes(content[:-60])
    with pytest.raises(cs.CorruptionError, match=r"dog.003\.png: the image is damaged"):
        cs.import_images(tree, out)
    assert not out.exists()
    report = cs.import_images(tree, out, on_error="skip")
    assert [entry.name for entry in report.skipped] == ["dog/003.png"]
    assert report.num_samples == 19
    assert "dog/003.png" not in check_holds(out, tree)
    with cs.open(out) as store:
        (entry,) = store.attributes["import"]["position"]["skipped"]
    assert entry["name"] == "dog/003.png"


def test_where_nothing_can_be_read_skipping_ends_in_an_error(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(cs.FormatError, match=r"a\.png: this is no image"):
        cs.import_images(tmp_path, tmp_path / "out.zarr.zip", on_error="skip")
    assert not (tmp_path / "out.zarr.zip").exists()


def test_images_of_several_sizes_are_listed_with_what_to_do(tmp_path):
    for number, shape in enumerate([(10, 20), (10, 20), (30, 20)]):
        save(tmp_path / "i" / f"{number}.png", pixels(*shape))
    with pytest.raises(ValueError, match=r"10x20 \(2\), 30x20 \(1\)\. .*size= \(--size HxW\)"):
        cs.import_images(tmp_path / "i", tmp_path / "o.zarr.zip")
    with pytest.raises(cs.UnsupportedError, match="too few to cut 24x24"):
        cs.import_images(tmp_path / "i", tmp_path / "o.zarr.zip", crop=(24, 24))


@pytest.mark.parametrize(
    "options",
    [
        {"size": (8, 6)},
        {"size": (8, 6), "resample": "lanczos"},
        {"size": (30, 40), "resample": "bicubic"},
        {"size": (9, 9), "fit": "pad", "pad_value": 7},
        {"size": (9, 9), "fit": "crop"},
        {"short_side": 8},
        {"short_side": 8, "crop": (7, 7)},
        {"crop": (10, 10)},
    ],
)
def test_sizes_come_about_by_one_resize_of_pillow_and_a_cut_in_the_middle(tree, tmp_path, options):
    out = tmp_path / "out.zarr.zip"
    cs.import_images(tree, out, **options)
    height, width = SHAPE
    resample = Image.Resampling[options.get("resample", "bilinear").upper()]
    resized, shape = {
        "stretch": (options.get("size"), options.get("size")),
        "pad": ((7, 9), (9, 9)),
        "crop": ((9, 12), (9, 9)),
    }[options.get("fit", "stretch")]
    if "short_side" in options:
        resized, shape = (8, 11), options.get("crop", (8, 11))
    elif "crop" in options:
        resized, shape = (height, width), options["crop"]
    with cs.open(out) as store:
        assert store["x"].shape == (20, *shape, 3)
        for name, found in zip(store["name"][...].tolist(), store["x"][...], strict=True):
            image = pillow_pixels(tree / name, size=resized, resample=resample)
            expected = np.full((*shape, 3), 7, np.uint8)
            top, left = (shape[0] - resized[0]) // 2, (shape[1] - resized[1]) // 2
            rows = slice(max(0, top), max(0, top) + min(shape[0], resized[0]))
            columns = slice(max(0, left), max(0, left) + min(shape[1], resized[1]))
            above, before = max(0, -top), max(0, -left)
            expected[rows, columns] = image[above : above + shape[0], before : before + shape[1]]
            assert np.array_equal(found, expected)


def test_a_split_divides_each_class_and_every_sample_once(tmp_path):
    root = tmp_path / "photos"
    names = class_tree(root, {"a": 64, "b": 32}, shape=(2, 2))
    reports = cs.import_images(
        root, tmp_path / "parts", split={"train": 0.75, "val": 0.25}, stratify=True
    )
    assert {name: report.num_samples for name, report in reports.items()} == {
        "train": 72,
        "val": 24,
    }
    found = []
    for name in reports:
        with cs.open(tmp_path / "parts" / f"{name}.zarr.zip") as store:
            counts = Counter(store["y"][...].tolist())
            assert counts[0] == 2 * counts[1]
        found += check_holds(tmp_path / "parts" / f"{name}.zarr.zip", root)
    assert sorted(found) == sorted(names)


def test_a_csv_comes_over_as_pandas_reads_it(tree, tmp_path):
    pandas = require("pandas")
    names = sorted(str(path.relative_to(tree)) for path in tree.rglob("*.png"))[::-1]
    rng = np.random.Generator(np.random.Philox(1))
    table = pandas.DataFrame(
        {
            "file": names,
            "species": [name.partition("/")[0] for name in names],
            "age": rng.integers(-5, 90, len(names)),
            "x": rng.normal(size=len(names)),
            "y": rng.normal(size=len(names)),
        }
    )
    table.to_csv(tmp_path / "list.csv.gz", index=False)
    out = tmp_path / "out.zarr.zip"
    cs.import_csv(
        tmp_path / "list.csv.gz",
        out,
        root=tree,
        labels={"y": "species", "age": "age", "place": "x,y"},
        shuffle=False,
    )
    check_holds(out, tree, expected_names=names)
    read = pandas.read_csv(tmp_path / "list.csv.gz")
    with cs.open(out) as store:
        assert np.array_equal(store["age"][...], read["age"].to_numpy())
        assert np.array_equal(store["place"][...], table[["x", "y"]].to_numpy())
        species = np.array(store.attributes["class_names"])[store["y"][...]]
        assert species.tolist() == read["species"].tolist()


def test_bad_lines_and_files_of_a_manifest_are_named_together_or_skipped_with_a_list(
    tree, tmp_path
):
    manifest = tree / "list.csv"
    manifest.write_text("cat/000.png,1\ndog/none.png,2\ncat/001.png,dog\nemu/000.png,3\n")
    with pytest.raises(cs.ChunkStoreError) as caught:
        cs.import_csv(manifest, tmp_path / "out.zarr.zip")
    text = " ".join(str(caught.value).split())
    assert "2 of 4 samples cannot be imported" in text
    assert f"{manifest}, line 2: {tree / 'dog/none.png'}: the image cannot be read: No such" in text
    assert f"{manifest}: line 3: label 'y': 'dog' is no integer" in text
    report = cs.import_csv(manifest, tmp_path / "out.zarr.zip", on_error="skip", shuffle=False)
    assert [entry.number for entry in report.skipped] == [1, 2]
    assert report.skipped[0].name == f"{manifest}, line 2: dog/none.png"
    assert report.skipped[1].reason.startswith("line 3: label")
    assert cs.load(tmp_path / "out.zarr.zip")["y"].tolist() == [1, 3]


def test_the_manifest_that_is_written_leads_to_the_same_samples(tree, tmp_path):
    first, second = tmp_path / "1.zarr.zip", tmp_path / "2.zarr.zip"
    cs.import_images(tree, first, write_manifest=tmp_path / "list.csv")
    with (tmp_path / "list.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[:2] == [["path", "y:name"], ["cat/000.png", "cat"]]
    assert len(rows) == 21
    cs.import_csv(tmp_path / "list.csv", second, root=tree)
    with cs.open(first) as a, cs.open(second) as b:
        assert a.attributes["class_names"] == b.attributes["class_names"]
        for name in ("x", "y", "name"):
            assert np.array_equal(a[name][...], b[name][...])


def test_the_manifest_has_what_was_imported_and_is_not_there_where_nothing_was(tree, tmp_path):
    manifest, out = tmp_path / "list.csv", tmp_path / "a.zarr.zip"
    # Its header is whole.
    path = tree / "cat" / "000.png"
    path.write_bytes(path.read_bytes()[:-40])
    (tree / "cat" / "001.png").write_bytes(b"no image")
    out.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        cs.import_images(tree, out, write_manifest=manifest, on_error="skip")
    assert not manifest.exists()
    out.unlink()
    report = cs.import_images(tree, out, write_manifest=manifest, on_error="skip")
    assert report.num_samples == 18
    with manifest.open(newline="") as file:
        names = [row[0] for row in csv.reader(file)][1:]
    assert sorted(names) == sorted(cs.load(out)["name"].tolist())
    with pytest.raises(FileExistsError, match=r"list\.csv"):
        cs.import_images(tree, tmp_path / "b.zarr.zip", write_manifest=manifest, on_error="skip")
    assert not (tmp_path / "b.zarr.zip").exists()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_masks_keep_their_values_where_images_are_resized(tmp_path, dtype):
    classes = np.array([0, 3, 7, 200], dtype)
    mask = classes[(pixels(40, 60, channels=0) // 64)]
    save(tmp_path / "images" / "1.jpg", pixels(40, 60))
    save(tmp_path / "masks" / "1.png", mask)
    out = tmp_path / "out.zarr.zip"
    cs.import_images(
        tmp_path / "images", out, masks=tmp_path / "masks", size=(30, 30), fit="pad",
        mask_pad_value=255,
    )  # fmt: skip
    with cs.open(out) as store:
        found = store["mask"][0]
        assert store["mask"].dtype == dtype
        assert store.attributes["import"]["mask_pad_value"] == 255
    assert set(np.unique(found)) == {0, 3, 7, 200, 255}
    expected = np.asarray(Image.fromarray(mask).resize((30, 20), Image.Resampling.NEAREST))
    assert np.array_equal(found[5:25], expected)
    assert (found[:5] == 255).all()
    assert (found[25:] == 255).all()


def test_masks_by_palette_keep_their_indexes_and_two_valued_ones_zero_and_one(tmp_path):
    indexes = (pixels(20, 30, channels=0) // 80).astype(np.uint8)
    palette = Image.fromarray(indexes)
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    for name in ("1", "2"):
        save(tmp_path / "all" / f"{name}.jpg", pixels(20, 30))
    save(tmp_path / "all" / "1_mask.png", palette)
    save(tmp_path / "all" / "2_mask.png", Image.fromarray(indexes > 1))
    out = tmp_path / "out.zarr.zip"
    cs.import_images(
        tmp_path / "all", out, masks=tmp_path / "all", mask_ending="_mask", shuffle=False
    )
    found = cs.load(out)
    assert found["name"].tolist() == ["1.jpg", "2.jpg"]
    assert np.array_equal(found["mask"], [indexes, indexes > 1])


def test_a_mask_lies_on_the_upright_image(tmp_path):
    save(tmp_path / "images" / "1.jpg", pixels(20, 30), orientation=6)
    save(tmp_path / "masks" / "1.png", pixels(30, 20, channels=0))
    out = tmp_path / "out.zarr.zip"
    cs.import_images(tmp_path / "images", out, masks=tmp_path / "masks")
    assert np.array_equal(cs.load(out)["mask"][0], pixels(30, 20, channels=0))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (pixels(20, 31, channels=0), r"has 20x31 pixels, its image 20x30"),
        (pixels(20, 30), r"1\.png: a mask holds one number for each pixel.*mode RGB"),
        (None, r"1\.jpg: there is no mask 1\.\* in"),
    ],
)
def test_a_mask_that_does_not_fit_is_named(tmp_path, mask, message):
    save(tmp_path / "images" / "1.jpg", pixels(20, 30))
    save(tmp_path / "masks" / "spare.png", pixels(20, 30, channels=0))
    if mask is not None:
        save(tmp_path / "masks" / "1.png", mask)
    with pytest.raises(cs.ChunkStoreError, match=message):
        cs.import_images(tmp_path / "images", tmp_path / "o.zarr.zip", masks=tmp_path / "masks")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"size": (0, 3)}, ValueError, "size must be 1 to 65536 pixels, got 0"),
        ({"size": (3, 3), "crop": (2, 2)}, ValueError, "give one"),
        ({"fit": "zoom"}, ValueError, "fit must be one of"),
        ({"mode": "bgr"}, ValueError, "mode must be one of"),
        ({"sixteen_bit": "keep"}, ValueError, "goes with mode='gray'"),
        ({"stratify": True}, ValueError, "goes with split="),
        ({"split": {"a": 1}, "stratify": "z"}, ValueError, r"got 'z'; there are \['y'\]"),
        ({"mask_ending": "_m"}, ValueError, "goes with masks="),
        ({"layout": "deep"}, ValueError, "layout must be one of"),
        ({"on_error": "ignore"}, ValueError, "on_error must be"),
        ({"resize": (3, 3)}, TypeError, "no option 'resize'; there are animated"),
        ({"attributes": {"import": 1}}, ValueError, "'import' says what was imported"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_written(
    tree, tmp_path, options, error, message
):
    with pytest.raises(error, match=message):
        cs.import_images(tree, tmp_path / "out.zarr.zip", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@given(st.data())
def test_any_tree_comes_over_exactly(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("law")
    counts = data.draw(
        st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 4), min_size=1, max_size=4)
    )
    suffix = data.draw(st.sampled_from([".png", ".jpg", ".bmp", ".gif"]))
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    names = class_tree(folder / "tree", counts, suffix=suffix, shape=shape)
    shuffle = data.draw(st.booleans())
    cs.import_images(
        folder / "tree", folder / "o.zarr.zip", shuffle=shuffle, seed=data.draw(st.integers(0, 9)),
        threads=data.draw(st.integers(1, 3)),
    )  # fmt: skip
    found = check_holds(folder / "o.zarr.zip", folder / "tree")
    assert (sorted(found) if shuffle else found) == (sorted(names) if shuffle else names)


def test_a_dry_run_says_what_is_there_and_writes_nothing(tree, tmp_path):
    (tree / "cat" / "000.png").write_text("no image")
    (tree / "notes.txt").touch()
    plan = plan_images(tree, tmp_path / "o.zarr.zip", size=(8, 8), on_error="skip")
    assert plan.num_samples == 20
    assert plan.class_counts == {"y": {"cat": 8, "dog": 7, "emu": 4}}
    assert plan.sizes == {"12x16": 19}
    assert plan.arrays["x"] == ((19, 8, 8, 3), "uint8")
    assert not plan.is_refused
    assert "000.png: this is no image" in plan.problems[0]
    assert plan.notes == ("left out, no images: notes.txt",)
    assert plan_images(tree, tmp_path / "o.zarr.zip", size=(8, 8)).is_refused
    (tmp_path / "list.csv").write_text("photos/cat/001.png,1\n")
    assert plan_csv(tmp_path / "list.csv", tmp_path / "o.zarr.zip").arrays["y"] == ((1,), "int64")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.csv", "photos"]


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_command_imports_a_folder_and_reports(tree, tmp_path):
    out = tmp_path / "out.zarr.zip"
    result = invoke("import", "images", tree, out, "--size", "8x6", "--no-shuffle", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["num_samples"] == 20
    with cs.open(out) as store:
        assert store["x"].shape == (20, 8, 6, 3)
    result = invoke("import", "images", tree, out, "--size", "8x6")
    assert result.exit_code == 2
    assert "exists already" in result.stderr


def test_the_command_takes_files_splits_and_a_dry_run(tree, tmp_path):
    result = invoke("import", "images", tree, tmp_path / "o", "--dry-run")
    assert result.exit_code == 0
    assert "classes of y: cat (9), dog (7), emu (4)" in result.output
    parts = tmp_path / "parts"
    result = invoke("import", "images", tree, parts, "--split", "train=.5,val=.5", "--stratify")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in parts.iterdir()) == ["train.zarr.zip", "val.zarr.zip"]
    files = sorted(tree.glob("cat/*.png"))[:3]
    result = invoke("import", "images", *files, tmp_path / "o.zarr.zip")
    assert result.exit_code == 0, result.output
    (tree / "cat" / "000.png").write_text("no image")
    result = invoke("import", "images", tree, tmp_path / "p.zarr.zip", "--dry-run")
    assert result.exit_code == 1
    assert "refused: " in result.output
    result = invoke("import", "images", tree, tmp_path / "p.zarr.zip", "--on-error", "skip")
    assert result.exit_code == 0
    assert "skipped: cat/000.png: this is no image" in result.output


def test_the_command_imports_a_manifest_with_labels(tree, tmp_path):
    (tree / "list.tsv").write_text("a\tb\tfile\n1\t2\tcat/000.png\n3\t4\tdog/000.png\n")
    out = tmp_path / "o.zarr.zip"
    result = invoke(
        "import", "csv", tree / "list.tsv", out, "--path-column", "file", "--label", "y=a",
        "--label", "z=a,b:float", "--no-shuffle",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "note: line 1 is the header: a, b, file" in result.output
    found = cs.load(out)
    assert found["y"].tolist() == [1, 3]
    assert found["z"].tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize("option", [("--size", "8by8"), ("--size", "8x"), ("--label", "y")])
def test_the_command_refuses_what_is_written_wrong(tree, tmp_path, option):
    (tree / "list.csv").write_text("cat/000.png,1\n")
    result = invoke("import", "csv", tree / "list.csv", tmp_path / "o", *option)
    assert result.exit_code == 2
    assert option[1] in result.stderr


def test_without_the_decoders_the_extra_is_named():
    program = (
        "import sys; sys.modules['simplejpeg'] = None; import chunkstore as cs\n"
        "try:\n    cs.import_images\nexcept ModuleNotFoundError as error:\n    print(error)"
    )
    output = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert "pip install 'chunkstore[images]'" in output


def test_a_plan_refuses_a_place_that_the_import_refuses(tmp_path):
    tree = tmp_path / "tree"
    for kind in ("a", "b"):
        (tree / kind).mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (8, 8), (i, i, i)).save(tree / kind / f"{i}.png")
    out = tmp_path / "o.zarr.zip"
    assert not plan_images(tree, out).is_refused
    cs.import_images(tree, out)
    plan = plan_images(tree, out)
    assert plan.is_refused
    assert "exists already" in plan.refused[0]
    assert not plan_images(tree, out, overwrite=True).is_refused
    assert "no folder" in plan_images(tree, tmp_path / "no" / "o.zarr.zip").refused[0]


def test_a_plan_of_a_split_counts_its_parts_as_they_come_out(tmp_path):
    tree = tmp_path / "tree"
    for kind in ("a", "b"):
        (tree / kind).mkdir(parents=True)
        for i in range(20):
            Image.new("RGB", (8, 8), (i, i, i)).save(tree / kind / f"{i}.png")
    options = {"split": {"train": 0.8, "val": 0.2}, "stratify": True}
    plan = plan_images(tree, tmp_path / "no" / "such" / "parts", **options)
    assert not plan.is_refused
    assert not (tmp_path / "no").exists()
    reports = cs.import_images(tree, tmp_path / "parts", **options)
    assert plan.parts == {name: report.num_samples for name, report in reports.items()}
    assert plan_images(tree, tmp_path / "parts", **options).is_refused
    none = plan_images(tree, tmp_path / "p2", split={"a": 0.5, "b": 0.5, "c": 0.0})
    assert none.is_refused


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes have no names here")
def test_a_pipe_is_no_image_and_stops_nothing(tree, tmp_path):
    for name in ("pipe", "pipe.png"):
        os.mkfifo(tree / "cat" / name)
    report = cs.import_images(tree, tmp_path / "a.zarr.zip")
    assert report.num_samples == 20
    assert any("pipes" in note and "cat/pipe.png" in note for note in report.notes)
    with pytest.raises(cs.FormatError, match=r"pipe\.png: this is a pipe"):
        cs.import_images([tree / "cat" / "pipe.png"], tmp_path / "b.zarr.zip")


@pytest.mark.parametrize("where", ["header", "pixels"])
def test_what_the_machine_lacks_ends_an_import_that_leaves_bad_files_out(
    tree, tmp_path, monkeypatch, where
):
    error = cs.SystemCallError("too many open files", "x", errno=errno.EMFILE)

    def fails(*arguments, **options):
        raise error

    name = {"header": "checking.open_image", "pixels": "samples.decode_image_into"}[where]
    monkeypatch.setattr(f"chunkstore.importers.images.{name}", fails)
    with pytest.raises(cs.SystemCallError, match="too many open files"):
        cs.import_images(tree, tmp_path / "a.zarr.zip", on_error="skip")
    assert not (tmp_path / "a.zarr.zip").exists()
