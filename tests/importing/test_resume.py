"""May an unfinished import be continued, replaced or begun anew, and what does the error say?"""

from __future__ import annotations

import threading
from typing import ClassVar

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.importing import comparing, run
from chunkstore.importing.parts import import_parts
from chunkstore.importing.run import ImportOptions, check_import, run_import
from tests.importing.sources import MemorySource, rows


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Some twenty checkpoints and blocks of a few samples."""
    monkeypatch.setattr(run, "_BLOCK_NBYTES", 100_000)
    monkeypatch.setattr(run, "_LEAST_BETWEEN_CHECKPOINTS_NBYTES", 0)


def options_of(**options):
    return ImportOptions(**{"chunk_nbytes": 50_000, **options})


def interrupt(out, *, at=200, bad=(), **options):
    with pytest.raises(KeyboardInterrupt):
        run_import(MemorySource(rows(300), bad=bad, stops_at=at), out, options_of(**options))


def reads_of(source):
    """Note the first sample of each block that a source reads."""
    firsts = []
    read = source.read
    source.read = lambda numbers, *, skips: (
        firsts.append(int(numbers[0])) or read(numbers, skips=skips)
    )
    return firsts


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"codec": "zstd"}, {"codec": "lz4"}, "storage.codec: 'zstd' there, 'lz4' here"),
        ({}, {"codec": "lz4"}, "storage.codec: 'zstd' there, 'lz4' here"),
        ({"level": 3}, {"level": 5}, "storage.level: 3 there, 5 here"),
        ({"typesize": 2}, {"typesize": 4}, "storage.typesize: 2 there, 4 here"),
        ({}, {"chunk_nbytes": 60_000}, "storage.chunk_nbytes: 50000 there, 60000 here"),
        ({}, {"chunk_length": 17}, "storage.chunk_length: None there, 17 here"),
        (
            {"attributes": {"k": 1}},
            {"attributes": {"k": 2}},
            "attributes.k: 1 there, 2 here",
        ),
        ({}, {"attributes": {"k": 2}}, "attributes.k: None there, 2 here"),
        ({"on_error": "skip"}, {"on_error": "fail"}, "on_error: 'skip' there, 'fail' here"),
    ],
)
def test_an_import_with_another_option_is_not_continued(tmp_path, first, second, message):
    out = tmp_path / "out.zarr.zip"
    interrupt(out, **first)
    before = (tmp_path / "out.zarr.zip.partial").read_bytes()
    for act in (run_import, check_import):
        with pytest.raises(FileExistsError, match=message) as caught:
            act(MemorySource(rows(300)), out, options_of(**second))
        assert "overwrite=True" in str(caught.value)
    assert (tmp_path / "out.zarr.zip.partial").read_bytes() == before
    run_import(MemorySource(rows(300)), out, options_of(**second, overwrite=True))
    whole = tmp_path / "whole.zarr.zip"
    run_import(MemorySource(rows(300)), whole, options_of(**second))
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("field", ["fingerprint", "name", "provenance", "kind"])
def test_an_import_of_another_source_is_not_continued(tmp_path, field):
    out = tmp_path / "out.zarr.zip"
    interrupt(out)
    other = MemorySource(rows(300))
    setattr(other, field, {"options": {"size": 4}} if field == "provenance" else "other")
    name = {"name": "source", "provenance": "options.size"}.get(field, field)
    with pytest.raises(FileExistsError, match=f"unfinished import with another {name}: "):
        run_import(other, out, options_of())


def test_an_import_of_another_order_is_not_continued(tmp_path):
    out = tmp_path / "out.zarr.zip"
    order = np.arange(300)[::-1]
    with pytest.raises(KeyboardInterrupt):
        run_import(
            MemorySource(rows(300), stops_at=100),
            out,
            options_of(),
            order=order,
            ordering={"shuffled": True, "seed": 1},
        )
    with pytest.raises(FileExistsError, match=r"another order\.shuffled: True there, False here"):
        run_import(MemorySource(rows(300)), out, options_of())


def test_an_import_that_failed_at_a_bad_sample_may_go_on_and_leave_it_out(tmp_path):
    out, whole = tmp_path / "out.zarr.zip", tmp_path / "whole.zarr.zip"
    with pytest.raises(ValueError, match="sample 222 cannot be read"):
        run_import(MemorySource(rows(300), bad=[222]), out, options_of())
    source = MemorySource(rows(300), bad=[222])
    firsts = reads_of(source)
    report = run_import(source, out, options_of(on_error="skip"))
    assert min(firsts) > 100
    assert [entry.number for entry in report.skipped] == [222]
    run_import(MemorySource(rows(300), bad=[222]), whole, options_of(on_error="skip"))
    with cs.open(out) as store, cs.open(whole) as expected:
        assert store.attributes == expected.attributes
        for name in expected:
            assert np.array_equal(store[name][:], expected[name][:])


def test_an_import_without_resume_begins_anew_over_its_own_unfinished_one(tmp_path):
    out = tmp_path / "out.zarr.zip"
    interrupt(out)
    source = MemorySource(rows(300))
    firsts = reads_of(source)
    run_import(source, out, options_of(resume=False, level=5))
    assert min(firsts) == 0
    with cs.open(out) as store:
        assert store["y"][:].tolist() == list(range(300))
    with pytest.raises(FileExistsError, match="the file exists already"):
        run_import(source, out, options_of(resume=False))


def test_an_import_without_resume_replaces_no_unfinished_one_of_another_source(tmp_path):
    out = tmp_path / "out.zarr.zip"
    interrupt(out)
    other = MemorySource(rows(300))
    other.name = "other"
    with pytest.raises(FileExistsError):
        run_import(other, out, options_of(resume=False))


def test_after_a_failed_comparison_the_same_call_begins_anew(tmp_path, monkeypatch):
    out = tmp_path / "out.zarr.zip"
    read_back = comparing._read_back

    def changed(array, start, *, length):
        samples = read_back(array, start, length=length).copy()
        samples[...] = np.zeros((), samples.dtype)
        return samples

    with monkeypatch.context() as patch:
        patch.setattr(comparing, "_read_back", changed)
        with pytest.raises(cs.CorruptionError, match="the same call begins anew"):
            run_import(MemorySource(rows(300)), out, options_of())
    assert not out.exists()
    source = MemorySource(rows(300))
    firsts = reads_of(source)
    report = run_import(source, out, options_of())
    assert min(firsts) == 0
    assert report.is_verified
    whole = tmp_path / "whole.zarr.zip"
    run_import(MemorySource(rows(300)), whole, options_of())
    assert out.read_bytes() == whole.read_bytes()


def test_unaligned_arrays_are_compared_too(tmp_path, monkeypatch):
    out = tmp_path / "out.zarr.zip"
    read_back = comparing._read_back

    def changed(array, start, *, length):
        samples = read_back(array, start, length=length).copy()
        if array.name == "mean":
            samples[0] += 1
        return samples

    monkeypatch.setattr(comparing, "_read_back", changed)
    source = MemorySource(rows(50), unaligned={"mean": np.ones(3)})
    with pytest.raises(cs.CorruptionError, match="array 'mean': the new file does not hold"):
        run_import(source, out, options_of())


def test_a_part_of_a_split_with_other_options_is_not_taken_for_finished(tmp_path):
    split = {"a": 0.5, "b": 0.5}
    arguments = {"shuffle": False, "split": split}
    import_parts(MemorySource(rows(100)), tmp_path, options_of(), **arguments)
    (tmp_path / "b.zarr.zip").unlink()
    with pytest.raises(FileExistsError, match=r"a\.zarr\.zip"):
        import_parts(MemorySource(rows(100)), tmp_path, options_of(level=7), **arguments)
    import_parts(MemorySource(rows(100)), tmp_path, options_of(), **arguments)
    assert (tmp_path / "b.zarr.zip").exists()


def test_an_interrupted_import_keeps_only_what_its_last_checkpoint_knows(tmp_path, monkeypatch):
    """More than the checkpoint knows would make the continued file end with other bytes."""
    monkeypatch.setattr(run, "_NUM_CHECKPOINTS", 2)
    out = tmp_path / "out.zarr.zip"
    interrupt(out, at=290, threads=1)
    with cs.open(str(out) + ".partial") as store:
        assert store.attributes["import"]["position"]["num_done"] == store.num_samples


def test_a_damaged_unfinished_file_can_be_replaced(tmp_path):
    out, partial = tmp_path / "out.zarr.zip", tmp_path / "out.zarr.zip.partial"
    interrupt(out)
    raw = bytearray(partial.read_bytes())
    # The last directory: its names are no names any more.
    start = raw.rindex(b"PK\x01\x02")
    raw[start + 4 : start + 46] = b"\xff" * 42
    partial.write_bytes(raw)
    with pytest.raises(cs.CorruptionError):
        cs.open(partial)
    with pytest.raises(FileExistsError):
        run_import(MemorySource(rows(300)), out, options_of())
    run_import(MemorySource(rows(300)), out, options_of(overwrite=True))
    with cs.open(out) as store:
        assert store["y"][:].tolist() == list(range(300))


def import_threads():
    return [t for t in threading.enumerate() if t.name.startswith("chunkstore-import")]


def test_no_thread_reads_on_while_an_error_of_the_writer_is_handled(tmp_path, monkeypatch):
    def full(self, arrays, *, owned=False):
        raise OSError("no space left on device")

    monkeypatch.setattr("chunkstore.store.writer.Writer.append_mapping", full)
    with pytest.raises(OSError, match="no space left") as caught:
        run_import(MemorySource(rows(300)), tmp_path / "out.zarr.zip", options_of())
    assert caught.tb is not None
    assert import_threads() == []


def test_chunks_of_very_many_arrays_are_smaller_unless_the_person_says(tmp_path):
    arrays = {f"c{i}": np.zeros(20, "f8") for i in range(100)}
    run_import(MemorySource(arrays), tmp_path / "a.zarr.zip", ImportOptions())
    run_import(MemorySource(arrays), tmp_path / "b.zarr.zip", ImportOptions(chunk_nbytes=1 << 20))
    with cs.open(tmp_path / "a.zarr.zip") as few, cs.open(tmp_path / "b.zarr.zip") as many:
        assert few["c0"].chunk_length == 65_536
        assert many["c0"].chunk_length == 131_072


class Described:
    """An array with attributes."""

    attributes: ClassVar = {"unit": "metre"}

    def __init__(self, values):
        self._values, self.shape, self.dtype = values, values.shape, values.dtype

    def __getitem__(self, key):
        return self._values[key]


def test_arrays_beside_the_samples_have_their_attributes_also_after_going_on(tmp_path, monkeypatch):
    out, whole = tmp_path / "out.zarr.zip", tmp_path / "whole.zarr.zip"
    unaligned = {"mean": Described(np.ones(3))}

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        # All is stored, and the file has not its name yet.
        patch.setattr(run, "compare", killed)
        with pytest.raises(KeyboardInterrupt):
            run_import(MemorySource(rows(300), unaligned=unaligned), out, options_of())
    run_import(MemorySource(rows(300), unaligned=unaligned), out, options_of())
    run_import(MemorySource(rows(300), unaligned=unaligned), whole, options_of())
    for path in (out, whole):
        with cs.open(path) as store:
            assert store["mean"].attributes == {"unit": "metre"}
            assert store["mean"][:].tolist() == [1, 1, 1]


def test_arrays_beside_the_samples_are_stored_as_asked_also_after_going_on(tmp_path):
    out, whole = tmp_path / "out.zarr.zip", tmp_path / "whole.zarr.zip"
    unaligned = {"mean": np.arange(60_000.0)}
    options = options_of(codec="lz4", level=7, typesize=16)
    with pytest.raises(KeyboardInterrupt):
        run_import(MemorySource(rows(300), stops_at=200, unaligned=unaligned), out, options)
    run_import(MemorySource(rows(300), unaligned=unaligned), out, options)
    run_import(MemorySource(rows(300), unaligned=unaligned), whole, options)
    with cs.open(out) as store, cs.open(whole) as expected:
        assert store["mean"].codec == expected["mean"].codec
        assert store["mean"].codec.startswith("blosc lz4-7")
        assert store["mean"].chunk_shape == expected["mean"].chunk_shape
    assert out.read_bytes() == whole.read_bytes()


def test_an_import_killed_before_its_first_checkpoint_goes_on(tmp_path, monkeypatch):
    out, partial = tmp_path / "out.zarr.zip", tmp_path / "out.zarr.zip.partial"
    left = []
    checkpoint = run._Run.checkpoint

    def noted(self):
        checkpoint(self)
        left.append(partial.read_bytes())

    with monkeypatch.context() as patch:
        patch.setattr(run._Run, "checkpoint", noted)
        run_import(MemorySource(rows(30)), out, options_of())
    whole, first = out.read_bytes(), left[0]
    lengths = {*range(6), 30, 31, 100, len(first) - 1, len(first), *range(7, len(first), 499)}
    for length in lengths:
        out.unlink()
        partial.write_bytes(first[:length])
        run_import(MemorySource(rows(30)), out, options_of())
        assert out.read_bytes() == whole, length


@pytest.mark.parametrize(
    "left", [b"my own notes", b"PK\3\4 and what is no zip" * 9], ids=["text", "zip"]
)
def test_what_no_import_left_is_not_dropped(tmp_path, left):
    out, partial = tmp_path / "out.zarr.zip", tmp_path / "out.zarr.zip.partial"
    partial.write_bytes(left)
    with pytest.raises(FileExistsError):
        run_import(MemorySource(rows(30)), out, options_of())
    with cs.create(tmp_path / "other", chunk_nbytes=50_000) as writer:
        writer.append(**rows(300))
        writer.flush()
        started = (tmp_path / "other.partial").read_bytes()
    partial.write_bytes(started[: len(started) // 2])
    with pytest.raises(FileExistsError):
        run_import(MemorySource(rows(30)), out, options_of())
