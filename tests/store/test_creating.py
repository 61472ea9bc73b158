"""How does a file come into being, who may write it, and what if its writer stops?"""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
import signal
import threading
import zipfile

import numpy as np
import pytest

import chunkstore as cs
from chunkstore import system
from chunkstore.container.writer import ContainerWriter
from tests import support
from tests.store.stores import check_file, entry_place, names, python, run_python, write

Y = np.arange(50)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.zarr.zip"


class Stop(Exception):
    """Leaves a ``with`` block."""


def leave_partial(path, *, flushed=30, more=0):
    """Leave a partial file as a killed writer does."""
    code = """if True:
        import os, sys, numpy as np, chunkstore as cs
        w = cs.create(sys.argv[1], arrays={"y": cs.ArraySpec("i8", chunk_length=8)}, overwrite=True)
        n, m = int(sys.argv[2]), int(sys.argv[3])
        if n:
            w.append(y=np.arange(n))
            w.flush()
        w.append(y=np.arange(n, n + m))
        os._exit(0)
    """
    run_python(code, path, flushed, more)


# --------------------------------------------------------------------------- partial files


def test_a_file_has_its_name_only_when_it_is_complete(path, tmp_path):
    with cs.create(path) as writer:
        writer.append(y=Y)
        assert names(tmp_path) == ["a.zarr.zip.partial"]
        writer.flush()
        assert names(tmp_path) == ["a.zarr.zip.partial"]
        assert repr(writer) == f"<chunkstore.Writer '{path}' open num_samples=50>"
    assert names(tmp_path) == ["a.zarr.zip"]
    writer.close()
    writer.abort()
    with pytest.raises(ValueError, match=r"a\.zarr\.zip: the writer is closed"):
        writer.append(y=Y)
    check_file(path, {"y": Y})


def test_opening_a_name_that_is_being_written_names_the_partial_file(path):
    with cs.create(path) as writer:
        writer.append(y=Y)
        with pytest.raises(cs.IncompleteError) as refusal:
            cs.open(path)
        for words in (f"{path}.partial", "resume=True", "chunkstore repair"):
            assert words in str(refusal.value)
        with pytest.raises(cs.IncompleteError):
            cs.append(path)
        with pytest.raises(cs.IncompleteError):
            cs.verify(path)
        with pytest.raises(cs.IncompleteError):
            cs.compact(path)
    cs.open(path).close()


def test_create_keeps_a_file_that_is_there_unless_told_to_overwrite(path, tmp_path):
    write(path, {"y": Y})
    with pytest.raises(FileExistsError, match=r"overwrite=True replaces it, .*append continues"):
        cs.create(path)
    with cs.create(path, overwrite=True) as writer:
        writer.append(y=Y[:3])
        check_file(path, {"y": Y})  # until the new one is complete
    check_file(path, {"y": Y[:3]})
    assert names(tmp_path) == ["a.zarr.zip"]


def test_create_keeps_a_partial_file_unless_told_to_overwrite(path, tmp_path):
    leave_partial(path)
    with pytest.raises(FileExistsError, match=r"never finished and left .*\.partial.*resume=True"):
        cs.create(path)
    with cs.append(path, resume=True) as writer:
        assert writer.num_samples == 30
    check_file(path, {"y": Y[:30]})
    path.unlink()
    leave_partial(path)
    with cs.create(path, overwrite=True) as writer:
        writer.append(z=Y)
    check_file(path, {"z": Y})
    assert names(tmp_path) == ["a.zarr.zip"]


def test_a_file_that_appears_while_another_is_written_is_not_overwritten(path, tmp_path):
    writer = cs.create(path)
    writer.append(y=Y)
    path.write_bytes(b"somebody else's")
    with pytest.raises(FileExistsError, match=r"cannot be given its final name"):
        writer.close()
    assert path.read_bytes() == b"somebody else's"
    path.unlink()
    # Nothing is lost: the partial file is a whole one.
    with cs.append(path, resume=True) as writer:
        assert writer.num_samples == 50
    check_file(path, {"y": Y})
    assert names(tmp_path) == ["a.zarr.zip"]


