"""In a folder only regular files below the top are read, and one bad file is one problem."""

from __future__ import annotations

import errno
import os
import warnings

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.importers.bcolz import directory
from chunkstore.importers.bcolz.directory import DirectoryFiles
from chunkstore.importers.bcolz.inspection import check_bcolz
from tests.importers.bcolz.folders import blosc_frame, images, write_carray, write_ctable
from tests.importers.bcolz.kit import load_cases
from tests.importers.bcolz.test_archives import as_tar, as_zip

X = images(37)
Y = np.arange(37, dtype=np.int32)

needs_links = pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links on this system")
needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")


@pytest.fixture
def outside(tmp_path):
    """A whole array that links lead to."""
    return write_carray(tmp_path / "outside", X, attributes={"a": 1})


@pytest.fixture
def table(tmp_path):
    return write_ctable(tmp_path / "table", {"y": Y, "x": X})


def replaced(path, target):
    """Put a link to the same name elsewhere where something was."""
    path.rename(path.with_name(f".{path.name}"))
    path.symlink_to(target)


LINKS = {
    "a column": ("x", "", "the column is missing: 'x' is a link, which is not followed"),
    "the chunks": ("x/data", "data", "x/data: this is a link, which is not followed"),
    "meta": ("x/meta", "meta", "meta is a link, which is not followed"),
    "sizes": ("x/meta/sizes", "meta/sizes", "x/meta/sizes: this is a link, which is not followed"),
    "a chunk": (
        "x/data/__1.blp",
        "data/__1.blp",
        r"x/data/__1\.blp, samples \[10, 20\): this is a link, which is not followed; a chunk",
    ),
}


@needs_links
@pytest.mark.parametrize(("name", "target", "message"), LINKS.values(), ids=list(LINKS))
def test_a_link_in_a_table_is_not_followed_and_told(table, outside, name, target, message):
    replaced(table / name, outside / target)
    with pytest.raises(cs.CorruptionError, match=message):
        cs.open_bcolz(table)


@needs_links
@pytest.mark.parametrize("name", ["data", "meta"])
def test_a_link_in_an_array_is_not_followed_and_told(tmp_path, outside, name):
    folder = write_carray(tmp_path / "a", X)
    replaced(folder / name, outside / name)
    with pytest.raises(cs.CorruptionError, match=r"is a link, which is not followed"):
        cs.open_bcolz(folder)


@needs_links
def test_a_link_in_the_place_of_the_names_of_columns_is_not_followed(table, tmp_path):
    (tmp_path / "names").write_text('{"names": ["y"]}')
    replaced(table / "__rootdirs__", tmp_path / "names")
    with pytest.raises(cs.CorruptionError, match="__rootdirs__: this is a link"):
        cs.open_bcolz(table)


@needs_links
def test_a_link_to_attributes_is_not_followed(tmp_path, outside):
    folder = write_carray(tmp_path / "a", X)
    replaced(folder / "__attrs__", outside / "__attrs__")
    with pytest.warns(cs.ChunkStoreWarning, match="cannot be read: this is a link, which is not"):
        store = cs.open_bcolz(folder)
    with store:
        assert store.attributes == {}


@needs_links
def test_a_link_in_a_tree_is_noted_and_not_followed(tmp_path, outside):
    write_carray(tmp_path / "tree" / "a", X)
    (tmp_path / "tree" / "b").symlink_to(outside)
    with pytest.warns(cs.ChunkStoreWarning, match="b: this is a link, which is not followed"):
        store = cs.open_bcolz(tmp_path / "tree")
    with store:
        assert list(store) == ["a"]


@needs_links
def test_nothing_behind_a_link_is_listed_or_read(tmp_path, outside):
    (tmp_path / "top" / "real").mkdir(parents=True)
    (tmp_path / "top" / "real" / "link").symlink_to(outside)
    (tmp_path / "by-link").symlink_to(tmp_path / "top")
    found = DirectoryFiles(str(tmp_path / "by-link"))
    assert found.entries("real") == {"link": "link"}
    assert found.entries("real/link") == {}
    assert not found.has_chunks("real/link/data")
    assert len(found.chunk_files("real/link/data").indices) == 0
    assert found.read("real/link/meta/sizes") is None


