"""Does a container grow without ever putting at risk what it holds?"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkstore import system
from chunkstore.container.reader import Container
from chunkstore.container.writer import ContainerWriter
from chunkstore.errors import ExistingFileError, LockedError, MissingFileError, SystemCallError
from tests import support
from tests.container.test_reader import entries_of, read_all
from tests.container.zips import append_checkpoint

ENTRIES = st.lists(
    st.dictionaries(
        st.from_regex(rb"[a-z]{1,4}(/c/[0-9]{1,3})?", fullmatch=True),
        st.binary(max_size=300),
        max_size=4,
    ),
    min_size=1,
    max_size=4,
)


def newest(listed, fresh):
    """Drop from ``listed`` the entries that ``fresh`` replaces."""
    listed[:] = [row for row in listed if row[0] not in fresh]


@pytest.mark.usefixtures("system_calls")
@settings(max_examples=20)
@given(ENTRIES)
def test_every_checkpoint_opens_and_no_byte_before_it_ever_changes(tmp_path_factory, steps):
    path = tmp_path_factory.mktemp("grown") / "a.zip"
    listed, wanted, before = [], {}, b""
    writer = ContainerWriter(str(path), create=True)
    for fresh in steps:
        newest(listed, fresh)
        append_checkpoint(writer, listed, fresh)
        wanted |= fresh
        raw = path.read_bytes()
        assert raw.startswith(before)
        assert writer.durable == len(raw)
        before = raw
        assert read_all(path) == wanted
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            assert {name.encode(): archive.read(name) for name in archive.namelist()} == wanted
    writer.close()


def test_the_same_entries_give_the_same_bytes(tmp_path):
    for name in ("a.zip", "b.zip"):
        writer = ContainerWriter(str(tmp_path / name), create=True)
        append_checkpoint(writer, [], {b"x/c/0": b"data", b"y/c/0": b"more"})
        writer.close()
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.skipif(not shutil.which("unzip"), reason="unzip is not installed here")
def test_unzip_finds_no_fault(tmp_path):
    path = tmp_path / "a.zip"
    writer = ContainerWriter(str(path), create=True)
    listed = []
    for i in range(3):
        append_checkpoint(writer, listed, {b"x/c/%d" % i: os.urandom(50)})
    writer.close()
    done = subprocess.run(["unzip", "-t", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "No errors detected" in done.stdout


@pytest.mark.usefixtures("system_calls")
def test_a_reader_keeps_seeing_the_directory_it_opened(tmp_path):
    path = tmp_path / "a.zip"
    writer = ContainerWriter(str(path), create=True)
    listed = []
    append_checkpoint(writer, listed, {b"x/c/0": b"old"})
    container = Container(str(path))
    newest(listed, {b"x/c/0"})
    append_checkpoint(writer, listed, {b"x/c/0": b"new", b"x/c/1": b"more"})
    writer.close()
    fields = entries_of(container)
    assert list(fields) == [b"x/c/0"]
    assert container.read_entry(b"x/c/0", **fields[b"x/c/0"]) == b"old"
    container.close()
    assert read_all(path) == {b"x/c/0": b"new", b"x/c/1": b"more"}


@pytest.mark.usefixtures("system_calls")
def test_what_stands_behind_the_checkpoint_is_cut_off(tmp_path):
    path = tmp_path / "a.zip"
    writer = ContainerWriter(str(path), create=True)
    listed = []
    append_checkpoint(writer, listed, {b"x/c/0": b"data"})
    stop = writer.durable
    writer.append_entry(b"x/c/1", b"never listed", 0)
    writer.close()
    assert path.stat().st_size > stop
    writer = ContainerWriter(str(path), create=False)
    writer.start_at(stop)
    assert path.stat().st_size == stop
    append_checkpoint(writer, listed, {b"x/c/2": b"listed"})
    writer.close()
    assert read_all(path) == {b"x/c/0": b"data", b"x/c/2": b"listed"}


class Recorded(system.NativeCalls):
    """Notes the order of writes and syncs."""

    def __init__(self):
        super().__init__()
        self.log = []

    def pwrite(self, descriptor, data, offset):
        self.log.append(bytes(data[:4]))
        return super().pwrite(descriptor, data, offset)

    def sync_data(self, descriptor):
        self.log.append("sync")
        super().sync_data(descriptor)


def test_entries_are_on_the_device_before_the_directory_and_that_before_the_report(tmp_path):
    with system.replaced_calls(Recorded()) as _:
        writer = ContainerWriter(str(tmp_path / "a.zip"), create=True)
        append_checkpoint(writer, [], {b"x": b"data", b"y": b"more"})
        log = system.calls.log
        writer.close()
    assert log == [b"PK\3\4", b"data", b"PK\3\4", b"more", "sync", b"PK\1\2", "sync"]


class Failing(system.NativeCalls):
    """A device that is full after some bytes, or whose sync fails."""

    def __init__(self, room, *, syncs=99):
        super().__init__()
        self.room, self.syncs = room, syncs

    def pwrite(self, descriptor, data, offset):
        if self.room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = super().pwrite(descriptor, data[: self.room], offset)
        self.room -= written
        return written

    def sync_data(self, descriptor):
        self.syncs -= 1
        if self.syncs < 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync_data(descriptor)


@pytest.mark.parametrize("step", [1, 7])
def test_a_device_that_is_full_at_any_byte_leaves_the_last_checkpoint(tmp_path, step):
    path = tmp_path / "a.zip"
    writer = ContainerWriter(str(path), create=True)
    first = []
    append_checkpoint(writer, first, {b"x/c/0": b"acknowledged"})
    stop = writer.durable
    writer.close()
    before = path.read_bytes()
    room = 0
    while True:
        with system.replaced_calls(Failing(room)):
            writer = ContainerWriter(str(path), create=False)
            writer.start_at(stop)
            refused = None
            try:
                append_checkpoint(writer, list(first), {b"x/c/1": b"d" * 30, b"x/c/2": b"e" * 9})
            except SystemCallError as error:
                refused = error
            writer.close()
        if refused is None:
            break
        assert refused.errno == errno.ENOSPC
        assert f"the last checkpoint ({stop} bytes) is kept" in str(refused)
        assert path.read_bytes() == before
        room += step
    assert room > 100
    assert set(read_all(path)) == {b"x/c/0", b"x/c/1", b"x/c/2"}


@pytest.mark.parametrize("syncs", [0, 1])
def test_a_sync_that_fails_is_never_reported_as_a_checkpoint(tmp_path, syncs):
    path = tmp_path / "a.zip"
    with system.replaced_calls(Failing(10_000, syncs=syncs)):
        writer = ContainerWriter(str(path), create=True)
        with pytest.raises(SystemCallError, match="cannot be made durable; nothing was") as caught:
            append_checkpoint(writer, [], {b"x/c/0": b"data"})
        assert caught.value.errno == errno.EIO
        # Nothing is acknowledged; the whole entry stays for a repair, the directory does not.
        assert (writer.durable, path.stat().st_size) == (0, 39)
        with pytest.raises(SystemCallError, match="cannot be made durable; nothing was"):
            writer.append_entry(b"x/c/1", b"more", 0)
        writer.close()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    done = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if not done or done.returncode:
        reason = f"no small tmpfs can be mounted here: {done.stderr if done else 'no mount'}"
        if support.is_continuous_integration():
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    yield folder
    subprocess.run([shutil.which("umount"), folder], check=True)


@pytest.mark.usefixtures("system_calls")
def test_a_full_disk_keeps_what_was_acknowledged(small_disk):
    path = small_disk / "a.zip"
    writer = ContainerWriter(str(path), create=True)
    listed, wanted = [], {}

    def fill():
        for i in range(100):
            data = os.urandom(3000)
            append_checkpoint(writer, listed, {b"x/c/%d" % i: data})
            wanted[b"x/c/%d" % i] = data

    with pytest.raises(SystemCallError, match="cannot be written; everything up to") as caught:
        fill()
    assert caught.value.errno == errno.ENOSPC
    assert path.stat().st_size == writer.durable
    writer.close()
    assert len(wanted) > 10
    assert read_all(path) == wanted


@pytest.mark.usefixtures("system_calls")
def test_a_second_writer_is_refused_until_the_first_is_closed(tmp_path):
    path = tmp_path / "a.zip"
    writer = ContainerWriter(str(path), create=True)
    append_checkpoint(writer, [], {b"x": b"data"})
    for _ in range(2):
        with pytest.raises(LockedError, match=r"a.zip: another writer has the file: one writer"):
            ContainerWriter(str(path), create=False)
    assert locked_in_another_process(path)
    writer.close()
    writer.close()
    assert not locked_in_another_process(path)
    ContainerWriter(str(path), create=False).close()
    assert [found.name for found in tmp_path.iterdir()] == ["a.zip"]


def locked_in_another_process(path):
    table = type(system.calls).__name__
    code = f"""if True:
        from chunkstore import system
        from chunkstore.container.writer import ContainerWriter
        from chunkstore.errors import LockedError
        with system.replaced_calls(system.{table}()):
            try:
                ContainerWriter({str(path)!r}, create=False).close()
            except LockedError:
                print("locked")
            else:
                print("free")
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=support.REPOSITORY,
    )
    return {"locked": True, "free": False}[done.stdout.strip()]


