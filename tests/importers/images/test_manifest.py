"""What does a manifest say, and is each wrong line named by its number?"""

from __future__ import annotations

import csv
import gzip
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.importers.images.listing import Label, Listing
from chunkstore.importers.images.manifest import list_manifest, write_manifest
from chunkstore.importers.images.manifest_lines import join_line, read_lines, split_line


@pytest.fixture
def listed(tmp_path):
    """Return a function that lists a manifest of some content."""

    def listed(content, **options):
        path = tmp_path / "list.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return list_manifest(path, **options)

    return listed


def problems_of(listing):
    return [problem.message for problem in listing.problems.values()]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("a.jpg,3\nb.jpg,0\n", id="plain"),
        pytest.param("a.jpg,3\nb.jpg,0", id="no-last-line-feed"),
        pytest.param("a.jpg,3\r\nb.jpg,0\r\n", id="crlf"),
        pytest.param("\ufeffa.jpg,3\nb.jpg,0\n", id="byte-order-mark"),
        pytest.param("filename,label1\na.jpg,3\nb.jpg,0\n", id="header"),
        pytest.param("# filename,label1\na.jpg,3\nb.jpg,0\n", id="comment-header"),
        pytest.param("a.jpg,3\n\n  \n # no, b.jpg\nb.jpg,0\n\n", id="blank-and-comment"),
        pytest.param(" a.jpg , 3 \n\tb.jpg,\t0\n", id="spaces"),
        pytest.param('"a.jpg","3"\n"b.jpg",0\n', id="quoted"),
        pytest.param("a.jpg\t3\nb.jpg\t0\n", id="tabs"),
        pytest.param("a.jpg;3\nb.jpg;0\n", id="semicolons"),
        pytest.param("a.jpg,+3\nb.jpg,-0\n", id="signs"),
        pytest.param(gzip.compress(b"a.jpg,3\nb.jpg,0\n"), id="gzip"),
    ],
)
def test_all_dialects_say_the_same(listed, content):
    listing = listed(content)
    assert listing.names == ["a.jpg", "b.jpg"]
    assert listing.labels["y"].values.tolist() == [3, 0]
    assert listing.labels["y"].values.dtype == np.int64
    assert not listing.problems


def test_the_header_that_was_found_is_noted(listed):
    assert listed("# one\nname,label\na.jpg,3\n").notes == ["line 2 is the header: name, label"]


def test_the_first_line_is_a_row_where_its_file_is_there_whatever_it_is_called(listed, tmp_path):
    (tmp_path / "0001").touch()
    assert listed("0001,3\n0002,4\n").names == ["0001", "0002"]
    assert listed("0001,3\n0002,4\n", header="yes").names == ["0002"]
    assert listed("head.jpg,3\n0002,4\n", header="no").names == ["head.jpg", "0002"]


