"""Does every bad file get an error of ours that says what and where, and what to do?"""

from __future__ import annotations

import errno
import os
import pickle
import stat
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

import chunkstore as cs
from tests.store.stores import check_file, names, write
from tests.support import require

READERS = {
    "open": cs.open,
    "load": cs.load,
    "append": cs.append,
    "verify": cs.verify,
    "compact": cs.compact,
    "repair": lambda path: cs.repair(path, f"{path}.repaired"),
}


def missing(path):
    pass


def directory(path):
    path.mkdir()
    (path / "zarr.json").write_text("{}")


def below_a_file(path):
    path.parent.rmdir()
    path.parent.write_bytes(b"")


def pipe(path):
    os.mkfifo(path)


def empty(path):
    path.write_bytes(b"")


def text(path):
    path.write_text("epoch,loss\n" * 50)


def an_hdf5_file(path):
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(2000))


def an_empty_zip(path):
    path.write_bytes(b"PK\5\6" + bytes(18))


def cut_at_the_start(path):
    write(path, {"y": np.arange(100)})
    os.truncate(path, 300)


def being_created(path):
    write(path, {"y": np.arange(100)})
    path.rename(f"{path}.partial")


BAD = {
    missing: (FileNotFoundError, errno.ENOENT, "there is no such file"),
    directory: (IsADirectoryError, errno.EISDIR, "this is a directory; .*`chunkstore import`"),
    below_a_file: (NotADirectoryError, errno.ENOTDIR, "cannot be reached"),
    pipe: (cs.FormatError, None, "a device or a pipe"),
    empty: (cs.FormatError, None, "empty"),
    text: (cs.FormatError, None, "no zip file"),
    an_hdf5_file: (cs.FormatError, None, "no zip file"),
    an_empty_zip: (cs.FormatError, None, "holds no zarr.json"),
    cut_at_the_start: (cs.IncompleteError, None, "cut short: .*before its first directory.*repair"),
    being_created: (cs.IncompleteError, None, r"not complete: .*\.partial .*resume=True.*repair"),
}


@pytest.fixture
def path(tmp_path):
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder" / "a.zarr.zip"


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
@pytest.mark.parametrize("reader", READERS)
def test_a_file_that_is_none_is_an_error_that_names_it_and_says_what_it_is(make, reader, path):
    make(path)
    kind, number, message = BAD[make]
    if reader == "verify" and kind in (cs.FormatError, cs.IncompleteError) and path.is_file():
        report = cs.verify(path)
        assert [problem.array for problem in report.problems] == [None]
        return
    if reader == "repair" and make is being_created:
        assert cs.repair(path, f"{path}.repaired").recovered_samples == 100
        return
    if reader == "repair" and kind in (cs.FormatError, cs.IncompleteError) and make is not pipe:
        kind, message = cs.FormatError, "nothing can be saved"
    before = names(path.parent) if path.parent.is_dir() else None
    with pytest.raises(cs.ChunkStoreError, match=message) as refusal:
        READERS[reader](path)
    if issubclass(kind, OSError) and kind is not NotADirectoryError:
        assert isinstance(refusal.value, kind)
    if number is not None:
        assert isinstance(refusal.value, OSError)
        assert refusal.value.errno == number
    assert str(path) in str(refusal.value)
    assert before is None or names(path.parent) == before


def without_rights(act):
    """Run in a child without root's rights; return the error that it raised."""
    if not hasattr(os, "fork"):
        pytest.skip("this system does not fork")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            outcome = None
            try:
                act()
            except Exception as error:  # noqa: BLE001 - travels to the test
                outcome = error
            os.write(writing, pickle.dumps(outcome))
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        data = file.read()
    os.waitpid(child, 0)
    return pickle.loads(data)


@pytest.fixture
def reachable(tmp_path):
    """A folder that every user can reach."""
    place = tmp_path
    while any(not parent.stat().st_mode & stat.S_IXOTH for parent in (place, *place.parents)):
        place = place.parent
    with tempfile.TemporaryDirectory(dir=place) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("reader", READERS)