@needs_links
def test_the_top_may_be_reached_by_a_link(table, tmp_path):
    (tmp_path / "link").symlink_to(table)
    with cs.open_bcolz(tmp_path / "link") as store:
        assert np.array_equal(store["x"][:], X)


@needs_links
def test_a_chunk_that_becomes_a_link_after_the_check_is_not_followed(table, outside):
    with cs.open_bcolz(table) as store:
        replaced(table / "x" / "data" / "__1.blp", outside / "data" / "__1.blp")
        with pytest.raises(cs.CorruptionError, match=r"__1\.blp.*this is a link, which is not"):
            store["x"][12]


@needs_pipes
@pytest.mark.parametrize("name", ["x/meta/sizes", "x/data/__1.blp", "__rootdirs__"])
def test_a_pipe_is_told_and_does_not_hang(table, name):
    (table / name).unlink()
    os.mkfifo(table / name)
    with pytest.raises(cs.CorruptionError, match="this is a pipe or a device"):
        cs.open_bcolz(table)


@needs_pipes
@pytest.mark.parametrize("level", [0, 5])
def test_a_chunk_that_becomes_a_pipe_after_the_check_does_not_hang(tmp_path, level):
    folder = write_carray(tmp_path / "a", X, frame=lambda part: blosc_frame(part, level=level))
    with cs.open_bcolz(folder) as store:
        chunk = folder / "data" / "__2.blp"
        chunk.unlink()
        os.mkfifo(chunk)
        reader = store[""].open_reader()
        out = np.empty((10, 3, 4), np.uint8)
        reader.read_chunk_into(1, out)
        with pytest.raises(cs.CorruptionError, match=r"__2\.blp"):
            reader.read_chunk_into(2, out)
        reader.close()


@pytest.fixture
def bad_sector(monkeypatch):
    """Return a function after which reading a file fails as on a disk with a bad sector."""
    bad, really_open, really_close = set(), os.open, os.close
    places = []

    def opened(path, *arguments, **options):
        descriptor = really_open(path, *arguments, **options)
        if str(path) in places:
            bad.add(descriptor)
        return descriptor

    def closed(descriptor):
        bad.discard(descriptor)
        really_close(descriptor)

    def failing(call):
        def wrapped(descriptor, *arguments):
            if descriptor in bad:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return call(descriptor, *arguments)

        return wrapped

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "close", closed)
    monkeypatch.setattr(os, "read", failing(os.read))
    monkeypatch.setattr(directory, "_fill", failing(directory._fill))
    return lambda path: places.append(str(path))


def test_a_bad_sector_is_a_problem_of_one_chunk(table, bad_sector):
    with cs.open_bcolz(table) as store:
        bad_sector(table / "x" / "data" / "__1.blp")
        assert np.array_equal(store["x"][20:], X[20:])
        with pytest.raises(cs.CorruptionError, match=r"x/data/__1\.blp.*Input/output error"):
            store["x"][12]
    report = check_bcolz(table)
    assert report.lost_samples == {"x": [(10, 20)]}
    assert "Input/output error" in report.problems[0].message


def test_what_a_bad_sector_leaves_is_salvaged(table, tmp_path, bad_sector):
    bad_sector(table / "x" / "data" / "__1.blp")
    out = tmp_path / "out.zarr.zip"
    with pytest.warns(cs.ChunkStoreWarning, match=r"__1\.blp"):
        cs.import_bcolz(table, out, salvage=True)
    with cs.open(out) as store:
        valid = store["valid"][:]
        assert np.flatnonzero(~valid).tolist() == list(range(10, 20))
        assert np.array_equal(store["x"][:][valid], X[valid])
        assert np.array_equal(store["y"][:], Y)


