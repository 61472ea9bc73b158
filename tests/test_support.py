"""Do the checks that every test relies on catch what they are for?"""

from __future__ import annotations

import os
import tempfile
import threading

import pytest

from tests import support


@pytest.fixture
def temporary(tmp_path):
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.mark.skipif(not support.open_descriptors(), reason="this system does not list descriptors")
def test_a_descriptor_left_open_fails_the_test(temporary, tmp_path):
    path = tmp_path / "kept"
    path.write_bytes(b"")
    with (
        pytest.raises(pytest.fail.Exception, match=r"left behind: descriptor \d+: .*/kept"),
        support.no_leaks(temporary),
    ):
        descriptor = os.open(path, os.O_RDONLY)
    os.close(descriptor)


def test_a_thread_left_running_fails_the_test(temporary, monkeypatch):
    monkeypatch.setattr(support, "JOIN_SECONDS", 0.0)
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="forgotten")
    with (
        pytest.raises(pytest.fail.Exception, match="left behind: thread 'forgotten'"),
        support.no_leaks(temporary),
    ):
        thread.start()
    stop.set()
    thread.join()


def test_a_temporary_file_left_behind_fails_the_test(temporary):
    with (
        pytest.raises(pytest.fail.Exception, match=r"left behind: temporary file 'chunkstore_.*'"),
        support.no_leaks(temporary),
        tempfile.NamedTemporaryFile(prefix="chunkstore_", delete=False),
    ):
        pass


def test_what_is_closed_and_joined_in_time_is_no_leak(temporary, tmp_path):
    with support.no_leaks(temporary):
        thread = threading.Thread(target=(tmp_path / "written").touch)
        thread.start()


@pytest.mark.parametrize(
    ("environment", "outcome"),
    [
        pytest.param({}, pytest.skip.Exception, id="locally"),
        pytest.param({"CI": "true"}, pytest.fail.Exception, id="under-ci"),
        pytest.param(
            {"CI": "true", "CHUNKSTORE_REQUIRED": "numpy"}, pytest.skip.Exception, id="not-listed"
        ),
        pytest.param(
            {"CHUNKSTORE_REQUIRED": "numpy no_such_package"}, pytest.fail.Exception, id="listed"
        ),
        pytest.param({"CHUNKSTORE_REQUIRED": "all"}, pytest.fail.Exception, id="all"),
    ],
)
def test_a_missing_package_skips_or_fails_by_what_the_environment_promises(
    environment, outcome, monkeypatch
):
    for name in ("CI", "CHUNKSTORE_REQUIRED"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(outcome, match="no_such_package"):
        support.require("no_such_package.part")


def test_require_returns_the_module(require):
    assert require("os.path") is os.path