def test_a_file_that_may_not_be_read_is_a_permission_error(reader, reachable):
    path = write(reachable / "a.zarr.zip", {"y": np.arange(9)})
    path.chmod(0)
    error = without_rights(lambda: READERS[reader](path))
    assert isinstance(error, cs.ChunkStoreError)
    assert isinstance(error, PermissionError)
    assert error.errno == errno.EACCES
    assert str(path) in str(error)
    reachable.chmod(0o700)
    error = without_rights(lambda: READERS[reader](path))
    assert isinstance(error, PermissionError), "a folder that may not be entered is not empty"
    assert isinstance(error, cs.ChunkStoreError)
    path.chmod(0o644)
    check_file(path, {"y": np.arange(9)})


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("act", [cs.create, cs.append, lambda p: cs.save(p, {"y": [1]})])
def test_a_folder_or_file_that_may_not_be_written_is_a_permission_error(act, reachable):
    path = write(reachable / "a.zarr.zip", {"y": np.arange(9)})
    path.chmod(0o444)
    target = path if act is cs.append else reachable / "b.zarr.zip"
    error = without_rights(lambda: act(target))
    assert isinstance(error, cs.ChunkStoreError)
    assert isinstance(error, PermissionError)
    assert error.errno == errno.EACCES
    assert str(target) in str(error)
    assert names(reachable) == ["a.zarr.zip"]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_file_that_may_only_be_read_is_read(reachable):
    path = write(reachable / "a.zarr.zip", {"y": np.arange(9)})
    path.chmod(0o444)
    reachable.chmod(0o555)

    def read():
        np.testing.assert_array_equal(cs.load(path)["y"], np.arange(9))
        if not cs.verify(path).ok:
            raise AssertionError

    assert without_rights(read) is None


def test_create_in_a_folder_that_is_not_there_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="the file cannot be created") as refusal:
        cs.create(tmp_path / "no" / "a.zarr.zip")
    assert isinstance(refusal.value, cs.ChunkStoreError)
    with pytest.raises(IsADirectoryError):
        cs.create(tmp_path)
    with pytest.raises(IsADirectoryError):
        cs.create(tmp_path, overwrite=True)
    assert names(tmp_path) == []


def test_an_error_travels_between_processes_with_its_place(path):
    with pytest.raises(cs.ChunkStoreError) as refusal:
        cs.open(path)
    error = pickle.loads(pickle.dumps(refusal.value))
    assert (type(error), str(error)) == (type(refusal.value), str(refusal.value))
    assert (error.errno, error.path) == (errno.ENOENT, str(path))


def other_file(folder, kind):
    place = folder / "out.zarr.zip"
    if kind == "npy":
        np.save(folder / "y.npy", np.arange(4))
        (folder / "y.npy").rename(place)
    elif kind == "npz":
        np.savez(folder / "y.npz", y=np.arange(4))
        (folder / "y.npz").rename(place)
    elif kind == "zip":
        with zipfile.ZipFile(place, "w") as archive:
            archive.mkdir("photos")
            archive.writestr("photos/1.png", b"...")
    else:
        place.write_text("labels\n")
    return place


@pytest.mark.parametrize("kind", ["npy", "npz", "zip", "text"])
def test_overwrite_replaces_no_file_that_is_no_store(tmp_path, kind):
    place = other_file(tmp_path, kind)
    content = place.read_bytes()
    source = tmp_path / "a.zarr.zip"
    cs.save(source, {"y": np.arange(3)})
    for replace in (
        lambda: cs.save(place, {"y": np.arange(3)}, overwrite=True),
        lambda: cs.compact(source, place, overwrite=True),
        lambda: cs.merge([source], place, overwrite=True),
        lambda: cs.recompress(source, place, codec="lz4", overwrite=True),
        lambda: cs.repair(source, place, overwrite=True),
    ):
        with pytest.raises(FileExistsError, match="is no store, and overwrite=True replaces only"):
            replace()
    assert place.read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr.zip", "out.zarr.zip"]


@pytest.mark.leaves_open("the event loop of zarr-python")
def test_overwrite_replaces_zips_of_zarr_python(tmp_path):
    zarr = require("zarr")
    for zarr_format in (2, 3):
        with zarr.storage.ZipStore(tmp_path / "a.zip", mode="w") as storage:
            group = zarr.create_group(storage, zarr_format=zarr_format)
            group.create_array("x", data=np.arange(10), chunks=5)
        cs.save(tmp_path / "a.zip", {"y": np.arange(3)}, overwrite=True)
        assert list(cs.load(tmp_path / "a.zip")) == ["y"]


def test_overwrite_replaces_a_store_a_cut_one_and_an_empty_file(tmp_path):
    place = tmp_path / "out.zarr.zip"
    place.touch()
    for length in (None, 60, 31, 200):
        cs.save(place, {"y": np.arange(3)}, overwrite=True)
        assert cs.load(place)["y"].tolist() == [0, 1, 2]
        if length is not None:
            os.truncate(place, length)
    cs.create(place, overwrite=True).close()  # a store of nothing
    cs.save(place, {"y": np.arange(3)}, overwrite=True)
