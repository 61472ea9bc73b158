"""Do the portable calls do what the native ones do?"""

from __future__ import annotations

import errno
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore import system
from chunkstore.system import DIRECT_ALIGNMENT, PortableCalls, ReadFile

pytestmark = pytest.mark.usefixtures("system_calls")


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 400))
def test_a_read_returns_what_is_there_and_no_more(tmp_path_factory, content, nbytes, offset):
    path = tmp_path_factory.mktemp("files") / "file"
    path.write_bytes(content)
    file = ReadFile(str(path))
    assert file.size() == len(content)
    assert file.read(nbytes, offset) == content[offset : offset + nbytes]
    file.close()


@given(st.lists(st.binary(max_size=20), max_size=5), st.integers(0, 50))
def test_pieces_are_written_one_behind_the_other(tmp_path_factory, pieces, offset):
    path = tmp_path_factory.mktemp("files") / "file"
    path.write_bytes(b"." * 200)
    descriptor = system.open_for_writing(str(path), create=False)
    joined = b"".join(pieces)
    assert system.write_at(descriptor, list(pieces), offset) == len(joined)
    os.close(descriptor)
    raw = path.read_bytes()
    assert raw == b"." * offset + joined + b"." * (200 - offset - len(joined))


def test_calls_that_move_few_bytes_at_a_time_are_repeated(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    read, write = system.calls.pread_into, system.calls.pwrite
    monkeypatch.setattr(system.calls, "pread_into", lambda d, b, o: read(d, b[:7], o))
    monkeypatch.setattr(system.calls, "pwrite", lambda d, b, o: write(d, b[:7], o))
    content = bytes(range(100))
    descriptor = system.open_for_writing(str(path), create=False)
    assert system.write_at(descriptor, [content[:50], memoryview(content)[50:]], 0) == 100
    os.close(descriptor)
    file = ReadFile(str(path))
    assert file.read(200, 0) == content
    file.close()


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 3 * 4096 + 5])
def test_reads_past_the_page_cache_equal_buffered_ones(tmp_path, size):
    path = tmp_path / "file"
    content = os.urandom(size)
    path.write_bytes(content)
    file = ReadFile(str(path))
    for first in range(0, size + DIRECT_ALIGNMENT, DIRECT_ALIGNMENT):
        buffer = system.calls.aligned_buffer(2 * DIRECT_ALIGNMENT)
        got = file.read_direct_into(buffer, first)
        assert bytes(buffer[:got]) == content[first : first + 2 * DIRECT_ALIGNMENT]
    file.close()
    file.close()


def test_a_direct_read_never_reaches_another_file_of_the_same_name(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"a" * 4096)
    file = ReadFile(str(path))
    path.rename(tmp_path / "moved")
    path.write_bytes(b"b" * 4096)
    buffer = system.calls.aligned_buffer(DIRECT_ALIGNMENT)
    assert file.read_direct_into(buffer, 0) == 4096
    assert bytes(buffer) == b"a" * 4096
    file.close()


@pytest.mark.parametrize("nbytes", [1, 4095, 4096, 10_000])
def test_buffers_begin_on_a_page_and_are_zero(nbytes):
    import ctypes

    buffer = system.calls.aligned_buffer(nbytes)
    assert buffer.nbytes == nbytes
    assert bytes(buffer) == bytes(nbytes)
    assert ctypes.addressof(ctypes.c_char.from_buffer(buffer)) % DIRECT_ALIGNMENT == 0


def test_a_missing_file_and_a_folder_are_refused_and_leave_nothing_open(tmp_path):
    with pytest.raises(FileNotFoundError):
        ReadFile(str(tmp_path / "none"))
    with pytest.raises(IsADirectoryError):
        ReadFile(str(tmp_path))


def test_a_closed_file_is_the_systems_error(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"a")
    file = ReadFile(str(path))
    file.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        file.read(1, 0)


def test_threads_that_share_a_file_read_their_own_places(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"".join(b"%04d" % i for i in range(5000)))
    file = ReadFile(str(path))
    wrong = []

    def work(first):
        wrong.extend(i for i in range(first, 5000, 4) if file.read(4, 4 * i) != b"%04d" % i)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.close()
    assert not wrong


def test_there_is_a_core_and_a_folder_can_be_synced(tmp_path):
    assert 1 <= system.calls.available_cores() <= (os.cpu_count() or 1)
    system.calls.sync_folder(str(tmp_path))


def test_a_file_system_without_locks_gets_a_lock_file(tmp_path, monkeypatch, system_calls):
    if system_calls == "native":
        fcntl = pytest.importorskip("fcntl")

        def refuse(*_):
            raise OSError(errno.ENOLCK, "no locks here")

        monkeypatch.setattr(fcntl, "flock", refuse)
    path = tmp_path / "file"
    descriptor = system.open_for_writing(str(path), create=True)
    unlock = system.calls.try_lock(descriptor, str(path))
    assert (tmp_path / "file.lock").read_text() == f"{os.getpid()}\n"
    assert system.calls.try_lock(descriptor, str(path)) is None
    unlock()
    unlock()
    assert not (tmp_path / "file.lock").exists()
    os.close(descriptor)


def test_a_replaced_table_is_put_back(system_calls):
    table = system.calls

    def fail_inside():
        with system.replaced_calls(PortableCalls()):
            assert system.calls is not table
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail_inside()
    assert system.calls is table