def test_a_lock_dies_with_its_owner(tmp_path):
    path = tmp_path / "a.zip"
    code = f"""if True:
        import os, signal
        from chunkstore.container.writer import ContainerWriter
        writer = ContainerWriter({str(path)!r}, create=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=support.REPOSITORY)
    assert done.returncode == -9
    ContainerWriter(str(path), create=False).close()


@pytest.mark.usefixtures("system_calls")
@pytest.mark.parametrize("is_replaced", [True, False], ids=["replaced", "removed"])
def test_a_writer_whose_file_lost_its_name_is_refused(tmp_path, monkeypatch, is_replaced):
    path = tmp_path / "a.zip"
    path.write_bytes(b"old")
    opened = system.open_for_writing

    def open_and_replace(name, *, create):
        descriptor = opened(name, create=create)
        path.rename(tmp_path / "moved.zip")
        if is_replaced:
            path.write_bytes(b"new")
        return descriptor

    monkeypatch.setattr(system, "open_for_writing", open_and_replace)
    with pytest.raises(LockedError):
        ContainerWriter(str(path), create=False)
    assert not (tmp_path / "a.zip.lock").exists()


def test_a_missing_or_existing_file_is_the_systems_error(tmp_path):
    with pytest.raises(MissingFileError, match="cannot be opened for writing"):
        ContainerWriter(str(tmp_path / "none.zip"), create=False)
    (tmp_path / "a.zip").write_bytes(b"kept")
    with pytest.raises(ExistingFileError, match="cannot be created"):
        ContainerWriter(str(tmp_path / "a.zip"), create=True)
    assert (tmp_path / "a.zip").read_bytes() == b"kept"


@pytest.mark.usefixtures("system_calls")
@pytest.mark.parametrize("links", [True, False], ids=["links", "no-links"])
def test_a_file_that_appeared_is_replaced_only_when_asked(tmp_path, monkeypatch, links):
    if not links:

        def refuse(*_):
            raise PermissionError(errno.EPERM, "no hard links here")

        monkeypatch.setattr(os, "link", refuse)
    final = tmp_path / "a.zip"
    writer = ContainerWriter(str(tmp_path / "a.zip.partial"), create=True)
    append_checkpoint(writer, [], {b"x": b"data"})
    final.write_bytes(b"appeared")
    with pytest.raises(ExistingFileError, match="cannot be given its final name"):
        writer.rename(str(final), overwrite=False)
    assert final.read_bytes() == b"appeared"
    writer.rename(str(final), overwrite=True)
    writer.close()
    assert read_all(final) == {b"x": b"data"}
    assert [found.name for found in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.usefixtures("system_calls")
def test_a_reserved_entry_is_filled_in_place(tmp_path):
    path = tmp_path / "a.zip"
    writer = ContainerWriter(str(path), create=True)
    empty = b" " * 20
    offset = writer.append_entry(b"zarr.json", empty, zlib.crc32(empty))
    position = writer.position
    filled = b"{}".ljust(20)
    writer.overwrite_entry(b"zarr.json", filled, zlib.crc32(filled), offset=offset)
    assert writer.position == position
    append_checkpoint(writer, [(b"zarr.json", offset, 20, zlib.crc32(filled))], {b"x": b"data"})
    writer.close()
    assert read_all(path) == {b"zarr.json": filled, b"x": b"data"}


def test_more_than_65535_entries_are_read_here_and_by_zipfile(tmp_path):
    path = tmp_path / "many.zip"
    writer = ContainerWriter(str(path), create=True)
    listed = []
    fresh = {b"x/c/%d" % i: b"" for i in range(65_600)}
    append_checkpoint(writer, listed, fresh)
    writer.close()
    container = Container(str(path))
    assert container.check_extents() == 0
    fields = entries_of(container)
    container.close()
    with zipfile.ZipFile(path) as archive:
        offsets = {info.filename.encode(): info.header_offset for info in archive.infolist()}
    assert offsets == {name: row["offset"] for name, row in fields.items()}
    assert list(offsets) == list(fresh)


def test_a_failed_writer_cuts_back_only_what_is_its_own(tmp_path):
    path = tmp_path / "a.zip"
    rng = np.random.default_rng(0)
    writer = ContainerWriter(str(path), create=True)
    append_checkpoint(writer, [], {b"x": rng.bytes(1000)})
    before = path.read_bytes()
    writer.append_entry(b"y", b"data", 0)
    writer.abandon()
    writer.close()
    assert path.read_bytes() == before
