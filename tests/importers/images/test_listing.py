"""Which files are samples, and which folders classes?"""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.importers.images.listing import list_images
from chunkstore.importers.images.pairing import pair_masks
from tests.importers.images.pictures import class_tree, pixels, save


def touch(root, *names):
    """Make files that are called as images, without content."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def labels_of(listing):
    names = listing.labels["y"].class_names
    return [names[label] for label in listing.labels["y"].values]


def test_folders_are_classes_in_the_order_of_their_names_and_files_at_any_depth_belong(tmp_path):
    # In the order of whole paths "b-a" would come between files of "b".
    root = touch(tmp_path, "b/2.png", "b/1.png", "b/deep/er/0.jpg", "a/9.JPG", "b-a/x.webp")
    listing = list_images(root)
    assert listing.names == ["a/9.JPG", "b/1.png", "b/2.png", "b/deep/er/0.jpg", "b-a/x.webp"]
    assert listing.labels["y"].class_names == ("a", "b", "b-a")
    assert labels_of(listing) == ["a", "b", "b", "b", "b-a"]
    assert listing.labels["y"].values.dtype == np.int64


def test_a_stray_file_never_becomes_a_class_nor_a_sample_unseen(tmp_path):
    root = touch(tmp_path, "a/1.png", "b/1.png", "readme.txt", ".DS_Store", "a/Thumbs.db")
    touch(root, ".ipynb_checkpoints/1.png", "__MACOSX/a/1.png", "a/._1.png")
    listing = list_images(root)
    assert listing.names == ["a/1.png", "b/1.png"]
    assert listing.labels["y"].class_names == ("a", "b")
    assert listing.notes == [
        "left out, hidden: .DS_Store, .ipynb_checkpoints/, __MACOSX/, a/._1.png, a/Thumbs.db",
        "left out, no images: readme.txt",
    ]


def test_an_image_is_found_by_its_content_whatever_it_is_called(tmp_path):
    save(tmp_path / "a" / "0001", pixels(), format="JPEG")
    assert list_images(tmp_path).names == ["a/0001"]


def test_images_beside_class_folders_are_ambiguous_until_the_layout_is_said(tmp_path):
    root = touch(tmp_path, "a/1.png", "b/1.png", "stray.png")
    with pytest.raises(ValueError, match=r"'stray\.png'.*layout='classes'.*layout='flat'"):
        list_images(root)
    listing = list_images(root, layout="classes")
    assert listing.names == ["a/1.png", "b/1.png"]
    assert listing.notes == ["left out, in no class folder: stray.png"]
    flat = list_images(root, layout="flat")
    assert flat.names == ["a/1.png", "b/1.png", "stray.png"]
    assert not flat.labels


def test_a_folder_without_images_is_a_class_only_where_it_is_said(tmp_path):
    root = touch(tmp_path, "a/1.png", "b/readme.txt")
    with pytest.raises(ValueError, match="no images in 'b': whether that is a class"):
        list_images(root)
    listing = list_images(root, class_names=["b", "a"])
    assert listing.labels["y"].class_names == ("b", "a")
    assert listing.labels["y"].values.tolist() == [1]
    assert "classes without images: b" in listing.notes
    assert list_images(root, class_names=["a"]).labels["y"].class_names == ("a",)


@pytest.mark.parametrize(
    ("class_names", "message"),
    [
        (["a"], "the folder 'b' holds images and is none of the 1 class_names"),
        (["a", "b", "c"], "there is no folder for the class 'c'"),
        (["a", "b", "a"], "class_names has 'a' twice"),
        (["a", "b", ""], "class_names has an empty name"),
    ],
)
def test_classes_and_folders_must_agree(tmp_path, class_names, message):
    root = touch(tmp_path, "a/1.png", "b/1.png")
    with pytest.raises(ValueError, match=message):
        list_images(root, class_names=class_names)


def test_patterns_and_files_are_flat_and_named_from_their_common_folder(tmp_path):
    root = touch(tmp_path, "p/a/1.png", "p/a/2.jpg", "p/b/1.png", "p/3.png")
    listing = list_images(str(root / "p" / "**" / "*.png"))
    assert listing.names == ["3.png", "a/1.png", "b/1.png"]
    listing = list_images([root / "p/b/1.png", root / "p/a/1.png"])
    assert listing.names == ["b/1.png", "a/1.png"]
    listing = list_images(str(root / "p" / "*" / "*.png"), layout="classes")
    assert labels_of(listing) == ["a", "b"]
    with pytest.raises(ValueError, match=r"'3\.png' stands in no folder that could be its class"):
        list_images(str(root / "p" / "**" / "*.png"), layout="classes")


@pytest.mark.parametrize("source", ["missing", "missing/*.png", "empty"])
def test_where_nothing_is_there_the_source_is_named(tmp_path, source):
    (tmp_path / "empty").mkdir()
    with pytest.raises(cs.SystemCallError, match=source.replace("*", r"\*")) as caught:
        list_images(str(tmp_path / source))
    assert isinstance(caught.value, FileNotFoundError)


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links here")
def test_links_are_followed_and_one_to_a_folder_above_is_not_followed_for_ever(tmp_path):
    root = touch(tmp_path / "root", "a/1.png")
    touch(tmp_path / "elsewhere", "1.png")
    (root / "b").symlink_to(tmp_path / "elsewhere")
    (root / "a" / "up").symlink_to(root)
    (root / "c").symlink_to(tmp_path / "elsewhere")
    listing = list_images(root, layout="flat")
    assert listing.names == ["a/1.png", "b/1.png"]
    assert listing.notes == ["left out, links to folders that are listed already: a/up/, c/"]


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links here")
def test_a_class_folder_that_is_a_link_to_another_one_is_told_as_such(tmp_path):
    root = touch(tmp_path / "root", "a/1.png", "z/1.png")
    (root / "zz").symlink_to(root / "z")
    with pytest.raises(ValueError, match=r"'zz' is a link to a folder whose images are listed"):
        list_images(root)
    assert list_images(root, class_names=["a", "z"]).names == ["a/1.png", "z/1.png"]


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=8)


@given(
    st.dictionaries(
        NAMES.filter(lambda name: name.strip(".") == name and name != "__MACOSX"),
        st.integers(1, 3),
        min_size=1,
        max_size=4,
    )
)
def test_every_image_is_listed_once_with_the_folder_it_lies_in(tmp_path_factory, counts):
    root = tmp_path_factory.mktemp("tree")
    expected = set()
    for name, count in counts.items():
        if len(name.encode()) > 200:
            continue
        touch(root, *(f"{name}/{i}.png" for i in range(count)))
        expected |= {f"{name}/{i}.png" for i in range(count)}
    listing = list_images(root)
    assert set(listing.names) == expected
    assert len(listing.names) == len(expected)
    assert labels_of(listing) == [name.partition("/")[0] for name in listing.names]
    assert list(listing.labels["y"].class_names) == sorted(counts)


def test_masks_are_found_by_the_name_without_suffix(tmp_path):
    images = touch(tmp_path / "images", "a/1.jpg", "a/2.jpg", "b/1.jpg")
    touch(tmp_path / "masks", "a/1_m.png", "a/2_m.tif", "b/1_m.png", "b/9_m.png")
    listing = list_images(images)
    pair_masks(listing, tmp_path / "masks", ending="_m")
    assert listing.masks["mask"] == [
        str(tmp_path / "masks" / name) for name in ("a/1_m.png", "a/2_m.tif", "b/1_m.png")
    ]
    assert listing.notes == ["masks without an image: b/9_m"]
    assert not listing.problems


def test_an_image_without_one_mask_is_a_problem(tmp_path):
    images = touch(tmp_path / "images", "1.jpg", "2.jpg", "3.jpg", "3.png")
    touch(tmp_path / "masks", "2.png", "2.tif", "3.png")
    listing = list_images(images)
    pair_masks(listing, tmp_path / "masks")
    reasons = [str(problem) for problem in listing.problems.values()]
    assert "1.jpg: there is no mask 1.*" in reasons[0]
    assert "2.jpg: there are several masks" in reasons[1]
    assert "3.jpg: one mask would belong to several images: 3.jpg, 3.png" in reasons[2]
    assert len(reasons) == 4


def test_the_tree_helper_writes_what_it_returns(tmp_path):
    names = class_tree(tmp_path, {"a": 2, "b": 1})
    assert list_images(tmp_path).names == names
