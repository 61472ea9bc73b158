"""Does repair save exactly what is complete, and never a value that was not written?"""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.cli import main
from chunkstore.container.scan import walk
from chunkstore.store import replay
from chunkstore.system import ReadFile
from tests.store.stores import (
    check_equal,
    check_file,
    entry_place,
    flip,
    names,
    without_sync,
    write,
)

LENGTH = 4
SPECS = {
    "x": cs.ArraySpec("i8", (3,), chunk_length=LENGTH),
    "y": cs.ArraySpec("i8", chunk_length=2 * LENGTH),
}


@pytest.fixture(autouse=True)
def _without_sync():
    with without_sync():
        yield


def samples(start, stop, generation=0):
    """Values that say which sample they are, and of which version of their array."""
    numbers = np.arange(start, stop) + generation * 1_000_000
    return np.repeat(numbers[:, None], 3, axis=1), numbers.copy()


def grown_file(path):
    """A file with three checkpoints, the middle ones with chunks that are not full.

    Returns the states as ``(length of the file, number of samples)``.
    """
    states = []
    with cs.create(path, arrays=SPECS, codec="zstd") as writer:
        for start, stop in itertools.pairwise([0, 6, 13, 25]):
            x, y = samples(start, stop)
            writer.append(x=x, y=y)
            if stop < 25:
                writer.flush()
                states.append((path.with_name(path.name + ".partial").stat().st_size, stop))
    states.append((path.stat().st_size, 25))
    return states


def check_repaired(path, report):
    """The law: every saved sample is one that was written, and what is missing is reported."""
    with cs.open(path) as store:
        assert store.num_samples == report.recovered_samples
        if set(store) != {"x", "y"}:
            assert any("metadata is gone" in message for message in report.messages)
            return np.zeros(0, np.int64)
        x, y = store["x"][...], store["y"][...]
    assert (x == x[:, :1]).all(), "a sample is made of parts of several"
    np.testing.assert_array_equal(x[:, 0] % 1_000_000, y % 1_000_000)
    assert len(set(x[:, 0] // 1_000_000)) <= 1, "versions of an array are mixed"
    lost = {
        i for ranges in report.lost.values() for start, stop in ranges for i in range(start, stop)
    }
    kept = [i for i in range(report.num_samples) if i not in lost]
    assert (y % 1_000_000).tolist() == kept
    return y


def test_repair_of_a_sound_file_copies_it(tmp_path):
    path = tmp_path / "a.zarr.zip"
    grown_file(path)
    with cs.append(path) as writer:
        writer.attributes["k"] = [1]
        writer.put("mean", np.arange(7.0), aligned=False)
    report = cs.repair(path, tmp_path / "b.zarr.zip")
    assert (report.num_samples, report.recovered_samples, report.lost) == (25, 25, {})
    assert report.dropped_arrays == ()
    x, y = samples(0, 25)
    check_file(report.out, {"x": x, "y": y, "mean": np.arange(7.0)})
    with cs.open(report.out) as store:
        assert store.attributes == {"k": [1]}
        assert store.sample_arrays == ("x", "y")


def test_a_file_cut_anywhere_gives_the_last_checkpoint_and_the_complete_chunks_behind_it(tmp_path):
    path = tmp_path / "a.zarr.zip"
    states = grown_file(path)
    whole = path.read_bytes()
    cut = tmp_path / "cut.zarr.zip"
    seen, refused = set(), []
    with contextlib.closing(ReadFile(str(path))) as file:
        pieces = list(walk(file, 0, len(whole)))
    middles = [(piece.start + piece.stop) // 2 for piece in pieces]
    bounds = [piece.start + offset for piece in pieces for offset in (-1, 0, 1, 30)]
    for length in sorted({*middles, *bounds, len(whole) - 1} - {-1}):
        cut.write_bytes(whole[:length])
        try:
            report = cs.repair(cut, tmp_path / "out.zarr.zip", overwrite=True)
        except cs.FormatError as error:
            refused.append((length, str(error)))
            continue
        y = check_repaired(report.out, report)
        # Nothing is missing from the front, and nothing that was acknowledged.
        np.testing.assert_array_equal(y, np.arange(len(y)))
        acknowledged = max([n for nbytes, n in states if nbytes <= length], default=0)
        assert len(y) >= acknowledged
        seen.add(len(y))
    # Only where not even the metadata in front is complete.
    assert max(refused)[0] < 3000
    assert {text.partition(": ")[2].partition(":")[0] for _, text in refused} <= {
        "nothing can be saved"
    }
    # Checkpoints, and whole chunks of both arrays behind them (8, 16, 24).
    assert seen >= {0, 6, 13, 25}
    assert {8, 16, 24} & seen
    assert seen <= {0, 6, 8, 13, 16, 24, 25}


def test_a_flipped_bit_loses_at_most_the_chunk_that_it_is_in(tmp_path):
    path = tmp_path / "a.zarr.zip"
    grown_file(path)
    with cs.append(path) as writer:
        writer.put("x", samples(0, 25, generation=2)[0], chunk_length=LENGTH)
    pristine = path.read_bytes()
    with cs.open(path) as store:
        file_nbytes = store.file_nbytes
    rng = np.random.default_rng(0)
    damaged = tmp_path / "damaged.zarr.zip"
    for offset in rng.choice(file_nbytes, 120, replace=False):
        damaged.write_bytes(pristine)
        flip(damaged, int(offset), int(rng.integers(8)))
        report = cs.repair(damaged, tmp_path / "out.zarr.zip", overwrite=True)
        y = check_repaired(report.out, report)
        assert len(y) >= 25 - 2 * LENGTH, f"byte {offset} cost {report.lost}"
        with cs.open(report.out) as store:
            assert (store["x"][...] // 1_000_000 == 2).all(), (
                f"byte {offset} brought the old x back"
            )


HISTORIES = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 11)),
        st.tuples(st.just("flush"), st.just(0)),
        st.tuples(st.just("reopen"), st.just(0)),
        st.tuples(st.just("put"), st.just(0)),
        st.tuples(st.just("attributes"), st.integers(0, 3)),
    ),
    max_size=14,
)


