"""A dry run refuses what the import would refuse, and nothing else; attributes come over."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from click.testing import CliRunner

import chunkstore as cs
from chunkstore.cli import main
from chunkstore.importers.bcolz.importing import default_name, plan_import
from chunkstore.importers.bcolz.storable import storable
from tests.importers.bcolz.folders import blosc_frame, write_carray, write_ctable

IGNORED = pytest.mark.filterwarnings("ignore::chunkstore.ChunkStoreWarning")


def run_cli(*arguments):
    return CliRunner().invoke(main, ["import", "bcolz", *map(str, arguments)])


def write_objects(folder, elements):
    """Write an array of pickles."""
    frames = iter([pickle.dumps(element, 2) for element in elements])
    return write_carray(
        folder,
        np.zeros(len(elements), np.uint8),
        chunk_length=1,
        frame=lambda part: blosc_frame(np.frombuffer(next(frames), np.uint8)),
        storage={"dtype": "object"},
    )


def unequal(tmp_path):
    for name, length in (("a", 10), ("b", 20)):
        write_carray(tmp_path / "t" / name, np.arange(length))
    return [tmp_path / "t"]


def unequal_sources(tmp_path):
    return [f"{n}={write_carray(tmp_path / n, np.arange(k))}" for n, k in (("x", 10), ("y", 20))]


def bad_name(tmp_path):
    return [write_ctable(tmp_path / "t", {"c": np.arange(10), "d": np.arange(10)})]


def two_bad_names(tmp_path):
    return [write_ctable(tmp_path / "t", {"c": np.arange(10), "__d": np.arange(10)})]


def fine(tmp_path):
    return [write_carray(tmp_path / "x", np.arange(30))]


def damaged(tmp_path):
    (folder,) = fine(tmp_path)
    (folder / "data" / "__1.blp").unlink()
    return [folder]


def existing(tmp_path):
    cs.save(tmp_path / "out.zarr.zip", {"here": np.arange(3)})
    return fine(tmp_path)


def called_valid(tmp_path):
    return [write_ctable(tmp_path / "t", {"valid": np.arange(10), "d": np.arange(10)})]


def objects(tmp_path):
    return [write_objects(tmp_path / "x", ["a", "b"])]


def unreadable_objects(tmp_path):
    return [write_objects(tmp_path / "x", ["a", np.zeros(3)])]


CASES = {
    "unequal lengths": (unequal, (), "equally many samples, got a: 10, b: 20"),
    "sources of unequal lengths": (unequal_sources, (), "equally many samples, got x: 10, y: 20"),
    "a name that zarr uses": (bad_name, (), "array 'c' cannot be stored under that name"),
    "two such names": (two_bad_names, (), "array '__d' cannot be stored under that name"),
    "an existing file": (existing, (), "the file exists already"),
    "an unknown codec": (fine, ("--codec", "lzma"), "codec must be one of"),
    "damage": (damaged, (), "damaged: data/__1.blp"),
    "a column called valid": (called_valid, ("--salvage",), "--salvage adds an array 'valid'"),
    "objects": (objects, (), "holds Python objects as pickles"),
    "objects that are not plain": (unreadable_objects, ("--allow-pickle",), "numpy"),
    "two arrays of one name": (
        lambda tmp_path: [write_ctable(tmp_path / "t", {"d": np.arange(9), "e": np.arange(9)})],
        ("--rename", "d=e"),
        "two arrays would be called 'e'",
    ),
}


@IGNORED
@pytest.mark.parametrize(("write", "options", "message"), CASES.values(), ids=list(CASES))
def test_a_dry_run_refuses_what_the_import_refuses(tmp_path, write, options, message):
    sources, out = write(tmp_path), tmp_path / "out.zarr.zip"
    before = sorted(tmp_path.rglob("*"))
    planned = run_cli(*sources, out, *options, "--dry-run")
    assert planned.exit_code == 1, planned.output
    assert message in " ".join(planned.stdout.split())
    assert "refused: " in planned.stdout
    assert sorted(tmp_path.rglob("*")) == before
    done = run_cli(*sources, out, *options)
    assert done.exit_code in (1, 2), done.output
    assert sorted(tmp_path.rglob("*")) == before


@IGNORED
@pytest.mark.parametrize(
    ("write", "options"),
    [
        (fine, ()),
        (damaged, ("--salvage",)),
        (existing, ("--overwrite",)),
        (bad_name, ("--rename", "c=column c")),
        (called_valid, ("--salvage", "--rename", "valid=v")),
        (objects, ("--allow-pickle",)),
        (unreadable_objects, ("--allow-pickle", "--salvage")),
        (unequal, ("--array", "a")),
    ],
)
def test_a_dry_run_is_content_with_what_the_import_brings_over(tmp_path, write, options):
    sources, out = write(tmp_path), tmp_path / "out.zarr.zip"
    planned = run_cli(*sources, out, *options, "--dry-run")
    assert planned.exit_code == 0, planned.output
    assert ("lost: " in planned.stdout) == (
        "--salvage" in options and write in (damaged, unreadable_objects)
    )
    done = run_cli(*sources, out, *options)
    assert done.exit_code == int("lost: " in planned.stdout), done.output
    assert cs.verify(out).ok


def test_a_dry_run_says_what_arrays_would_be_called(tmp_path):
    sources = [f"{n}={write_carray(tmp_path / n, np.arange(30))}" for n in ("x", "y")]
    result = run_cli(*sources, tmp_path / "o.zarr.zip", "--rename", "y=labels", "--dry-run")
    rows = [line.split() for line in result.stdout.splitlines() if "(root)" in line]
    assert [row[1] for row in rows] == ["x", "labels"]


def test_a_dry_run_refuses_to_go_on_with_an_import_of_other_options(tmp_path, monkeypatch):
    from chunkstore.importers.bcolz.samples import BcolzSamples

    (folder,) = fine(tmp_path)
    out = tmp_path / "out.zarr.zip"
    with monkeypatch.context() as patch:
        patch.setattr(BcolzSamples, "read", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            cs.import_bcolz(folder, out, level=3)
    assert plan_import(folder, out, level=3).refused == ()
    (reason,) = plan_import(folder, out, level=5).refused
    assert "storage.level: 3 there, 5 here" in reason


def test_a_path_with_an_equals_sign_is_a_path_if_it_is_there(tmp_path):
    folder = write_carray(tmp_path / "lr=1" / "trn.bc", np.arange(30))
    out = tmp_path / "out.zarr.zip"
    assert run_cli(folder, out).exit_code == 0
    with cs.open(out) as store:
        assert list(store) == ["trn"]


@pytest.mark.parametrize("name", ["__data", "a\\b", "größe", "c", ".bc", "zarr.json", "é"])
def test_a_folder_whose_name_no_array_can_have_gives_x(tmp_path, name):
    assert default_name(str(tmp_path / name)) == "x"


NOT_KEPT = {
    "nan": {"a": float("nan"), "b": 1},
    "infinite": {"a": [1, {"x": float("inf")}], "b": 1},
    "half a letter": {"a": "x\ud800", "b": 1},
    "half a letter in a name": {"\ud800": 1, "b": 1},
    "reserved": {"chunkstore": 2, "import": {"k": 1}, "b": 1},
    "too large": {"a": "x" * (17 << 20), "b": 1},
}


@pytest.mark.parametrize("attributes", NOT_KEPT.values(), ids=list(NOT_KEPT))
@pytest.mark.parametrize("where", ["array", "table"])
def test_one_attribute_that_cannot_be_kept_takes_no_other_with_it(tmp_path, attributes, where):
    if where == "array":
        folder = write_carray(tmp_path / "x", np.arange(30))
    else:
        folder = write_ctable(tmp_path / "x", {"k": np.arange(30)})
    (folder / "__attrs__").write_text(json.dumps(attributes))
    with pytest.warns(cs.ChunkStoreWarning, match="attribute '.*' is (changed|left out): "):
        report = cs.import_bcolz(folder, tmp_path / "out.zarr.zip")
    assert any("is changed: " in note or "is left out: " in note for note in report.notes)
    assert report.num_more_lost == 0
    with cs.open(report.path) as store:
        assert store.attributes["b"] == 1
        assert store.attributes["import"]["kind"] == "bcolz"
        if "import" in attributes:
            assert store.attributes["bcolz import"] == {"k": 1}
            assert store.attributes["bcolz chunkstore"] == 2
        if isinstance(attributes.get("a"), float):
            assert store.attributes["a"] == "nan"


def test_attributes_that_a_file_can_hold_are_not_touched():
    notes = []
    attributes = {"a": [1, 2.5, None, True, {"ä": "𝄞"}], "b": {}}
    assert storable(attributes, "x", notes) == attributes
    assert notes == []


def test_attributes_of_tables_in_a_tree_come_over_under_their_path(tmp_path):
    for name in ("s", "t"):
        table = write_ctable(tmp_path / "d" / name, {"k": np.arange(10)})
        bad = {"bad": float("nan")} if name == "s" else {}
        (table / "__attrs__").write_text(json.dumps({"of": name} | bad))
    with pytest.warns(cs.ChunkStoreWarning, match="table 's': attribute 'bad' is changed"):
        cs.import_bcolz(tmp_path / "d", tmp_path / "out.zarr.zip", rename={"t/k": "u"})
    with cs.open(tmp_path / "out.zarr.zip") as store:
        assert list(store) == ["s/k", "u"]
        assert store.attributes["s"] == {"of": "s", "bad": "nan"}
        assert store.attributes["t"] == {"of": "t"}


@IGNORED
def test_odd_notes_of_bcolz_about_compression_stop_no_import(tmp_path):
    folder = write_carray(tmp_path / "x", np.arange(30))
    storage = json.loads((folder / "meta" / "storage").read_text())
    storage["cparams"]["quantize"] = float("nan")
    storage["more"] = "\ud800"
    (folder / "meta" / "storage").write_text(json.dumps(storage))
    report = cs.import_bcolz(folder, tmp_path / "out.zarr.zip")
    with cs.open(report.path) as store:
        kept = store.attributes["import"]["arrays"]["x"]["storage"]
        assert kept["cparams"]["quantize"] == "nan"


def test_json_text_longer_than_a_block_comes_over_letter_by_letter(tmp_path, monkeypatch):
    from chunkstore.importers.bcolz.open import open_bcolz
    from chunkstore.importers.bcolz.ragged import RaggedJson
    from chunkstore.importers.json_values import from_json_text

    elements = ["abc", "", ["x" * 50], {"k": "ü" * 20}, 7, "", "end"]
    folder = write_objects(tmp_path / "x", elements)
    with open_bcolz(folder, allow_pickle=True) as store:
        ragged = RaggedJson(store[""], len(elements) + 2)
        whole = bytes(ragged[0 : ragged.shape[0]])
        ranges = ragged.ranges(0, len(elements) + 2)
        assert [from_json_text(whole[a:b]) for a, b in ranges[: len(elements)]] == elements
        assert ranges[-2:].tolist() == [[len(whole)] * 2] * 2
        for start in range(0, len(whole), 7):
            for length in (1, 7, 40):
                assert bytes(ragged[start : start + length]) == whole[start : start + length]
    # A chunk of text is 64 bytes: no block holds all of it.
    cs.import_bcolz(folder, tmp_path / "o.zarr.zip", allow_pickle=True, chunk_nbytes=64)
    with cs.open(tmp_path / "o.zarr.zip") as store:
        assert store["x/json"][:].tobytes() == whole


def test_every_element_that_cannot_be_read_is_told_at_once(tmp_path):
    folder = write_objects(tmp_path / "x", ["a", np.zeros(3), "b", np.ones(2)])
    with pytest.raises(cs.ChunkStoreError, match=r"(?s)2 elements.*sample 1.*sample 3"):
        cs.import_bcolz(folder, tmp_path / "out.zarr.zip", allow_pickle=True)


def broken_place(tmp_path, case):
    """Return where an import cannot write."""
    if case == "no folder":
        return tmp_path / "no" / "such.zarr.zip"
    out = tmp_path / "out.zarr.zip"
    if case == "a folder":
        out.mkdir()
    else:
        (tmp_path / "out.zarr.zip.partial").write_text("another writer's")
    return out


@pytest.mark.parametrize("case", ["no folder", "a folder", "a partial file"])
@pytest.mark.parametrize("resume", [True, False])
def test_a_place_that_cannot_be_written_is_refused_alike_by_plan_and_import(tmp_path, case, resume):
    folder = write_carray(tmp_path / "a", np.arange(30))
    out = broken_place(tmp_path, case)
    plan = plan_import(folder, out, resume=resume)
    with pytest.raises(cs.SystemCallError) as failed:
        cs.import_bcolz(folder, out, resume=resume)
    assert plan.refused == (str(failed.value),)
    if case == "a partial file":
        assert (tmp_path / "out.zarr.zip.partial").read_text() == "another writer's"
        assert plan_import(folder, out, resume=resume, overwrite=True).refused == ()
        cs.import_bcolz(folder, out, resume=resume, overwrite=True)
        assert cs.load(out)["a"].tolist() == list(range(30))