def test_what_the_system_refuses_as_a_whole_is_no_damage(table, monkeypatch):
    really_open = os.open

    def refused(path, *arguments, **options):
        if str(path).endswith("__1.blp"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return really_open(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(PermissionError, match="the chunk file cannot be read"):
        cs.open_bcolz(table)


NOISE = np.random.Generator(np.random.Philox(7)).integers(1, 256, (40, 1000), dtype=np.uint8)
COMPRESSIBLE = NOISE[:, ::2].repeat(6, axis=1)


def end_zeroed(path, nbytes):
    raw = path.read_bytes()
    assert len(raw) > nbytes + 100
    path.write_bytes(raw[:-nbytes] + bytes(nbytes))


def found_when_opened(path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cs.open_bcolz(path).close()
    return [str(warning.message) for warning in caught]


FRAMES = {
    "copied": (NOISE, lambda part: blosc_frame(part, level=0), 512),
    "lz4": (COMPRESSIBLE, lambda part: blosc_frame(part, codec="lz4"), 64),
    "zstd": (COMPRESSIBLE, lambda part: blosc_frame(part, codec="zstd"), 64),
}
PACKERS = {
    "folder": lambda folder, path: folder,
    "tar": as_tar,
    "tar.gz": lambda folder, path: as_tar(folder, path, mode="w:gz"),
    "zip": as_zip,
}


@pytest.mark.parametrize("pack", PACKERS.values(), ids=list(PACKERS))
@pytest.mark.parametrize(("values", "frame", "least"), FRAMES.values(), ids=list(FRAMES))
def test_a_chunk_whose_end_is_zero_is_warned_of(tmp_path, values, frame, least, pack):
    folder = write_carray(tmp_path / "a", values, frame=frame)
    end_zeroed(folder / "data" / "__2.blp", least)
    (text,) = found_when_opened(pack(folder, tmp_path / "packed"))
    assert "1 of 4 chunk files end in zeros" in text
    assert "the first is __2.blp" in text
    end_zeroed(folder / "data" / "__3.blp", 2048)
    assert "2 of 4 chunk files" in found_when_opened(pack(folder, tmp_path / "again"))[0]


@pytest.mark.parametrize(("values", "frame", "least"), FRAMES.values(), ids=list(FRAMES))
def test_fewer_zeros_at_the_end_are_nothing_odd(tmp_path, values, frame, least):
    folder = write_carray(tmp_path / "a", values, frame=frame)
    end_zeroed(folder / "data" / "__2.blp", least - 9)
    assert found_when_opened(folder) == []


@pytest.mark.parametrize("pack", PACKERS.values(), ids=list(PACKERS))
@pytest.mark.parametrize("level", [0, 5])
@pytest.mark.parametrize("codec", ["blosclz", "lz4", "zlib", "zstd"])
def test_what_is_really_black_is_not_warned_of(tmp_path, level, codec, pack):
    black = np.zeros((40, 3000), np.float32)
    folder = write_carray(
        tmp_path / "a", black, frame=lambda part: blosc_frame(part, codec=codec, level=level)
    )
    assert found_when_opened(pack(folder, tmp_path / "packed")) == []


def test_zeros_behind_a_frame_are_warned_of_as_such(tmp_path):
    folder = write_carray(tmp_path / "a", COMPRESSIBLE)
    chunk = folder / "data" / "__1.blp"
    chunk.write_bytes(chunk.read_bytes() + bytes(1000))
    (text,) = found_when_opened(folder)
    assert "longer than the frames in them" in text


def test_of_the_kit_only_the_zeroed_end_is_warned_of(kit):
    warned = []
    for name, case in load_cases().items():
        if case["result"] in ("ok", "known-writer-bug") or name == "bad_zero_filled_tail":
            report = check_bcolz(kit / case.get("archive", name), decode=False, allow_pickle=True)
            if "end in zeros" in " ".join(report.notes):
                warned.append(name)
    assert warned == ["bad_zero_filled_tail"]
