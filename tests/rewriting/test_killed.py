"""Does work that was killed at any moment go on, and end with the bytes of work that was not?"""

from __future__ import annotations

import shutil

import pytest

import chunkstore as cs
from chunkstore import system
from chunkstore.container.writer import ContainerWriter
from chunkstore.rewriting import reading
from tests.rewriting.files import names_in, write_file
from tests.rewriting.killed import run_killed, use_small_steps

CALLS = {
    "exact": "cs.shuffle('in.zarr.zip', 'out.zarr.zip', seed=3, threads=2)",
    "quick": "cs.shuffle('in.zarr.zip', 'out.zarr.zip', seed=3, quick=True, memory='1MiB')",
    "undo": "cs.unshuffle('mixed.zarr.zip', 'out.zarr.zip')",
    "recompress": "cs.recompress('in.zarr.zip', 'out.zarr.zip', codec='lz4', chunk_length=19)",
}
# Of all writes and syncs, after which part of them the process ends.
MOMENTS = (0.0, 0.02, 0.2, 0.45, 0.6, 0.8, 0.97)


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    use_small_steps(monkeypatch)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    write_file(folder / "in.zarr.zip", 700)
    cs.shuffle(folder / "in.zarr.zip", folder / "mixed.zarr.zip", seed=8)
    return folder


def run_here(call, folder, monkeypatch):
    monkeypatch.chdir(folder)
    eval(call, {"cs": cs})


@pytest.fixture(params=CALLS)
def call(request):
    return CALLS[request.param]


def prepared(sources, folder):
    folder.mkdir()
    for path in sources.iterdir():
        shutil.copy2(path, folder)
    return folder


@pytest.fixture
def whole(sources, tmp_path, call, monkeypatch):
    """Bytes of the file when nothing ends the work, and the number of its writes and syncs."""
    folder = prepared(sources, tmp_path / "whole")
    count = [0]

    def counted(function):
        def call(*arguments, **options):
            count[0] += 1
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patched:
        for name in ("pwrite", "sync_data", "sync_folder"):
            patched.setattr(system.calls, name, counted(getattr(system.calls, name)))
        patched.setattr(ContainerWriter, "rename", counted(ContainerWriter.rename))
        run_here(call, folder, patched)
    return (folder / "out.zarr.zip").read_bytes(), count[0]


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_same_call_goes_on_after_a_kill(sources, tmp_path, call, whole, moment, monkeypatch):
    content, num_events = whole
    folder = prepared(sources, tmp_path / "killed")
    assert run_killed(call, folder, events=int(moment * num_events))
    assert "out.zarr.zip" not in names_in(folder)
    run_here(call, folder, monkeypatch)
    assert (folder / "out.zarr.zip").read_bytes() == content
    assert names_in(folder) == ["in.zarr.zip", "mixed.zarr.zip", "out.zarr.zip"]


def test_work_that_is_killed_before_the_file_gets_its_name_only_names_it(
    sources, tmp_path, call, whole, monkeypatch
):
    content, num_events = whole
    folder = prepared(sources, tmp_path / "killed")
    # What is left is the rename, and to bring the folder to the device.
    assert run_killed(call, folder, events=num_events - 2)
    assert "out.zarr.zip.partial" in names_in(folder)
    monkeypatch.setattr(reading.SampleReader, "read", lambda *_: pytest.fail("read again"))
    run_here(call, folder, monkeypatch)
    assert (folder / "out.zarr.zip").read_bytes() == content


def test_work_that_is_killed_again_and_again_comes_to_its_end(sources, tmp_path, call, whole):
    content, num_events = whole
    folder = prepared(sources, tmp_path / "killed")
    num_kills = 0
    while run_killed(call, folder, events=num_events // 3 + 7 * num_kills):
        num_kills += 1
        assert num_kills < 20
    assert num_kills >= 2
    assert (folder / "out.zarr.zip").read_bytes() == content
    assert names_in(folder) == ["in.zarr.zip", "mixed.zarr.zip", "out.zarr.zip"]


@pytest.mark.parametrize("call", ["exact"], indirect=True)
def test_samples_that_were_dealt_are_not_read_again(sources, tmp_path, call, whole, monkeypatch):
    _, num_events = whole
    folder = prepared(sources, tmp_path / "killed")
    # Behind the middle all samples lie in piles.
    assert run_killed(call, folder, events=num_events * 3 // 4)
    assert "out.zarr.zip.piles.partial" in names_in(folder)
    reads = []
    read = reading.SampleReader.read

    def noted(self, start, stop):
        reads.append((start, stop))
        return read(self, start, stop)

    monkeypatch.setattr(reading.SampleReader, "read", noted)
    run_here(call, folder, monkeypatch)
    assert reads == []


@pytest.mark.parametrize("call", ["exact"], indirect=True)
def test_work_of_another_seed_is_not_gone_on_with(sources, tmp_path, call, whole, monkeypatch):
    _, num_events = whole
    folder = prepared(sources, tmp_path / "killed")
    assert run_killed(call, folder, events=num_events * 3 // 4)
    monkeypatch.chdir(folder)
    with pytest.raises(FileExistsError, match=r"order\.seed: 3 there, 4 here"):
        cs.shuffle("in.zarr.zip", "out.zarr.zip", seed=4)
    cs.shuffle("in.zarr.zip", "out.zarr.zip", seed=4, overwrite=True)
    cs.shuffle("in.zarr.zip", "other.zarr.zip", seed=4)
    assert (
        cs.load("out.zarr.zip")["labels"].tolist() == cs.load("other.zarr.zip")["labels"].tolist()
    )
    assert names_in(folder) == ["in.zarr.zip", "mixed.zarr.zip", "other.zarr.zip", "out.zarr.zip"]


@pytest.mark.parametrize("call", ["exact"], indirect=True)
def test_without_resume_everything_is_done_anew(sources, tmp_path, call, whole, monkeypatch):
    content, num_events = whole
    folder = prepared(sources, tmp_path / "killed")
    assert run_killed(call, folder, events=num_events * 3 // 4)
    monkeypatch.chdir(folder)
    cs.shuffle("in.zarr.zip", "out.zarr.zip", seed=3, threads=2, resume=False)
    assert (folder / "out.zarr.zip").read_bytes() == content
