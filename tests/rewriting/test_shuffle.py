"""Does a shuffled file hold every sample once, in an order that it tells and that can be undone?"""

from __future__ import annotations

import errno
import os
import re
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore import system
from chunkstore.rewriting import streams, writing
from chunkstore.rewriting.order import RandomOrder
from tests.rewriting.files import (
    assert_same_values,
    many_types,
    names_in,
    use_piles,
    write_file,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "in.zarr.zip"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.zarr.zip"


def expected_order(num_samples, seed):
    order = RandomOrder(num_samples, seed=seed)
    keys = order.keys(0, num_samples)
    return order.numbers(keys[order.sort(keys)])


@pytest.mark.parametrize("num_piles", [1, 2, 7, 60])
def test_all_arrays_are_in_the_one_order_of_the_seed(path, out, monkeypatch, num_piles):
    arrays = write_file(path)
    use_piles(monkeypatch, num_piles, most_records=10**6 if num_piles == 1 else 600)
    report = cs.shuffle(path, out, seed=5)
    order = expected_order(1000, 5)
    assert_same_values(out, {**arrays, "source_index": np.arange(1000)}, order=order)
    assert (report.method, report.num_samples, report.is_verified) == ("exact", 1000, True)
    assert (report.scratch_nbytes > 0) == (num_piles > 1)
    assert names_in(path.parent) == ["in.zarr.zip", "out.zarr.zip"]
    assert cs.verify(out).ok


def test_attributes_arrays_beside_and_storage_stay_as_they_are(path, out):
    write_file(path, codec="lz4", level=3)
    cs.shuffle(path, out, seed=2)
    with cs.open(path) as before, cs.open(out) as after:
        about = after.attributes.pop("import")
        assert {k: v for k, v in after.attributes.items() if k != "import"} == before.attributes
        assert about["kind"] == "shuffle"
        assert about["source"] == str(path)
        assert about["order"] == {
            "shuffled": True,
            "method": "exact",
            "seed": 2,
            "index": "source_index",
        }
        assert set(after) == {*before, "source_index"}
        assert after.sample_arrays == (*before.sample_arrays, "source_index")
        for name, array in before.items():
            assert after[name].codec == array.codec
            assert after[name].chunk_length == array.chunk_length
            assert after[name].attributes == array.attributes
        assert np.array_equal(after["mean"][:], before["mean"][:])
        assert after["names/of"][:].tolist() == ["x", "yy"]


def test_the_bytes_depend_on_neither_memory_nor_threads(path, tmp_path, monkeypatch):
    write_file(path)
    # Some checkpoints: these must not stand where piles end.
    monkeypatch.setattr(writing, "_LEAST_BETWEEN_CHECKPOINTS_NBYTES", 0)
    contents, places = set(), []
    checkpoint = writing._Run.checkpoint

    def noted(run):
        places[-1].append(run._position.num_done)
        checkpoint(run)

    monkeypatch.setattr(writing._Run, "checkpoint", noted)
    for number, (num_piles, most, threads) in enumerate(
        [(1, 10**6, 1), (1, 10**6, 3), (3, 700, 1), (3, 700, 4), (40, 90, 2)]
    ):
        with monkeypatch.context() as patched:
            use_piles(patched, num_piles, most_records=most)
            out = tmp_path / f"{number}.zarr.zip"
            places.append([])
            cs.shuffle(path, out, seed=9, threads=threads)
        contents.add(out.read_bytes())
    assert len(contents) == 1
    # Whole chunks of images between them.
    assert places == [[0, 256, 512, 768, 1000]] * 5


def test_another_seed_is_another_order_and_the_same_values(path, tmp_path):
    arrays = write_file(path, 300)
    orders = []
    for seed in (0, 1, 2**32, 2**64 - 1):
        out = tmp_path / f"{seed}.zarr.zip"
        cs.shuffle(path, out, seed=seed)
        orders.append(cs.load(out)["source_index"])
        assert_same_values(out, arrays, order=orders[-1])
    assert len({order.tobytes() for order in orders}) == 4


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("num_piles", [1, 9])
def test_undo_gives_the_file_back(path, out, tmp_path, monkeypatch, quick, num_piles):
    arrays = write_file(path)
    use_piles(monkeypatch, num_piles, most_records=2000 if num_piles == 1 else 300)
    cs.shuffle(path, out, seed=3, quick=quick)
    again = tmp_path / "again.zarr.zip"
    report = cs.unshuffle(out, again)
    assert report.method == "undo"
    assert_same_values(again, arrays)
    with cs.open(path) as before, cs.open(again) as after:
        assert list(after) == list(before)
        attributes = after.attributes
        assert attributes.pop("import")["before"]["kind"] == "shuffle"
        assert attributes == before.attributes


def test_undo_of_a_part_puts_it_in_ascending_order(path, out, tmp_path):
    write_file(path, 200)
    cs.shuffle(path, out)
    part = cs.load(out, ["labels", "source_index"])
    cs.save(tmp_path / "part.zarr.zip", {k: v[50:120] for k, v in part.items()})
    again = tmp_path / "again.zarr.zip"
    cs.unshuffle(tmp_path / "part.zarr.zip", again, index="source_index")
    wanted = np.sort(part["source_index"][50:120]) // 10
    assert cs.load(again)["labels"].tolist() == wanted.tolist()


def test_undo_without_knowing_the_array_says_what_to_do(path, out):
    write_file(path, 20)
    with pytest.raises(KeyError, match=r"does not say which array .* name it with index="):
        cs.unshuffle(path, out)
    with pytest.raises(KeyError, match="there is no array 'place' of samples, only images, "):
        cs.unshuffle(path, out, index="place")
    assert names_in(path.parent) == ["in.zarr.zip"]


def test_a_second_shuffle_keeps_the_numbers_of_the_first_file(path, out, tmp_path):
    arrays = write_file(path, 100)
    cs.shuffle(path, out, seed=1)
    recompressed, twice = tmp_path / "r.zarr.zip", tmp_path / "twice.zarr.zip"
    cs.recompress(out, recompressed, codec="lz4")
    cs.shuffle(recompressed, twice, seed=1)
    order = expected_order(100, 1)[expected_order(100, 1)]
    assert cs.load(twice)["source_index"].tolist() == order.tolist()
    cs.unshuffle(twice, tmp_path / "again.zarr.zip")
    assert_same_values(tmp_path / "again.zarr.zip", arrays)


def test_an_array_of_that_name_that_is_something_else_is_not_taken_for_it(path, out):
    cs.save(path, {"x": np.arange(5), "source_index": np.zeros(5)})
    with pytest.raises(ValueError, match="has an array 'source_index' already; index='another"):
        cs.shuffle(path, out)
    cs.shuffle(path, out, index="place")
    assert set(cs.load(out)) == {"x", "source_index", "place"}
    with cs.open(out) as store:
        assert store.attributes["import"]["order"]["index"] == "place"


def test_without_an_index_only_the_arrays_are_there(path, out):
    arrays = write_file(path, 50)
    cs.shuffle(path, out, index=None)
    assert_same_values(out, arrays, order=expected_order(50, 0))
    with cs.open(out) as store:
        assert "source_index" not in store


@settings(max_examples=25)
@given(st.data())
def test_any_counts_and_chunks_are_shuffled(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any")
    count = data.draw(st.integers(0, 70))
    names = data.draw(st.lists(st.sampled_from(sorted(many_types(1))), min_size=1, unique=True))
    arrays = {name: many_types(count)[name] for name in names}
    lengths = {name: data.draw(st.integers(1, 40)) for name in names}
    specs = {
        name: cs.ArraySpec(values.dtype, values.shape[1:], chunk_length=lengths[name])
        for name, values in arrays.items()
    }
    with cs.create(folder / "in.zarr.zip", arrays=specs) as writer:
        writer.append_mapping(arrays)
    seed = data.draw(st.integers(0, 2**64 - 1))
    num_piles = data.draw(st.integers(1, 8))
    with pytest.MonkeyPatch.context() as patched:
        use_piles(patched, num_piles, most_records=100 if num_piles == 1 else 40)
        cs.shuffle(folder / "in.zarr.zip", folder / "out.zarr.zip", seed=seed)
        cs.unshuffle(folder / "out.zarr.zip", folder / "again.zarr.zip")
    order = expected_order(count, seed)
    assert_same_values(folder / "out.zarr.zip", arrays, order=order)
    assert_same_values(folder / "again.zarr.zip", arrays)


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("count", [0, 1])
def test_no_sample_and_one_sample_are_a_file_too(path, out, count, quick):
    arrays = write_file(path, count)
    cs.shuffle(path, out, quick=quick)
    assert_same_values(out, arrays)
    cs.unshuffle(out, path.parent / "again.zarr.zip")
    assert_same_values(path.parent / "again.zarr.zip", arrays)


@pytest.mark.parametrize("quick", [False, True])
def test_a_file_without_arrays_and_one_without_bytes_are_copied(path, out, quick):
    with cs.create(path, attributes={"a": 1}):
        pass
    cs.shuffle(path, out, quick=quick)
    with cs.open(out) as store:
        assert (list(store), store.attributes["a"]) == ([], 1)
    cs.save(path, {"e": np.zeros((6, 0), "f4")}, overwrite=True)
    cs.shuffle(path, out, quick=quick, overwrite=True)
    assert sorted(cs.load(out)["source_index"].tolist()) == list(range(6))
    assert cs.load(out)["e"].shape == (6, 0)


def test_quick_spreads_neighbours_over_a_window_and_loses_none(path, out):
    arrays = write_file(path, 3000)
    report = cs.shuffle(path, out, quick=True, memory="1MiB", seed=4)
    found = cs.load(out)
    assert report.method == "quick"
    assert sorted(found["source_index"].tolist()) == list(range(3000))
    assert_same_values(out, arrays, order=found["source_index"])
    with cs.open(out) as store:
        about = store.attributes["import"]["order"]
        length = store["images"].chunk_length
    assert about["method"] == "quick"
    assert 1 < about["window"] < 3000 // length
    # The first window has samples of so many chunks of the source, and of no others.
    first = found["source_index"][: about["window"] * length // 2]
    assert 1 < len(set((first // length).tolist())) <= about["window"] + 1


def test_quick_in_a_memory_that_holds_no_window_says_so(path, out):
    write_file(path)
    with pytest.raises(ValueError, match="memory=8000 bytes is too small for a quick") as caught:
        cs.shuffle(path, out, quick=True, memory=8000)
    assert names_in(path.parent) == ["in.zarr.zip"]
    enough = re.search(r"memory='(\d+MiB)' is enough", str(caught.value))[1]
    assert cs.shuffle(path, out, quick=True, memory=enough).method == "quick"


def test_exact_in_too_small_a_memory_says_how_much_is_enough(path, out):
    cs.save(path, {"x": np.zeros((100, 1 << 17))})
    with pytest.raises(ValueError, match=r"is too small to shuffle .* memory='\d+MiB' is enough"):
        cs.shuffle(path, out, memory=1000)
    assert names_in(path.parent) == ["in.zarr.zip"]


def damage(path, entry):
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(entry)
    content = bytearray(path.read_bytes())
    content[info.header_offset + 30 + len(entry) + info.compress_size // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("num_piles", [1, 5])
@pytest.mark.parametrize("quick", [False, True])
def test_a_damaged_chunk_is_an_error_and_leaves_nothing(path, out, monkeypatch, num_piles, quick):
    write_file(path)
    damage(path, "images/c/3/0/0/0")
    use_piles(monkeypatch, num_piles, most_records=1000)
    with pytest.raises(
        cs.CorruptionError, match=r"images/c/3/0/0/0.*samples \[\d+, \d+\)"
    ) as caught:
        cs.shuffle(path, out, quick=quick)
    assert str(caught.value).endswith("saves the rest of it first")
    assert names_in(path.parent) == ["in.zarr.zip"]
    assert [t.name for t in threading.enumerate() if t.name.startswith("chunkstore")] == []


def test_an_interrupt_leaves_nothing(path, out, monkeypatch):
    write_file(path)
    use_piles(monkeypatch, 5, most_records=400)
    sliced = streams.SortedStream._sliced

    def interrupted(self, *arguments):
        yield next(sliced(self, *arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(streams.SortedStream, "_sliced", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cs.shuffle(path, out)
    assert names_in(path.parent) == ["in.zarr.zip"]


@pytest.mark.parametrize("nbytes", [0, 30_000, 230_000, 300_000])
def test_a_full_disk_is_an_error_that_names_a_file_and_leaves_nothing(
    path, out, monkeypatch, nbytes
):
    write_file(path)
    use_piles(monkeypatch, 5, most_records=400)
    left = [nbytes]
    pwrite = system.calls.pwrite

    def limited(descriptor, data, offset):
        if left[0] < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left[0] -= len(data)
        return pwrite(descriptor, data, offset)

    monkeypatch.setattr(system.calls, "pwrite", limited)
    with pytest.raises(cs.SystemCallError, match="No space left") as caught:
        cs.shuffle(path, out)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.path.startswith(str(out))
    # Nothing is left, and no checkpoint is promised.
    assert names_in(path.parent) == ["in.zarr.zip"]
    assert "kept" not in str(caught.value)
    if nbytes == 300_000:
        assert "; the unfinished new file and its piles are removed" in str(caught.value)


def test_piles_that_will_hardly_fit_on_the_disk_are_told_of(path, out, monkeypatch):
    write_file(path)
    use_piles(monkeypatch, 5, most_records=400)
    usage = streams.shutil.disk_usage(path.parent)._replace(free=1000)
    monkeypatch.setattr(streams.shutil, "disk_usage", lambda _: usage)
    with pytest.warns(cs.ChunkStoreWarning, match=r"piles take \d+ bytes .* 1000 are free"):
        cs.shuffle(path, out)


def test_piles_that_changed_on_the_disk_are_an_error_and_not_a_file(path, out, monkeypatch):
    write_file(path)
    use_piles(monkeypatch, 5, most_records=400)
    by_pile = streams.SortedStream._by_pile

    def changed(self, piles, *arguments):
        with Path(piles.path).open("r+b") as file:
            file.seek(-100, os.SEEK_END)
            file.write(b"\xff" * 50)
        yield from by_pile(self, piles, *arguments)

    monkeypatch.setattr(streams.SortedStream, "_by_pile", changed)
    with pytest.raises(cs.CorruptionError, match="pile 4 of 5 is not what was written"):
        cs.shuffle(path, out)
    assert names_in(path.parent) == ["in.zarr.zip"]


def test_a_new_file_that_is_not_what_was_read_gets_no_name(path, out, monkeypatch):
    write_file(path)
    append = writing._Run._append

    def wrong(self, block):
        append(self, block)
        self._position.digests["labels"] += 1

    monkeypatch.setattr(writing._Run, "_append", wrong)
    with pytest.raises(cs.CorruptionError, match="array 'labels': the new file does not hold"):
        cs.shuffle(path, out)
    assert names_in(path.parent) == ["in.zarr.zip"]
    assert not cs.shuffle(path, out, verify=False).is_verified


def test_the_source_is_never_replaced(path, tmp_path):
    write_file(path, 10)
    before = path.read_bytes()
    (tmp_path / "link.zarr.zip").symlink_to(path)
    for out in (path, tmp_path / "link.zarr.zip"):
        for act in (cs.shuffle, cs.recompress):
            with pytest.raises(ValueError, match="is the file that is read"):
                act(path, out, overwrite=True)
        with pytest.raises(ValueError, match="is the file that is read"):
            cs.unshuffle(path, out, overwrite=True)
    assert path.read_bytes() == before


def test_another_file_is_replaced_only_if_that_is_said(path, out):
    write_file(path, 10)
    cs.save(out, {"mine": np.arange(3)})
    with pytest.raises(FileExistsError, match="overwrite=True"):
        cs.shuffle(path, out)
    assert list(cs.load(out)) == ["mine"]
    cs.shuffle(path, out, overwrite=True)
    assert cs.open(out).num_samples == 10


@pytest.mark.leaves_open("zarr keeps its event loop")
def test_a_foreign_file_is_shuffled_as_well(out, tmp_path, require):
    zarr = require("zarr")
    with zarr.storage.ZipStore(tmp_path / "in.zarr.zip", mode="w") as storage:
        group = zarr.create_group(storage, attributes={"by": "zarr"})
        group.create_array("x", data=np.arange(120).reshape(40, 3), chunks=(7, 2))
        group.create_array("y", data=np.arange(40) / 2, chunks=(40,), shards=(40,))
        group.create_array("scale", data=np.float64(2.5))
    with cs.open(tmp_path / "in.zarr.zip") as store:
        sharded = store["y"].codec
    report = cs.shuffle(tmp_path / "in.zarr.zip", out, seed=6)
    order = expected_order(40, 6)
    found = cs.load(out)
    assert np.array_equal(found["x"], np.arange(120).reshape(40, 3)[order])
    assert np.array_equal(found["y"], order / 2)
    with cs.open(out) as store:
        assert (store.attributes["by"], store.attributes["scale"]) == ("zarr", 2.5)
    assert report.notes == (
        "array 'scale' is a single value; it stands in the attributes",
        "array 'x' is stored with zstd-0, not written here; now the default",
        f"array 'y' is stored with {sharded}, not written here; now the default",
    )


def test_other_codecs_and_chunks_can_be_named_at_once(path, out):
    arrays = write_file(path)
    cs.shuffle(path, out, codec="lz4", level=1, chunk_length=17)
    assert_same_values(out, arrays, order=expected_order(1000, 0))
    with cs.open(out) as store:
        assert store["images"].chunk_length == 17
        assert store["labels"].codec.startswith("blosc lz4-1")


@pytest.mark.parametrize("suffix", [".partial", ".piles.partial"])
@pytest.mark.parametrize("write", [cs.shuffle, cs.unshuffle, cs.recompress])
def test_a_source_with_a_name_that_the_work_takes_is_refused_and_kept(path, out, write, suffix):
    write_file(path, 50)
    source = out.with_name(out.name + suffix)
    cs.shuffle(path, source)
    content = source.read_bytes()
    with pytest.raises(ValueError, match="is the file that is read, and the"):
        write(source, out, overwrite=True)
    assert source.read_bytes() == content
    assert not out.exists()


def test_a_second_shuffle_without_an_index_keeps_that_of_the_first_known(path, out, tmp_path):
    arrays = write_file(path, 50)
    cs.shuffle(path, out, seed=1)
    second, third, back = (tmp_path / f"{name}.zarr.zip" for name in ("second", "third", "back"))
    cs.shuffle(out, second, seed=2, index=None)
    cs.shuffle(second, third, seed=3)
    cs.unshuffle(third, back)
    assert_same_values(back, arrays)


def test_two_shuffles_with_indexes_of_their_own_are_undone_one_after_the_other(path, out, tmp_path):
    arrays = write_file(path, 50)
    second, third, back = (tmp_path / f"{name}.zarr.zip" for name in ("second", "third", "back"))
    cs.shuffle(path, out, seed=1, index="first_index")
    cs.shuffle(out, second, seed=2, index="second_index")
    cs.unshuffle(second, third)
    assert_same_values(
        third, {name: values for name, values in cs.load(out).items() if name in arrays}
    )
    cs.unshuffle(third, back)
    assert_same_values(back, arrays)
    with pytest.raises(KeyError, match="does not say which array"):
        cs.unshuffle(back, tmp_path / "none.zarr.zip")
    # The first index undoes both at once.
    cs.unshuffle(second, back, index="first_index", overwrite=True)
    assert_same_values(back, arrays)
    with pytest.raises(KeyError, match="does not say which array"):
        cs.unshuffle(back, tmp_path / "none.zarr.zip")