def test_paths_are_relative_to_the_manifest_or_the_root_and_may_be_of_windows(listed, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.jpg").touch()
    listing = listed("sub\\a.jpg,1\n/abs/b.jpg,2\nc.jpg,3\n")
    assert listing.names == ["sub\\a.jpg", "/abs/b.jpg", "c.jpg"]
    assert listing.paths == [str(tmp_path / "sub/a.jpg"), "/abs/b.jpg", str(tmp_path / "c.jpg")]
    assert listed("a.jpg,1\n", root="/else/where").paths == ["/else/where/a.jpg"]


def test_a_path_with_a_comma_or_a_hash_is_quoted(listed):
    listing = listed('"a, b#1.jpg",1\n"#2.jpg",2\nx#3.jpg,3\n')
    assert listing.names == ["a, b#1.jpg", "#2.jpg", "x#3.jpg"]


@pytest.mark.parametrize(
    ("content", "reasons"),
    [
        (b"a.jpg,1\n\nb.jpg,dog\n", ["line 3: label 'y': 'dog' is no integer; the first row"]),
        (b"a.jpg,1\nb.jpg,1.0\n", ["line 2: label 'y': '1.0' is no integer"]),
        (b"a.jpg,1\nb.jpg,1_0\n", ["line 2: label 'y': '1_0' is no integer"]),
        (b"a.jpg,1\nb.jpg,9223372036854775808\n", ["line 2: label 'y': '922337203685477580"]),
        (b"a.jpg,1\nb.jpg,\n", ["line 2: label 'y' is empty"]),
        (b"a.jpg,0.5\nb.jpg,1e999\n", ["line 2: label 'y': '1e999' is beyond the range"]),
        (b"a.jpg,1\n# x\nb.jpg\nc.jpg,1,2\n", ["line 3: 1 cells, and 2", "line 4: 3 cells"]),
        (b'a.jpg,1\n"b.jpg,2\n', ["line 2: the quote of '\"b.jpg,2' is not closed"]),
        (b'a.jpg,1\n"b.jpg"x,2\n', ["line 2: 'x' behind a closing quote"]),
        (b'a.jpg,1\nb".jpg,2\n', ["line 2: a quote inside of the cell"]),
        (b"a.jpg,1\n,2\n", ["line 2: the path is empty"]),
        (b"a.jpg,1\nb\xff.jpg,2\n", ["line 2: byte 0xff at column 2 is not UTF-8"]),
        (b"a.jpg,1\nb\0.jpg,2\n", ["line 2: the line holds a NUL"]),
        (b"a.jpg,1\nb.jpg,2\rc.jpg,3\n", ["line 2: the line holds a carriage return"]),
        (b"a.jpg,1\n" + b"x" * 3_000_000 + b"\nb.jpg,x\n", ["line 2: the line is longer",
                                                          "line 3: label 'y': 'x'"]),
    ],
)  # fmt: skip
def test_each_wrong_line_is_named_by_its_number(listed, content, reasons):
    found = problems_of(listed(content))
    assert len(found) == len(reasons)
    for reason, expected in zip(found, reasons, strict=True):
        assert reason.startswith(expected)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", cs.FormatError, "holds no row"),
        (b"# only\n\n", cs.FormatError, "holds no row"),
        (b"path,label\n", cs.FormatError, "holds a header and no row"),
        ("a.jpg,1\n".encode("utf-16"), cs.FormatError, "UTF-16; save it as UTF-8"),
        (gzip.compress(b"a.jpg,1\n" * 999)[:-12], cs.CorruptionError, "gzip and damaged"),
        (b"a.jpg,007\n", ValueError, "'007' may be a number or a name"),
        (b"a.jpg,1,2\n", ValueError, r"2 columns beside the images \(1, 2\): say which"),
    ],
)
def test_a_manifest_that_cannot_be_understood_is_refused(listed, content, error, message):
    with pytest.raises(error, match=message):
        listed(content)


def test_a_manifest_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.csv"):
        list_manifest(tmp_path / "no.csv")


def test_labels_are_columns_by_name_or_number_of_a_kind(listed):
    content = "file,species,x0,y0,seg,w\na.jpg,dog,1,2,a.png,1\nb.jpg,cat,3,4,b.png,nan\n"
    listing = listed(
        content,
        labels={"y": "species", "box": "x0,y0:int", "mask": "seg:path", "weight": "5:float"},
    )
    assert listing.labels["y"].values.tolist() == [1, 0]
    assert listing.labels["y"].class_names == ("cat", "dog")
    assert listing.labels["box"].values.tolist() == [[1, 2], [3, 4]]
    assert listing.labels["weight"].values.dtype == np.float64
    assert np.isnan(listing.labels["weight"].values[1])
    assert [path.rpartition("/")[2] for path in listing.masks["mask"]] == ["a.png", "b.png"]
    listing = listed(content, labels={"y": "1:name"}, class_names=["dog", "cat"])
    assert listing.labels["y"].values.tolist() == [0, 1]


def test_the_header_may_say_all_that_labels_say(listed):
    listing = listed("path,y:name,box:float,box:float,mask:path\na.jpg,007,1,2,a.png\n")
    assert listing.labels["y"].class_names == ("007",)
    assert listing.labels["box"].values.tolist() == [[1.0, 2.0]]
    assert list(listing.masks) == ["mask"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"labels": {"y": "colour"}}, KeyError, "there is no column 'colour'"),
        ({"labels": {"y": "7"}}, KeyError, r"a number in \[0, 2\)"),
        ({"labels": {"y": "1:text"}}, ValueError, "kind must be one of"),
        ({"labels": {"y": "1,1"}}, ValueError, "names a column twice"),
        ({"path_column": "file"}, KeyError, "there is no column 'file'"),
        ({"header": "maybe"}, ValueError, "header must be one of"),
        ({"delimiter": "ab"}, ValueError, "delimiter must be one character"),
        ({"labels": {"y": "1:float"}, "class_names": ["a"]}, ValueError, "goes with classes"),
        ({"class_names": {"z": ["a"]}}, ValueError, "class_names has 'z', which is no label"),
    ],
)
def test_options_that_cannot_be_are_refused(listed, options, error, message):
    with pytest.raises(error, match=message):
        listed("a.jpg,0\n", **options)


