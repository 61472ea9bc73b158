"""Does code that insists on a sampler get every sample by its number?"""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import chunkstore as cs
from chunkstore import transforms
from tests import support
from tests.adapters.batch_laws import NUM_SAMPLES, data_set, make_loader, write_file

torch = support.require("torch")
from torch.utils.data import DataLoader, Subset, WeightedRandomSampler  # noqa: E402


@pytest.fixture
def store(tmp_path):
    with cs.open(write_file(tmp_path / "x.zarr.zip")) as store:
        yield store


def check_sample(sample, i):
    """Fail unless it is sample ``i``, in the structure of the names."""
    arrays = data_set()
    (x, index), targets = sample
    assert int(index) == i
    np.testing.assert_array_equal(x.numpy(), arrays["x"][i])
    assert int(targets["label"]) == arrays["y"][i]


def test_samples_are_those_of_their_numbers_in_any_order_and_more_than_once(store):
    with make_loader(store) as loader:
        samples = loader.torch(by="sample")
        assert len(samples) == NUM_SAMPLES
        for i in (0, 57, NUM_SAMPLES - 1):
            check_sample(samples[i], i)
        wanted = [88, 3, 4, 88, 0]
        for sample, i in zip(samples.__getitems__(wanted), wanted, strict=True):
            check_sample(sample, i)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_shuffling_data_loader_gives_every_sample_once(store, num_workers):
    with make_loader(store) as loader:
        data = DataLoader(
            loader.torch(by="sample"), batch_size=10, shuffle=True, num_workers=num_workers
        )
        numbers = []
        for (x, index), targets in data:
            assert len(x) == len(index) == len(targets["label"]) <= 10
            np.testing.assert_array_equal(x[:, 0, 0].numpy(), index.numpy() * 100)
            numbers += index.tolist()
    assert sorted(numbers) == list(range(NUM_SAMPLES))
    assert numbers != sorted(numbers)


def test_a_batch_decodes_each_chunk_once(store, monkeypatch):
    with make_loader(store, "x") as loader:
        samples = loader.torch(by="sample")
        array = samples._view["x"]
        reads = []
        read = type(array).__getitem__
        monkeypatch.setattr(
            type(array), "__getitem__", lambda self, key: reads.append(key) or read(self, key)
        )
        samples.__getitems__([7, 2, 99, 2, 8])
    assert [key.tolist() for key in reads] == [[2, 7, 8, 99]]


def test_other_samplers_and_subsets_work(store):
    with make_loader(store) as loader:
        samples = loader.torch(by="sample")
        sampler = WeightedRandomSampler([0.0] * 102 + [1.0], num_samples=6)
        for (_, index), _ in DataLoader(samples, batch_size=3, sampler=sampler):
            assert index.tolist() == [102] * 3
        half = Subset(samples, range(0, NUM_SAMPLES, 2))
        numbers = [n for (_, index), _ in DataLoader(half, batch_size=7) for n in index.tolist()]
    assert numbers == list(range(0, NUM_SAMPLES, 2))


def test_views_types_and_transforms_of_the_loader_are_kept(store):
    view = store.select(slice(20, 60))
    flip = {"x": transforms.compose(transforms.scale(0.5), transforms.flip())}
    names = ("x", "@index", "@valid")
    with cs.Loader(view, names, batch_size=8, transform=flip, dtype={"x": "f2"}) as loader:
        samples = loader.torch(by="sample")
        assert len(samples) == 40
        x, index, valid = samples[5]
        assert (int(index), bool(valid), x.dtype) == (25, True, torch.float16)
        assert torch.equal(x, samples[5][0])
        again = pickle.loads(pickle.dumps(samples))
        assert torch.equal(x, again[5][0])
        flips = []
        for epoch in range(8):
            samples.set_epoch(epoch)
            flips.append(samples[5][0].tolist())
        assert len({str(values) for values in flips}) == 2


@pytest.mark.parametrize("index", [-1, NUM_SAMPLES])
def test_numbers_that_do_not_exist_are_refused(store, index):
    with (
        make_loader(store) as loader,
        pytest.raises(IndexError, match=rf"sample {index} is outside \[0, 103\)"),
    ):
        loader.torch(by="sample").__getitems__([4, index])


@pytest.mark.parametrize("index", [1.7, "1", True, np.True_, None, [1]], ids=repr)
def test_what_is_no_integer_is_no_number_of_a_sample(store, index):
    with make_loader(store) as loader, pytest.raises(TypeError):
        loader.torch(by="sample")[index]


@pytest.mark.parametrize(
    "indices", [[True, False, True], [1.5, 2.9], ["1"], np.array([1.0]), torch.tensor([True])]
)
def test_masks_and_floats_are_no_numbers_of_samples(store, indices):
    with make_loader(store) as loader:
        samples = loader.torch(by="sample")
        with pytest.raises(TypeError, match="samples have integer numbers, got"):
            samples.__getitems__(indices)


def test_integers_of_any_kind_are_numbers_of_samples(store):
    with make_loader(store) as loader:
        samples = loader.torch(by="sample")
        for index in (7, np.int64(7), np.uint8(7), torch.tensor(7)):
            check_sample(samples[index], 7)
        for indices in (torch.tensor([7]), np.array([7], "u8"), [torch.tensor(7)], [np.int8(7)]):
            check_sample(samples.__getitems__(indices)[0], 7)
        assert samples.__getitems__([]) == []
        with pytest.raises(IndexError, match=r"is outside \[0, 103\)"):
            samples.__getitems__(np.array([2**63], "u8"))
