"""Does a torch DataLoader get the loader's batches: once each, in place, resumable?"""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

import chunkstore as cs
from tests import support
from tests.adapters.batch_laws import (
    NUM_SAMPLES,
    check_threads_end,
    damage,
    expected_epoch,
    make_loader,
    numbers_of,
    plain,
    write_file,
)

torch = support.require("torch")
from torch.utils.data import DataLoader  # noqa: E402 - needs torch

from tests.adapters import torch_programs  # noqa: E402 - needs torch

# Of torch itself where it starts workers: Python 3.12 deprecates forks beside threads.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*pin_memory:UserWarning"),
    pytest.mark.filterwarnings("ignore:.set_vital. is deprecated:UserWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]


def stop_workers(batches):
    """End the workers behind an iterator that failed; collected as garbage it takes 5 seconds."""
    getattr(batches, "_shutdown_workers", lambda: None)()


@pytest.fixture
def store(tmp_path):
    with cs.open(write_file(tmp_path / "x.zarr.zip")) as store:
        yield store


def identity(batch):
    return batch


def load(dataset, **options):
    """Return the batches of an epoch through a DataLoader, as numbers."""
    return [plain(batch) for batch in DataLoader(dataset, batch_size=None, **options)]


def test_epochs_are_those_of_the_loader_in_order(store):
    with make_loader(store) as loader:
        dataset = loader.torch()
        for epoch in range(3):
            got = load(dataset)
            assert got == expected_epoch(store, epoch)
            assert sorted(numbers_of(got)) == list(range(NUM_SAMPLES))
        assert len(dataset) == len(DataLoader(dataset, batch_size=None)) == len(loader)


def test_tensors_show_the_memory_and_keep_structure_and_types(store):
    with make_loader(store) as loader, make_loader(store) as other:
        data = DataLoader(loader.torch(), batch_size=None, collate_fn=identity)
        for batch, wanted in zip(data, other, strict=True):
            (x, index), targets = batch
            assert isinstance(batch, tuple)
            assert isinstance(batch[0], tuple)
            assert isinstance(targets, dict)
            assert (x.dtype, index.dtype, targets["label"].dtype) == (
                torch.float32,
                torch.int64,
                torch.int32,
            )
            assert x.shape == wanted[0][0].shape
            assert not x.numpy().flags.owndata
            x += 1  # The batch is the caller's.


def test_the_conversion_copies_nothing():
    arrays = {"x": np.arange(20.0).reshape(10, 2)}
    with cs.Loader(arrays, "x", batch_size=5) as loader:
        dataset = loader.torch()
        (batch, *_) = loader
        tensor = dataset._convert(batch)
    assert tensor.data_ptr() == batch.__array_interface__["data"][0]


@pytest.mark.parametrize(
    "dtype",
    ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16", ">f4"],
)
def test_types_of_numpy_arrive_as_they_are(dtype):
    values = np.array([[0, 1], [1, 0], [1, 1]]).astype(dtype)
    with cs.Loader({"x": values}, "x", batch_size=3, shuffle=False) as loader:
        (tensor,) = loader.torch()
    np.testing.assert_array_equal(tensor.numpy(), values)
    assert tensor.numpy().dtype == values.dtype.newbyteorder("=")


def test_bfloat16_is_the_bfloat16_of_torch():
    ml_dtypes = support.require("ml_dtypes")
    values = np.arange(6).reshape(3, 2).astype(ml_dtypes.bfloat16)
    with cs.Loader({"x": values}, "x", batch_size=3, shuffle=False) as loader:
        (tensor,) = loader.torch()
    assert tensor.dtype == torch.bfloat16
    assert tensor.float().tolist() == values.astype(np.float32).tolist()


@pytest.mark.parametrize(
    "array",
    [np.array(["a", "b"]), np.array([b"a"]), np.zeros(2, "M8[s]"), np.zeros(2, [("a", "i4")])],
    ids=["str", "bytes", "datetime", "structured"],
)
@pytest.mark.parametrize("by", ["batch", "sample"])
def test_types_that_torch_lacks_are_refused_by_place(array, by):
    with (
        cs.Loader({"x": array}, {"a": "x"}, batch_size=2) as loader,
        pytest.raises(TypeError, match=r"batch\['a'\] has dtype .*, for which torch has no type"),
    ):
        loader.torch(by=by)


def test_kept_batches_never_change(store):
    with make_loader(store) as loader:
        dataset = loader.torch()
        kept = [batch for _ in range(4) for batch in DataLoader(dataset, batch_size=None)]
        copies = [batch for epoch in range(4) for batch in expected_epoch(store, epoch)]
    assert [plain(batch) for batch in kept] == copies


def test_pinned_batches_are_equal_where_nothing_can_be_pinned(store):
    with make_loader(store) as loader:
        assert load(loader.torch(), pin_memory=True) == expected_epoch(store, 0)


def test_a_loop_that_is_left_ends_the_threads_and_the_next_one_is_the_next_epoch(store):
    with make_loader(store) as loader:
        dataset = loader.torch()
        data = DataLoader(dataset, batch_size=None)
        for _ in data:
            break
        check_threads_end()
        assert [plain(batch) for batch in data] == expected_epoch(store, 1)
        dataset.set_epoch(9)
        assert [plain(batch) for batch in data] == expected_epoch(store, 9)


def test_a_state_goes_on_behind_the_last_batch(store):
    with make_loader(store) as loader:
        dataset = loader.torch()
        for step, _ in enumerate(dataset, 1):
            state = json.loads(json.dumps(dataset.state_dict()))
            with make_loader(store) as other:
                resumed = other.torch()
                resumed.load_state_dict(state)
                assert load(resumed) == expected_epoch(store, 0, step=step)
                assert load(resumed) == expected_epoch(store, 1)


@pytest.mark.parametrize("last", ["keep", "drop", "pad"])
@pytest.mark.parametrize("num_workers", [1, 2, 5])
def test_workers_load_the_same_batches_once_in_another_order(store, num_workers, last, caplog):
    with make_loader(store, last=last) as loader, caplog.at_level(logging.CRITICAL):
        dataset = loader.torch()
        for epoch in range(3):
            got = load(dataset, num_workers=num_workers)
            wanted = expected_epoch(store, epoch, last=last)
            assert sorted(got) == sorted(wanted)
            assert (got == wanted) == (num_workers == 1)


def test_each_worker_loads_whole_windows(store):
    with make_loader(store) as loader:
        starts = loader.window_starts(0)
        dataset = loader.torch()
        cuts = dataset._cuts(0, 0, len(loader), 3)
    assert set(cuts[:-1]) <= set(starts)
    assert len(set(cuts)) == 4
    assert max(np.diff(cuts)) <= min(np.diff(cuts)) + 2


def test_workers_that_stay_go_through_the_epochs_and_hear_of_set_epoch(store):
    with make_loader(store) as loader:
        # A loader that is in use, in the parent, when the workers start.
        list(loader)
        stream = iter(loader)
        next(stream)
        dataset = loader.torch()
        data = DataLoader(dataset, batch_size=None, num_workers=2, persistent_workers=True)
        for epoch in (2, 3):
            assert sorted(map(plain, data)) == sorted(expected_epoch(store, epoch))
        for _ in data:
            break
        assert sorted(map(plain, data)) == sorted(expected_epoch(store, 5))
        dataset.set_epoch(1)
        assert sorted(map(plain, data)) == sorted(expected_epoch(store, 1))
        assert (dataset.state_dict()["epoch"], dataset.state_dict()["step"]) == (2, 0)
        del data
        assert load(dataset) == expected_epoch(store, 2)


@pytest.mark.parametrize("has_generator", [False, True], ids=["global", "generator"])
@pytest.mark.parametrize("is_persistent", [False, True], ids=["new", "persistent"])
def test_epochs_that_are_seeded_alike_are_epochs_of_their_own(store, has_generator, is_persistent):
    generator = torch.Generator() if has_generator else None

    def seed():
        (generator or torch).manual_seed(0)

    with make_loader(store) as loader:
        dataset = loader.torch()
        data = DataLoader(
            dataset,
            batch_size=None,
            num_workers=2,
            persistent_workers=is_persistent,
            generator=generator,
        )
        for epoch in range(3):
            seed()
            assert sorted(map(plain, data)) == sorted(expected_epoch(store, epoch))
        # A loop that is left counts too.
        seed()
        for _ in data:
            break
        for epoch in (4, 9, 2, 2):
            if epoch != 4:
                dataset.set_epoch(epoch)
            seed()
            assert sorted(map(plain, data)) == sorted(expected_epoch(store, epoch))
        del data


def test_a_position_inside_an_epoch_is_shared_out_among_workers(store):
    with make_loader(store) as loader:
        dataset = loader.torch()
        dataset.load_state_dict(loader.state_dict() | {"epoch": 3, "step": 4})
        got = load(dataset, num_workers=2)
        assert sorted(got) == sorted(expected_epoch(store, 3, step=4))
        got = load(dataset, num_workers=2)
        assert sorted(got) == sorted(expected_epoch(store, 4))


@pytest.mark.leaves_open("the tracker that multiprocessing starts beside spawned processes")
def test_spawned_workers_load_the_same_batches_once(store):
    with make_loader(store) as loader:
        data = DataLoader(
            loader.torch(),
            batch_size=None,
            num_workers=2,
            multiprocessing_context="spawn",
            persistent_workers=True,
        )
        for epoch in range(2):
            assert sorted(map(plain, data)) == sorted(expected_epoch(store, epoch))
        del data


def test_leaving_a_loop_over_workers_leaves_nothing_behind(store):
    with make_loader(store) as loader:
        data = DataLoader(loader.torch(), batch_size=None, num_workers=2)
        for _ in range(3):
            for _ in data:
                break


@pytest.mark.parametrize("num_workers", [0, 2])
def test_damage_is_our_error_that_names_the_chunk(tmp_path, num_workers):
    path = write_file(tmp_path / "x.zarr.zip")
    damage(path, "x/c/3/0")
    with cs.open(path) as store, make_loader(store) as loader:
        batches = iter(DataLoader(loader.torch(), batch_size=None, num_workers=num_workers))
        with pytest.raises(cs.CorruptionError, match=r"x/c/3/0.*crc32"):
            list(batches)
        stop_workers(batches)


def test_two_processes_of_a_group_share_each_epoch(tmp_path):
    path = write_file(tmp_path / "x.zarr.zip")
    torch.multiprocessing.spawn(
        torch_programs.run_rank, (2, str(tmp_path), str(path), 0), nprocs=2, join=True
    )
    check_ranks(tmp_path)


def test_processes_of_a_group_may_have_workers(tmp_path):
    path = write_file(tmp_path / "x.zarr.zip")
    context = torch.multiprocessing.start_processes
    context(
        torch_programs.run_rank,
        (2, str(tmp_path), str(path), 2),
        nprocs=2,
        join=True,
        start_method="fork",
    )
    check_ranks(tmp_path)


def check_ranks(folder):
    ranks = [torch.load(folder / str(rank)) for rank in range(2)]
    assert [rank["rank"] for rank in ranks] == [0, 1]
    labels = write_labels()
    for epoch in range(2):
        batches = [rank["epochs"][epoch] for rank in ranks]
        assert len(batches[0]) == len(batches[1]) == NUM_SAMPLES // 8
        assert {len(batch) for part in batches for batch in part} == {4}
        got = np.bincount([label for part in batches for batch in part for label in batch])
        # Several ranks leave out what fills no batch.
        assert (got <= np.bincount(labels)).all()
        assert got.sum() == ranks[0]["count"] == NUM_SAMPLES // 8 * 8


def write_labels():
    return np.arange(NUM_SAMPLES) % 7


def test_the_state_of_one_worker_is_refused_elsewhere(store):
    with make_loader(store) as loader:
        dataset = loader.torch()
        state = dataset.state_dict() | {"worker": 1, "num_workers": 2}
        with pytest.raises(ValueError, match=r"worker 1 of 2 .* this is the main process"):
            dataset.load_state_dict(state)


def test_mixtures_are_datasets_too(store):
    def make_mixture():
        loaders = [make_loader(store, ("x", "y")) for _ in range(2)]
        return cs.mix(loaders, batch_size=8)

    with make_mixture() as mixture, make_mixture() as other:
        wanted = [y.tolist() for _, y in other]
        got = [y.tolist() for _, y in DataLoader(mixture.torch(), batch_size=None)]
        assert got == wanted
        mixture.set_epoch(0)
        got = [y.tolist() for _, y in DataLoader(mixture.torch(), batch_size=None, num_workers=2)]
        assert sorted(got) == sorted(wanted)


def test_an_endless_mixture_is_refused_by_workers():
    loader = cs.Loader({"x": np.arange(8)}, "x", batch_size=4)
    with cs.mix([loader], batch_size=4, stop="never") as mixture:
        batches = iter(DataLoader(mixture.torch(), batch_size=None, num_workers=1))
        with pytest.raises(ValueError, match="never stops cannot be divided among workers"):
            next(batches)
        stop_workers(batches)


def test_by_is_batch_or_sample(store):
    with (
        make_loader(store) as loader,
        pytest.raises(ValueError, match="by must be 'batch' or 'sample', got 'chunk'"),
    ):
        loader.torch(by="chunk")


class TestStatefulDataLoader:
    """torchdata's loader asks the dataset for its state, or the copies of it in the workers."""

    @pytest.fixture
    def stateful(self):
        module = support.require("torchdata.stateful_dataloader")

        def make(dataset, **options):
            return module.StatefulDataLoader(dataset, batch_size=None, **options)

        return make

    @pytest.mark.parametrize("num_workers", [0, 2])
    @pytest.mark.parametrize("taken", [1, 5, 13])
    def test_a_state_goes_on_with_the_rest_and_then_the_next_epoch(
        self, store, stateful, taken, num_workers
    ):
        with make_loader(store) as loader:
            data = stateful(loader.torch(), num_workers=num_workers)
            before = [plain(batch) for _, batch in zip(range(taken), data, strict=False)]
            state = data.state_dict()
            del data
        with make_loader(store) as loader:
            data = stateful(loader.torch(), num_workers=num_workers)
            data.load_state_dict(state)
            rest = [plain(batch) for batch in data]
            following = [plain(batch) for batch in data]
        assert sorted(before + rest) == sorted(expected_epoch(store, 0))
        assert sorted(following) == sorted(expected_epoch(store, 1))

    @pytest.mark.parametrize("num_workers", [0, 2])
    def test_a_state_behind_an_epoch_goes_on_with_the_next_one(self, store, stateful, num_workers):
        with make_loader(store) as loader:
            data = stateful(loader.torch(), num_workers=num_workers)
            list(data)
            state = data.state_dict()
        with make_loader(store) as loader:
            data = stateful(loader.torch(), num_workers=num_workers)
            data.load_state_dict(state)
            assert sorted(map(plain, data)) == sorted(expected_epoch(store, 1))