def write_history(path, history):
    """Follow a history; return the number of samples and the version of x at its end."""
    generation = count = 0
    writer = cs.create(path, arrays=SPECS)
    try:
        for action, number in history:
            if action == "append":
                x, y = samples(count, count + number, generation)
                writer.append(x=x, y=y)
                count += number
            elif action == "flush":
                writer.flush()
            elif action == "reopen":
                writer.close()
                writer = cs.append(path)
            elif action == "put":
                generation += 1
                writer.put("x", samples(0, count, generation)[0], chunk_length=LENGTH)
            else:
                writer.attributes["number"] = number
        writer.close()
    finally:
        writer.abort()
    return count, generation


@given(history=HISTORIES, place=st.floats(0, 1), bit=st.integers(0, 7), data=st.data())
def test_whatever_was_done_to_a_file_damage_never_brings_up_other_values(
    history, place, bit, data, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("history")
    path = folder / "a.zarr.zip"
    count, generation = write_history(path, history)
    whole = path.read_bytes()
    damage = data.draw(st.sampled_from(["flip", "cut", "cut and flip", "cut the end"]))
    if damage == "cut the end":
        os.truncate(path, len(whole) - 1)
    if damage.startswith("cut and") or damage == "cut":
        os.truncate(path, int(place * (len(whole) - 1)))
    if damage.endswith("flip") and path.stat().st_size:
        flip(path, int(data.draw(st.floats(0, 1)) * (path.stat().st_size - 1)), bit)
    try:
        report = cs.repair(path, folder / "b.zarr.zip")
    except cs.FormatError:
        assert damage.startswith("cut")
        return
    y = check_repaired(report.out, report)
    if damage == "flip":
        with cs.open(report.out) as store:
            x = store["x"][:, 0]
        assert report.num_samples == count
        assert (x // 1_000_000 == generation).all(), "an array that was replaced came back"
        assert len(y) >= count - 2 * LENGTH
    if damage == "cut the end":
        assert y.tolist() == (np.arange(count) + y // 1_000_000 * 1_000_000).tolist()


def test_metadata_behind_a_damaged_root_says_how_many_samples_there_are(tmp_path):
    # One root stands directly behind another, and the metadata of the arrays behind both.
    path = tmp_path / "a.zarr.zip"
    write_history(path, [("put", 0), ("append", 1)])
    header, data, _ = entry_place(path, "zarr.json")
    for offset in (header + 20, data + 30):
        damaged = shutil.copy(path, tmp_path / "damaged.zarr.zip")
        flip(damaged, offset)
        report = cs.repair(damaged, tmp_path / "b.zarr.zip", overwrite=True)
        assert report.num_samples == 1
        assert check_repaired(report.out, report).tolist() == [1_000_000]


def test_an_array_that_was_replaced_never_comes_back_where_the_new_one_is_damaged(tmp_path):
    path = write(
        tmp_path / "a.zarr.zip", {"x": np.zeros((20, 3)), "y": np.arange(20)}, chunk_length=4
    )
    with cs.append(path) as writer:
        writer.put("x", np.ones((20, 3)), chunk_length=4)
    header, data, _ = entry_place(path, "x/c/2/0")
    for offset in (header, header + 20, header + 32, data + 5):
        damaged = shutil.copy(path, tmp_path / "damaged.zarr.zip")
        flip(damaged, offset)
        report = cs.repair(damaged, tmp_path / "b.zarr.zip", overwrite=True)
        with cs.open(report.out) as store:
            assert (store["x"][...] == 1).all()
        if offset == data + 5:
            assert report.lost == {"x": [(8, 12)]}


def test_a_damaged_chunk_in_the_middle_costs_its_samples_and_no_others(tmp_path):
    path = tmp_path / "a.zarr.zip"
    grown_file(path)
    _, data, _ = entry_place(path, "y/c/1")
    flip(path, data + 30)
    _, data, _ = entry_place(path, "x/c/5/0")
    flip(path, data + 30)
    report = cs.repair(path, tmp_path / "b.zarr.zip")
    assert report.lost == {"y": [(8, 16)], "x": [(20, 24)]}
    assert (report.num_samples, report.recovered_samples) == (25, 13)
    assert check_repaired(report.out, report).tolist() == [*range(8), *range(16, 20), 24]
    assert any("chunk 1 of array 'y'" in message for message in report.messages)
    assert report.to_json()["recovered_samples"] == 13


def test_an_unaligned_array_is_saved_whole_or_left_out_with_a_message(tmp_path):
    path = tmp_path / "a.zarr.zip"
    with cs.create(path) as writer:
        writer.append(y=np.arange(10))
        writer.put(
            "mean", np.arange(9000.0), aligned=False, attributes={"unit": "m"}, chunk_length=2048
        )
        writer.put("classes", np.array(["cat", "dog"]), aligned=False)
    _, data, _ = entry_place(path, "mean/c/2")
    flip(path, data + 20)
    report = cs.repair(path, tmp_path / "b.zarr.zip")
    assert report.dropped_arrays == ("mean",)
    assert "array 'mean' is left out: 2048 of 9000 entries are gone" in report.messages
    with cs.open(report.out) as store:
        check_equal(store, {"y": np.arange(10), "classes": np.array(["cat", "dog"])})


def test_metadata_that_is_damaged_is_taken_from_its_copy(tmp_path):
    path = tmp_path / "a.zarr.zip"
    grown_file(path)
    for name in ("x/zarr.json", "y/zarr.json"):
        _, data, _ = entry_place(path, name)
        flip(path, data + 20)
    with pytest.raises(cs.CorruptionError):
        cs.open(path)
    report = cs.repair(path, tmp_path / "b.zarr.zip")
    assert report.recovered_samples == 25
    check_repaired(report.out, report)


def test_metadata_whose_name_became_that_of_another_array_does_not_describe_it(tmp_path):
    path = tmp_path / "a.zarr.zip"
    grown_file(path)
    header, _, _ = entry_place(path, "y/zarr.json")
    flip(path, header + 30)
    assert path.read_bytes()[header + 30 : header + 41] == b"x/zarr.json"
    report = cs.repair(path, tmp_path / "b.zarr.zip")
    assert check_repaired(report.out, report).tolist() == list(range(25))


def test_without_root_metadata_the_samples_survive_and_the_attributes_do_not(tmp_path):
    path = write(
        tmp_path / "a.zarr.zip",
        {"x": samples(0, 25)[0], "y": samples(0, 25)[1]},
        chunk_length=4,
        attributes={"a": 1},
    )
    _, data, _ = entry_place(path, "zarr.json")
    flip(path, data + 20)
    report = cs.repair(path, tmp_path / "b.zarr.zip")
    assert check_repaired(report.out, report).tolist() == list(range(25))
    assert "the root metadata is gone, and the attributes of the file with it" in report.messages


def test_a_partial_file_becomes_the_finished_one(tmp_path):
    path = tmp_path / "a.zarr.zip"
    x, y = samples(0, 10)
    with contextlib.suppress(RuntimeError), cs.create(path, arrays=SPECS) as writer:
        writer.append(x=x, y=y)
        raise RuntimeError
    assert names(tmp_path) == ["a.zarr.zip.partial"]
    report = cs.repair(path)
    assert (report.path, report.out) == (f"{path}.partial", str(path))
    assert names(tmp_path) == ["a.zarr.zip"]
    check_file(path, {"x": x, "y": y})


def test_a_partial_file_that_a_writer_still_has_is_left_alone(tmp_path):
    path = tmp_path / "a.zarr.zip"
    with cs.create(path, arrays=SPECS) as writer:
        x, y = samples(0, 10)
        writer.append(x=x, y=y)
        writer.flush()
        with pytest.raises(cs.LockedError):
            cs.repair(path)
        # A copy elsewhere takes nothing away from the writer.
        assert cs.repair(path, tmp_path / "b.zarr.zip").recovered_samples == 10
    check_file(path, {"x": x, "y": y})


def test_repair_says_what_it_needs(tmp_path):
    path = write(tmp_path / "a.zarr.zip", {"x": np.arange(3)})
    assert cs.repair(path).out == str(tmp_path / "a.repaired.zarr.zip")
    (tmp_path / "a.repaired.zarr.zip").unlink()
    with pytest.raises(ValueError, match="out is the damaged one itself"):
        cs.repair(path, path)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        cs.repair(path, write(tmp_path / "b.zarr.zip", {"x": np.arange(3)}))
    with pytest.raises(FileNotFoundError):
        cs.repair(tmp_path / "c.zarr.zip", tmp_path / "d.zarr.zip")
    (tmp_path / "noise").write_bytes(bytes(range(256)) * 20)
    with pytest.raises(cs.FormatError, match="nothing can be saved"):
        cs.repair(tmp_path / "noise", tmp_path / "d.zarr.zip")
    assert names(tmp_path) == ["a.zarr.zip", "b.zarr.zip", "noise"]


def test_the_laws_notice_padding_that_is_taken_for_samples(tmp_path, monkeypatch):
    path = tmp_path / "a.zarr.zip"
    grown_file(path)
    os.truncate(path, path.stat().st_size - 1)
    report = cs.repair(path, tmp_path / "b.zarr.zip")
    check_repaired(report.out, report)
    # As if metadata did not say which chunk behind it is short.
    described = replay.History.described

    def without_edge(self, metadata, *, by_root):
        described(self, metadata, by_root=by_root)
        self.checkpointed()

    monkeypatch.setattr(replay.History, "described", without_edge)
    report = cs.repair(path, tmp_path / "b.zarr.zip", overwrite=True)
    with pytest.raises(AssertionError):
        check_repaired(report.out, report)


def test_an_array_that_is_whole_is_saved_without_one_that_is_not(tmp_path):
    path = tmp_path / "a.zarr.zip"
    with cs.create(path, arrays=SPECS) as writer:
        x, y = samples(0, 8)
        writer.append(x=x, y=y)
        writer.flush()
        x, y = samples(8, 100)
        writer.append(x=x, y=y)
    # The chunks of the narrow array are the last.
    header, _, _ = entry_place(path, "y/c/1")
    os.truncate(path, header)
    report = cs.repair(path, tmp_path / "both.zarr.zip")
    assert report.recovered_samples == 8
    assert list(report.alone) == ["x"]
    message = next(message for message in report.messages if "alone" in message)
    assert "array 'x' alone has up to" in message
    command = shlex.split(message.split("`")[1])
    assert CliRunner().invoke(main, command[1:]).exit_code == 0
    alone = cs.repair(path, tmp_path / "x.zarr.zip", arrays=["x"])
    assert cs.load(command[-1])["x"].tolist() == cs.load(alone.out)["x"].tolist()
    assert alone.recovered_samples > 8
    with cs.open(alone.out) as store:
        assert list(store) == ["x"]
        saved = store["x"][...]
    np.testing.assert_array_equal(saved, samples(0, len(saved))[0])


def test_an_array_with_a_damaged_chunk_is_not_said_to_be_whole(tmp_path):
    path = tmp_path / "a.zarr.zip"
    grown_file(path)
    _, data, _ = entry_place(path, "x/c/1/0")
    flip(path, data + 30)
    report = cs.repair(path, tmp_path / "b.zarr.zip")
    assert report.recovered_samples < 25
    assert report.alone == {"y": 25}


def test_a_partial_file_stays_where_an_array_alone_has_more_and_the_command_ends_with_1(
    tmp_path,
):
    path = tmp_path / "a.zarr.zip"
    with cs.create(path, arrays=SPECS) as writer:
        x, y = samples(0, 100)
        writer.append(x=x, y=y)
    header, _, _ = entry_place(path, "y/c/0")
    os.truncate(path, header)
    partial = tmp_path / "b.zarr.zip.partial"
    path.rename(partial)
    result = CliRunner().invoke(main, ["repair", str(partial)])
    assert result.exit_code == 1
    assert "array 'x' alone has up to 8 complete samples" in result.stdout
    assert partial.exists()
    assert cs.repair(partial, tmp_path / "x.zarr.zip", arrays=["x"]).recovered_samples == 8


def test_a_partial_file_stays_when_some_of_its_arrays_were_saved(tmp_path):
    path = tmp_path / "a.zarr.zip"
    writer = cs.create(path, arrays=SPECS)
    x, y = samples(0, 100)
    writer.append(x=x, y=y)
    writer.flush()
    writer.abort()
    partial = tmp_path / "a.zarr.zip.partial"
    assert cs.repair(path, arrays=["y"]).recovered_samples == 100
    assert partial.exists()
    with pytest.raises(KeyError, match="there is no array 'z' to save, only x, y"):
        cs.repair(partial, tmp_path / "b.zarr.zip", arrays=["z"])


def test_the_samples_of_other_arrays_do_not_count_as_lost(tmp_path):
    path = tmp_path / "a.zarr.zip"
    grown_file(path)
    _, data, _ = entry_place(path, "y/c/1")
    flip(path, data + 30)
    report = cs.repair(path, tmp_path / "b.zarr.zip", arrays=["x"])
    assert (report.lost, report.recovered_samples, report.num_samples) == ({}, 25, 25)
    assert not any("alone" in message for message in report.messages)