def test_labels_must_be_among_the_given_classes(listed):
    listing = listed("a.jpg,0\nb.jpg,2\n", class_names=["cat", "dog"])
    assert listing.labels["y"].class_names == ("cat", "dog")
    assert problems_of(listing)[0].startswith("line 2: label 'y': 2 is none of [0, 2)")
    listing = listed("a.jpg,dog\nb.jpg,cow\n", class_names=["cat", "dog"])
    assert problems_of(listing) == ["line 2: label 'y': 'cow' is none of the 2 class_names"]


def test_files_that_are_listed_again_are_noted(listed):
    assert "listed more than once" in listed("a.jpg,0\na.jpg,1\n").notes[0]


CELLS = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=12), min_size=1,
    max_size=5,
)  # fmt: skip


@given(CELLS, st.sampled_from(",\t;"))
def test_a_line_is_taken_apart_into_what_it_was_joined_from(cells, delimiter):
    assert split_line(join_line(cells, delimiter), delimiter) == cells


@given(CELLS)
def test_a_quoted_line_is_understood_as_the_csv_module_does(cells):
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="").writerow(cells)
    assert split_line(text.getvalue(), ",") == cells


@given(st.binary(max_size=200))
def test_any_bytes_are_rows_or_named_problems(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("lines") / "list.csv"
    path.write_bytes(content)
    try:
        lines = read_lines(path)
    except (cs.FormatError, cs.CorruptionError):
        return
    assert len(lines.cells) == len(lines.numbers)
    widths = {len(cells) for row, cells in enumerate(lines.cells) if row not in lines.wrong}
    assert len(widths) <= 1


@given(st.data())
def test_a_written_manifest_says_the_same_again(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("written")
    text = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0\\"), max_size=8)
    count = data.draw(st.integers(1, 5))
    several = {"min_size": count, "max_size": count}
    names = data.draw(st.lists(text.map(lambda name: name + ".png"), **several))
    class_names = sorted(data.draw(st.sets(text.filter(bool), min_size=1, max_size=3)))
    used = data.draw(st.lists(st.sampled_from(range(len(class_names))), **several))
    class_names = [class_names[i] for i in sorted(set(used))]
    classes = np.unique(used, return_inverse=True)[1].astype(np.int64)
    numbers = data.draw(st.lists(st.floats(allow_nan=False), **several))
    labels = {
        "y": Label(classes, tuple(class_names)),
        "v": Label(np.array(numbers)),
        "n": Label(np.arange(2 * count).reshape(count, 2)),
    }
    paths = [str(folder / name) for name in names]
    listing = Listing(str(folder), str(folder), names, paths, labels, {"mask": paths})
    write_manifest(folder / "list.csv", listing, range(count), overwrite=False)
    again = list_manifest(folder / "list.csv")
    assert not again.problems
    assert again.names == names
    for name, label in labels.items():
        assert np.array_equal(again.labels[name].values, label.values)
        assert again.labels[name].class_names == label.class_names


def test_a_manifest_without_line_feeds_is_told_as_such(tmp_path):
    (tmp_path / "list.csv").write_bytes(b"a.png,1\rb.png,2\r")
    with pytest.raises(cs.FormatError, match=r"line 1: the line holds a carriage return"):
        list_manifest(tmp_path / "list.csv")


def test_a_written_manifest_has_the_permissions_of_any_new_file(tmp_path):
    listing = Listing("s", str(tmp_path), ["a.png"], [str(tmp_path / "a.png")])
    write_manifest(tmp_path / "list.csv", listing, [0], overwrite=False)
    (tmp_path / "other").touch()
    assert (tmp_path / "list.csv").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_manifest_replaces_no_other_file_unless_told(tmp_path):
    listing = Listing("s", str(tmp_path), ["a.png"], [str(tmp_path / "a.png")])
    path = tmp_path / "list.csv"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match=r"list\.csv: the file exists already"):
        write_manifest(path, listing, [0], overwrite=False)
    write_manifest(path, listing, [0], overwrite=True)
    assert path.read_text() == "path\na.png\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["list.csv"]