def test_an_exception_leaves_what_was_appended_in_the_partial_file(path, tmp_path):
    with contextlib.suppress(Stop), cs.create(path) as writer:
        writer.append(y=Y)
        raise Stop
    assert names(tmp_path) == ["a.zarr.zip.partial"]
    with cs.append(path, resume=True) as writer:
        assert writer.num_samples == 50
        writer.append(y=Y)
    check_file(path, {"y": np.concatenate([Y, Y])})


def test_an_exception_before_the_first_sample_leaves_nothing(path, tmp_path):
    with pytest.raises(Stop), cs.create(path, arrays={"y": cs.ArraySpec("i8")}):
        raise Stop
    assert names(tmp_path) == []
    cs.create(path, arrays={"y": cs.ArraySpec("i8")}).abort()
    assert names(tmp_path) == []
    with pytest.raises(TypeError), cs.create(path) as writer:
        writer.append(y=np.array([object()]))
    assert names(tmp_path) == []


def test_abort_drops_what_was_not_flushed(path, tmp_path):
    writer = cs.create(path)
    writer.append(y=Y[:20])
    writer.flush()
    writer.append(y=Y[20:])
    writer.abort()
    with cs.append(path, resume=True) as writer:
        assert writer.num_samples == 20
    writer = cs.append(path)
    writer.append(y=Y)
    writer.put("z", np.zeros(9), aligned=False)
    writer.abort()
    check_file(path, {"y": Y[:20]})
    assert names(tmp_path) == ["a.zarr.zip"]


def test_an_exception_in_an_append_goes_back_to_the_last_flush(path):
    write(path, {"y": Y})
    with contextlib.suppress(Stop), cs.append(path) as writer:
        writer.append(y=Y)
        writer.flush()
        writer.append(y=Y)
        raise Stop
    check_file(path, {"y": np.concatenate([Y, Y])})


@pytest.mark.parametrize("flushed", [0, 30, 32])
@pytest.mark.parametrize("more", [0, 5, 20])
def test_resume_goes_on_from_the_last_flush(flushed, more, path, tmp_path):
    leave_partial(path, flushed=flushed, more=more)
    with cs.append(path, resume=True) as writer:
        assert writer.num_samples == flushed
        assert writer.chunk_length == 8
        writer.append(y=Y[flushed:])
    check_file(path, {"y": Y})
    assert names(tmp_path) == ["a.zarr.zip"]


@pytest.mark.parametrize("length", [0, 3, 30, 200, 700, 1500])
def test_resume_of_a_partial_file_cut_before_its_first_flush_begins_again(length, path):
    leave_partial(path, flushed=0, more=20)
    partial = f"{path}.partial"
    os.truncate(partial, length)
    with cs.append(path, resume=True) as writer:
        assert writer.num_samples == 0
        writer.append(y=Y)
    check_file(path, {"y": Y})


def test_resume_of_a_finished_file_continues_it(path):
    write(path, {"y": Y})
    with cs.append(path, resume=True) as writer:
        writer.append(y=Y)
    check_file(path, {"y": np.concatenate([Y, Y])})
    with pytest.raises(FileNotFoundError):
        cs.append(path.with_name("b.zarr.zip"), resume=True)


def test_what_a_partial_file_holds_after_a_flush_can_be_read_from_it(path):
    leave_partial(path)
    with cs.open(f"{path}.partial") as store:
        np.testing.assert_array_equal(store["y"][...], Y[:30])


# --------------------------------------------------------------------------- what append refuses


def test_append_says_what_is_wrong_with_a_file_that_it_cannot_continue(path, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        cs.append(path)
    with pytest.raises(IsADirectoryError, match="this is a directory"):
        cs.append(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(cs.FormatError, match="empty"):
        cs.append(path)
    path.write_bytes(b"no zip at all, but text")
    with pytest.raises(cs.FormatError, match="no zip file"):
        cs.append(path)
    assert path.read_bytes() == b"no zip at all, but text"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("zarr.json", '{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    before = path.read_bytes()
    with pytest.raises(cs.UnsupportedError, match="only files written by chunkstore"):
        cs.append(path)
    assert path.read_bytes() == before


def test_append_to_a_damaged_file_changes_nothing(path):
    write(path, {"y": Y}, chunk_length=8)
    _, data, _ = entry_place(path, "zarr.json")
    with path.open("r+b") as file:
        file.seek(data + 3)
        file.write(b"?")
    before = path.read_bytes()
    with pytest.raises(cs.CorruptionError):
        cs.append(path)
    assert path.read_bytes() == before


def test_appended_arrays_keep_their_codec_chunks_and_attributes(path):
    spec = cs.ArraySpec("f4", (2,), codec="lz4", level=7, chunk_length=6, attributes={"unit": "m"})
    x = np.arange(40, dtype="f4").reshape(20, 2)
    with cs.create(path, arrays={"x": spec}) as writer:
        writer.append(x=x[:11])
    with cs.append(path, codec="gzip") as writer:
        assert writer.specs["x"].chunk_length == 6
        writer.append(x=x[11:])
        writer.put("z", x)
    check_file(path, {"x": x, "z": x})
    with cs.open(path) as store:
        assert store["x"].codec.startswith("blosc lz4-7")
        assert store["x"].attributes == {"unit": "m"}
        assert store["z"].codec.startswith("gzip")


# --------------------------------------------------------------------------- one writer


@pytest.fixture(params=[system.NativeCalls, system.PortableCalls])
def _each_system(request):
    with system.replaced_calls(request.param()):
        yield


@pytest.mark.usefixtures("_each_system")
def test_a_second_writer_is_refused_and_the_first_goes_on(path):
    with cs.create(path) as writer:
        writer.append(y=Y)
        for second in (
            lambda: cs.append(path, resume=True),
            lambda: cs.create(path, overwrite=True),
        ):
            with pytest.raises(cs.LockedError, match="another writer has the file"):
                second()
        writer.append(y=Y)
    check_file(path, {"y": np.concatenate([Y, Y])})
    with cs.append(path):
        with pytest.raises(cs.LockedError):
            cs.append(path)
        with pytest.raises(cs.LockedError):
            cs.compact(path)
        check_file(path, {"y": np.concatenate([Y, Y])})
    cs.append(path).close()


def test_a_second_writer_is_refused_in_another_thread_and_another_process(path):
    refused = []

    def second():
        try:
            cs.append(path).abort()
        except cs.LockedError as error:
            refused.append(str(error))

    write(path, {"y": Y})
    code = """if True:
        import sys, chunkstore as cs
        try:
            cs.append(sys.argv[1])
        except cs.LockedError:
            print("refused")
    """
    with cs.append(path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        assert run_python(code, path) == "refused\n"
    assert len(refused) == 1
    assert run_python(code, path) == ""


def test_the_lock_of_a_killed_writer_is_free(path):
    write(path, {"y": Y})
    child = python(
        "import sys, time, chunkstore as cs\nw = cs.append(sys.argv[1])\n"
        "print('ready', flush=True)\ntime.sleep(60)",
        path,
    )
    assert child.stdout.readline() == "ready\n"
    with pytest.raises(cs.LockedError):
        cs.append(path)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    with cs.append(path) as writer:
        writer.append(y=Y)


def test_a_reader_keeps_what_it_opened_while_a_writer_goes_on(path):
    write(path, {"y": Y}, chunk_length=8)
    with cs.open(path) as before, cs.append(path) as writer:
        writer.append(y=Y)
        np.testing.assert_array_equal(before["y"][...], Y)
        writer.flush()
        np.testing.assert_array_equal(before["y"][...], Y)
        assert before.num_samples == 50
        with cs.open(path) as after:
            assert after.num_samples == 100
        writer.append(y=np.arange(1000))
        with pytest.warns(cs.ChunkStoreWarning, match="interrupted or is still running"):
            during = cs.open(path)
        with during:
            np.testing.assert_array_equal(during["y"][...], np.concatenate([Y, Y]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_must_not_write_and_does_not_disturb_its_parent(path):
    with cs.create(path, arrays={"y": cs.ArraySpec("i8", chunk_length=8)}) as writer:
        writer.append(y=Y)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                for act in (lambda: writer.append(y=Y), writer.flush, lambda: writer.put("z", Y)):
                    with pytest.raises(ValueError, match="a forked child must not write"):
                        act()
                with pytest.raises(ValueError, match="a forked child must not write"):
                    writer.close()
                writer.abort()
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
        writer.append(y=Y)
    check_file(path, {"y": np.concatenate([Y, Y])})


def test_copying_or_tokenizing_a_writer_never_touches_the_file(path):
    tokenize = support.require("dask.base").tokenize
    with cs.create(path) as writer:
        writer.append(y=Y)
        writer.flush()
        before = path.with_name("a.zarr.zip.partial").read_bytes()
        for copied in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match=r"cannot be pickled or copied: it holds the lock"):
                copied(writer)
        assert tokenize(writer) == tokenize(writer)
        assert path.with_name("a.zarr.zip.partial").read_bytes() == before
        with cs.create(path.with_name("b.zarr.zip")) as other:
            assert tokenize(other) != tokenize(writer)
    check_file(path, {"y": Y})


# --------------------------------------------------------------------------- put


def test_put_adds_labels_later_and_replaces_whole_arrays(path):
    write(path, {"x": np.zeros((50, 3))}, chunk_length=8)
    with cs.append(path) as writer:
        writer.put("y", Y)
        writer.put("mean", np.ones((3, 7)), aligned=False, attributes={"of": "x"})
        writer.put("names", ["a", "bc"], aligned=False)
    expected = {
        "x": np.zeros((50, 3)),
        "y": Y,
        "mean": np.ones((3, 7)),
        "names": np.array(["a", "bc"]),
    }
    check_file(path, expected)
    with cs.open(path) as store:
        assert store.sample_arrays == ("x", "y")
        assert store["mean"].dimension_names == ("mean_0", "mean_1")
        assert store["mean"].attributes == {"of": "x"}
    with cs.append(path) as writer:
        writer.put("x", np.ones((50, 2), "f4"))
        writer.put("mean", np.zeros(0), aligned=False)
        writer.append(x=np.ones((1, 2), "f4"), y=[50])
    expected["x"] = np.ones((51, 2), "f4")
    expected["y"] = np.arange(51)
    expected["mean"] = np.zeros(0)
    check_file(path, expected)


def test_put_refuses_another_length_and_names_that_are_taken(path):
    write(path, {"group/x": np.zeros(50)})
    with cs.append(path) as writer:
        with pytest.raises(
            ValueError,
            match=r"array 'y' has 49 samples, but the file holds 50; .* aligned=False",
        ):
            writer.put("y", Y[:49])
        with pytest.raises(ValueError, match="one cannot lie inside the other"):
            writer.put("group", Y)
        with pytest.raises(ValueError, match="got a scalar"):
            writer.put("s", 5, aligned=False)
        with pytest.raises(TypeError, match="Python objects"):
            writer.put("o", np.array([object()]), aligned=False)
        with pytest.raises(ValueError, match="codec must be one of"):
            writer.put("y", Y, codec="lzma")
    check_file(path, {"group/x": np.zeros(50)})


def test_a_put_whose_source_fails_leaves_the_old_array_and_no_trace(path):
    class Failing:
        shape, dtype, chunk_length = (50,), np.dtype("i8"), 10

        def __getitem__(self, index):
            if index.start >= 20:
                raise Stop
            return -Y[index]

    spec = cs.ArraySpec("i8", chunk_length=5)
    with cs.create(path, arrays={"y": spec}) as writer:
        writer.append(y=Y)
    before = path.read_bytes()
    with cs.append(path) as writer, pytest.MonkeyPatch.context() as patch:
        patch.setattr("chunkstore.store.samples._BLOCK_NBYTES", 80)
        with pytest.raises(Stop):
            writer.put("y", Failing(), chunk_length=5)
    assert path.read_bytes() == before
    with cs.append(path) as writer, pytest.MonkeyPatch.context() as patch:
        patch.setattr("chunkstore.store.samples._BLOCK_NBYTES", 80)
        with pytest.raises(Stop):
            writer.put("y", Failing(), chunk_length=5)
        writer.append(y=Y)
    check_file(path, {"y": np.concatenate([Y, Y])})


def test_put_before_the_first_append_counts_no_samples(path):
    with cs.create(path) as writer:
        writer.put("mean", np.ones(3), aligned=False)
        assert writer.num_samples == 0
        writer.append(y=Y)
    check_file(path, {"mean": np.ones(3), "y": Y})
    with cs.open(path) as store:
        assert (store.num_samples, store.sample_arrays) == (50, ("y",))


# --------------------------------------------------------------------------- compact


def test_compact_drops_dead_bytes_and_keeps_everything_else(path, tmp_path):
    with cs.create(path, arrays={"y": cs.ArraySpec("i8", chunk_length=8)}) as writer:
        for start in range(0, 50, 5):
            writer.append(y=Y[start : start + 5])
            writer.flush()
        writer.put("z", Y)
        writer.put("z", -Y)
        writer.attributes["k"] = 1
    with cs.open(path) as store:
        assert store.dead_nbytes > 0
    report = cs.compact(path, tmp_path / "b.zarr.zip")
    assert report.nbytes_before == path.stat().st_size
    cs.compact(path)
    assert path.read_bytes() == (tmp_path / "b.zarr.zip").read_bytes()
    assert path.stat().st_size == report.nbytes_after < report.nbytes_before
    check_file(path, {"y": Y, "z": -Y})
    with cs.open(path) as store:
        assert store.dead_nbytes == 0
        assert store.attributes == {"k": 1}
    with cs.append(path) as writer:
        writer.append(y=Y, z=Y)
    check_file(path, {"y": np.concatenate([Y, Y]), "z": np.concatenate([-Y, Y])})
    assert names(tmp_path) == ["a.zarr.zip", "b.zarr.zip"]


def test_compact_never_drops_what_repair_could_save(path, tmp_path):
    with cs.create(path, arrays={"y": cs.ArraySpec("i8", chunk_length=10)}) as writer:
        writer.append(y=np.arange(100))
        writer.flush()
        flushed = path.with_name(path.name + ".partial").stat().st_size
        writer.append(y=np.arange(100, 1000))
    whole = path.read_bytes()
    cut = tmp_path / "cut.zarr.zip"
    cut.write_bytes(whole[: (flushed + len(whole)) // 2])
    before = cut.read_bytes()
    with pytest.raises(cs.IncompleteError, match=r"compact would drop them.*repair"):
        cs.compact(cut)
    assert cut.read_bytes() == before
    with pytest.warns(cs.ChunkStoreWarning, match="left out of the new file"):
        cs.compact(cut, tmp_path / "b.zarr.zip")
    assert cut.read_bytes() == before
    assert cs.repair(cut, tmp_path / "c.zarr.zip").recovered_samples > 100


def test_compact_of_a_damaged_file_replaces_nothing(path, tmp_path):
    write(path, {"y": Y}, chunk_length=8)
    _, data, _ = entry_place(path, "y/c/3")
    with path.open("r+b") as file:
        file.seek(data + 20)
        file.write(b"?")
    before = path.read_bytes()
    with pytest.raises(cs.CorruptionError, match=r"'y/c/3' at byte \d+: crc32 is"):
        cs.compact(path)
    assert path.read_bytes() == before
    assert names(tmp_path) == ["a.zarr.zip"]
    with pytest.raises(FileExistsError):
        cs.compact(path, write(tmp_path / "b.zarr.zip", {"y": Y}))


@pytest.mark.parametrize("changed", ["byte", "end"])
def test_compact_replaces_nothing_where_the_copy_is_not_what_was_read(
    path, tmp_path, monkeypatch, changed
):
    write(path, {"y": Y}, chunk_length=8)
    before = path.read_bytes()
    append_entry = ContainerWriter.append_entry

    def append_changed(self, key, data, crc):
        if key == b"y/c/1":
            data = bytearray(data)
            data[len(data) // 2 if changed == "byte" else -1] ^= 1
        return append_entry(self, key, data, crc)

    monkeypatch.setattr(ContainerWriter, "append_entry", append_changed)
    with pytest.raises(
        cs.CorruptionError, match=r"its copy cannot be read: crc32 is .*\[8, 16\) of array 'y'"
    ):
        cs.compact(path)
    assert path.read_bytes() == before
    assert names(tmp_path) == ["a.zarr.zip"]


def test_a_reader_of_the_old_file_goes_on_after_compact(path):
    write(path, {"y": Y}, chunk_length=8)
    with cs.open(path) as store:
        cs.compact(path)
        np.testing.assert_array_equal(store["y"][...], Y)
