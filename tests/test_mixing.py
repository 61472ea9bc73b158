"""Laws of mixtures of loaders: shares kept, samples once an epoch, resumable, one on all ranks."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.pipeline.memory import MemorySource


def sources(sizes):
    """Return data sets whose values tell their set and their number in it."""
    data = []
    for i, size in enumerate(sizes):
        y = np.arange(size) + 10_000 * i
        x = np.repeat(y[:, np.newaxis], 3, axis=1).astype(np.float32)
        data.append({"x": MemorySource("x", x, chunk_length=5), "y": y})
    return data


def make(data, *, loader_batches=None, rank=0, world_size=1, names=("x", ("y",)), **arguments):
    loader_batches = loader_batches or [4] * len(data)
    loaders = [
        cs.Loader(
            arrays,
            names,
            batch_size=world_size * batch_size,
            seed=i,
            rank=rank,
            world_size=world_size,
            threads=1,
        )
        for i, (arrays, batch_size) in enumerate(zip(data, loader_batches, strict=True))
    ]
    return cs.mix(loaders, **arguments)


def make_or_skip(data, **arguments):
    """Return a mixture, or give up an example that has no batch."""
    try:
        return make(data, **arguments)
    except ValueError as error:
        if "there is no batch" in str(error):
            reject()
        raise


def values(batches):
    found = []
    for x, (y,) in batches:
        assert np.array_equal(x, np.repeat(y[:, np.newaxis], 3, axis=1))
        found.append(y.tolist())
    return found


@st.composite
def mixtures(draw):
    count = draw(st.integers(1, 3))
    sizes = draw(st.lists(st.integers(1, 40), min_size=count, max_size=count))
    arguments = {
        "weights": draw(st.lists(st.sampled_from([1.0, 2.0, 0.3]), min_size=count, max_size=count)),
        "loader_batches": draw(st.lists(st.integers(1, 9), min_size=count, max_size=count)),
        "batch_size": draw(st.integers(1, 12)),
        "seed": draw(st.integers(0, 2**64 - 1)),
        "stop": draw(st.sampled_from(["first", "all"])),
    }
    return sources(sizes), sizes, arguments


@given(mixtures())
def test_an_epoch_keeps_shares_and_repeats_no_sample_too_early(case):
    data, sizes, arguments = case
    with make_or_skip(data, **arguments) as mixture:
        for _ in range(2):
            batches = values(mixture)
            assert len(batches) == len(mixture)
            assert all(len(batch) == arguments["batch_size"] for batch in batches)
            times = Counter(value for batch in batches for value in batch)
            total, whole = sum(times.values()), sum(arguments["weights"])
            seen_all = []
            for i, (size, weight) in enumerate(zip(sizes, arguments["weights"], strict=True)):
                counts = [times[10_000 * i + number] for number in range(size)]
                assert abs(sum(counts) - total * weight / whole) <= 3
                # A round of a loader ends before its next one begins.
                assert max(counts) - min(counts) <= 1
                seen_all.append(min(counts) >= 1)
                if arguments["stop"] == "first":
                    assert max(counts) <= 1
            if arguments["stop"] == "all":
                assert all(seen_all)


@given(mixtures(), st.data())
def test_a_mixture_resumes_at_every_step(case, data):
    sets, _, arguments = case
    with make_or_skip(sets, **arguments) as mixture:
        step = data.draw(st.integers(0, len(mixture)))
        whole = values(mixture) + values(mixture)
    with make(sets, **arguments) as mixture:
        stream = iter(mixture)
        for _ in range(step):
            next(stream)
        state = json.loads(json.dumps(mixture.state_dict()))
        assert (state["epoch"], state["step"]) == (0, step)
    with make(sets, **arguments) as mixture:
        mixture.load_state_dict(state)
        assert values(mixture) + values(mixture) == whole[step:]


def test_each_batch_holds_every_source_in_random_places():
    with make(sources([600, 200]), weights=[3, 1], batch_size=40) as mixture:
        batches = values(mixture)
    shares = [[value >= 10_000 for value in batch] for batch in batches]
    assert {sum(share) for share in shares} == {10}
    assert len(batches) == 20
    # The last quarter of a batch holds no more of the second source than the first.
    by_place = np.mean(shares, axis=0)
    assert by_place[:10].mean() == pytest.approx(0.25, abs=0.12)
    assert by_place[30:].mean() == pytest.approx(0.25, abs=0.12)


def test_epochs_and_seeds_mix_differently():
    orders = set()
    for seed in (0, 1):
        with make(sources([40, 40]), batch_size=8, seed=seed) as mixture:
            orders |= {str(values(mixture)) for _ in range(2)}
    assert len(orders) == 4


def test_a_mixture_is_pinned():
    with make(sources([7, 12]), weights=[1, 2], batch_size=6, seed=7) as mixture:
        assert values(mixture) == [
            [10008, 4, 10001, 6, 10011, 10006],
            [10009, 10003, 10005, 3, 5, 10010],
            [10000, 10004, 10002, 2, 1, 10007],
        ]


def test_a_mixture_that_never_stops_goes_on_through_the_epochs_of_its_loaders():
    data = sources([10, 3])
    with make(data, batch_size=4, stop="never") as mixture:
        stream = iter(mixture)
        times = Counter(value for _ in range(25) for value in next(stream)[1][0].tolist())
        assert [times[number] for number in range(10)] == [5] * 10
        assert sum(times.values()) == 100
        state = mixture.state_dict()
        following = next(stream)[1][0].tolist()
        with pytest.raises(TypeError, match="has no length"):
            len(mixture)
        with pytest.raises(ValueError, match="has epoch 0 only, got 1"):
            mixture.set_epoch(1)
    with make(data, batch_size=4, stop="never") as mixture:
        mixture.load_state_dict(state)
        assert next(iter(mixture))[1][0].tolist() == following
        assert mixture.step == 26


def test_every_round_of_a_loader_has_an_order_of_its_own():
    with make(sources([20, 80]), batch_size=8, stop="all") as mixture:
        epochs = [[value for batch in values(mixture) for value in batch] for _ in range(3)]
    rounds = []
    for epoch in epochs:
        small = [value for value in epoch if value < 10_000]
        assert len(small) == 80
        rounds += [tuple(small[i : i + 20]) for i in range(0, 80, 20)]
    assert len({frozenset(found) for found in rounds}) == 1
    assert len(set(rounds)) == len(rounds)


def test_ranks_have_equal_steps_and_no_sample_in_common():
    data = sources([50, 30])
    ranks = []
    for rank in range(2):
        with make(data, rank=rank, world_size=2, batch_size=8, weights=[5, 3]) as mixture:
            ranks.append(values(mixture))
            assert len(mixture) == len(ranks[-1])
    assert len(ranks[0]) == len(ranks[1]) > 5
    first, second = ({value for batch in rank for value in batch} for rank in ranks)
    assert not first & second


def test_a_state_of_another_mixture_is_refused():
    data = sources([40, 40])
    with make(data, batch_size=8) as mixture:
        state = mixture.state_dict()
    for change, field in (
        ({"batch_size": 4}, "batch"),
        ({"weights": [1, 2]}, "weights"),
        ({"seed": 3}, "seed"),
        ({"stop": "all"}, "stop"),
        ({"loader_batches": [5, 4]}, "sources"),
    ):
        with (
            make(data, **{"batch_size": 8} | change) as mixture,
            pytest.raises(ValueError, match=f"the state has {field}="),
        ):
            mixture.load_state_dict(state)
    with make(data, batch_size=8) as mixture:
        with pytest.raises(ValueError, match=r"step must be an integer in \[0, 10\], got 11"):
            mixture.load_state_dict(state | {"step": 11})
        with pytest.raises(ValueError, match="no field 'stop'"):
            mixture.load_state_dict({key: state[key] for key in state if key != "stop"})
        with pytest.raises(TypeError, match="a state is a dict, got list"):
            mixture.load_state_dict([])


@pytest.mark.parametrize(
    "change",
    [
        {"step": True},
        {"epoch": True},
        {"step": 1.0},
        {"step": np.int64(1)},
        {"epoch": -1},
        {"epoch": 2**64},
        {"seed": 0.0},
        {"seed": np.zeros(2)},
        {"batch": 8.0},
        {"world_size": True},
        {"weights": [True, True]},
        {"weights": np.ones(2)},
        {"weights": [1.0]},
        {"sources": "s"},
    ],
    ids=str,
)
def test_a_state_with_a_field_of_another_kind_is_refused(change):
    with make(sources([40, 40]), batch_size=8) as mixture:
        state = mixture.state_dict() | {"step": 3, "epoch": 5}
        (field,) = change
        with pytest.raises(ValueError, match=f"the state('s| has) {field}"):
            mixture.load_state_dict(state | change)
        assert (mixture.epoch, mixture.step) == (0, 0)
        for i, source in enumerate(state["sources"]):
            for key, value in (("lanes", True), ("shuffle", 1), ("seed", np.zeros(2))):
                others = list(state["sources"])
                others[i] = source | {key: value}
                with pytest.raises(ValueError, match="the state has sources="):
                    mixture.load_state_dict(state | {"sources": others})
        # A writer of JSON may drop the point.
        mixture.load_state_dict(state | {"weights": [1, 1]})
        assert (mixture.epoch, mixture.step) == (5, 3)


def test_a_mixture_that_never_stops_has_no_later_epoch_to_load():
    with (
        make(sources([10, 3]), batch_size=4, stop="never") as mixture,
        pytest.raises(ValueError, match=r"state's epoch must be an integer in \[0, 0\], got 3"),
    ):
        mixture.load_state_dict(mixture.state_dict() | {"epoch": 3})


def test_integers_of_numpy_make_a_state_of_json():
    mixture = make(
        sources([40, 40]), batch_size=np.int64(8), seed=np.uint8(3), weights=np.array([1, 2])
    )
    with mixture:
        mixture.set_epoch(np.int64(2))
        next(iter(mixture))
        state = json.loads(json.dumps(mixture.state_dict()))
        assert (state["epoch"], state["step"], state["batch"], state["seed"]) == (2, 1, 8, 3)
        mixture.iter_epoch(np.int32(1), np.int32(4))
        json.dumps(mixture.state_dict())
        for wrong in (1.0, "1", None, True):
            with pytest.raises(TypeError, match="epoch must be an integer"):
                mixture.set_epoch(wrong)
            with pytest.raises(TypeError, match="step must be an integer"):
                mixture.iter_epoch(0, wrong)


def test_a_batch_that_no_epoch_fills_is_refused():
    with pytest.raises(
        ValueError, match=r"batch_size=24 takes more.*they have \[10, 40\], a batch"
    ):
        make(sources([10, 40]), batch_size=24)
    with make(sources([10, 40]), batch_size=24, stop="all") as mixture:
        assert len(values(mixture)) == len(mixture) > 0


def test_ranks_place_their_samples_differently():
    # The same shares at the same step, at other places.
    places = []
    for rank in range(2):
        with make(sources([400, 400]), rank=rank, world_size=2, batch_size=64) as mixture:
            places.append([[value >= 10_000 for value in batch] for batch in values(mixture)])
    same = [first == second for first, second in zip(*places, strict=True)]
    assert len(same) > 10
    assert not any(same)


def test_what_cannot_be_mixed_is_refused():
    data = sources([10, 10])
    with pytest.raises(ValueError, match="one weight for each of 2 loaders, got 1"):
        make(data, weights=[1], batch_size=4)
    with pytest.raises(ValueError, match="stop must be 'first', 'all' or 'never', got 'last'"):
        make(data, batch_size=4, stop="last")
    with pytest.raises(ValueError, match="at least one loader, got none"):
        cs.mix([], batch_size=4)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        make(data, batch_size=0)
    with pytest.raises(ValueError, match="batch_size must be a multiple of world_size=2, got 3"):
        make(data, batch_size=3, world_size=2)
    for batch_size in ("a", None, 4.0, True):
        with pytest.raises(TypeError, match=f"batch_size must be an integer, got {batch_size!r}"):
            make(data, batch_size=batch_size)
    with pytest.raises(TypeError, match=r"seed must be an integer, got 1\.5"):
        make(data, batch_size=4, seed=1.5)
    for weights in ("ab", ["1", "2"], [None, 1], [True, False], [[1, 2]]):
        with pytest.raises(TypeError, match="weights must be a list of numbers, got"):
            make(data, batch_size=4, weights=weights)
    with pytest.raises(
        TypeError, match=r"list of chunkstore\.Loader, but number 0 of it is a dict"
    ):
        cs.mix(data, batch_size=4)
    with pytest.raises(TypeError, match="mix takes a list of loaders, got dict"):
        cs.mix(data[0], batch_size=4)
    one, other = (
        cs.Loader(arrays, names, batch_size=2) for arrays, names in zip(data, "xy", strict=True)
    )
    with pytest.raises(ValueError, match=r"loader 1 delivers int64 \(\), loader 0 float32 \(3,\)"):
        cs.mix([one, other], batch_size=4)
    with pytest.raises(ValueError, match="loader 1 is given twice"):
        cs.mix([one, one], batch_size=4)
    keeps = [
        cs.Loader(arrays, "x", batch_size=2, rank=0, world_size=2, last="keep") for arrays in data
    ]
    with pytest.raises(ValueError, match="last='keep': on several ranks"):
        cs.mix(keeps, batch_size=4)
    empty = cs.Loader({"x": np.zeros((0, 3), np.float32)}, "x", batch_size=2)
    with pytest.raises(ValueError, match="loader 1 has no batches"):
        cs.mix([one, empty], batch_size=4)


def test_files_are_mixed_with_structure_and_transforms(tmp_path):
    for i, count in enumerate((300, 100)):
        labels = np.full(count, i)
        cs.save(tmp_path / f"{i}.zarr.zip", {"x": np.full((count, 2), i, "u1"), "label": labels})
    one_hot = {"label": cs.transforms.one_hot(2)}
    with cs.open(tmp_path / "0.zarr.zip") as first, cs.open(tmp_path / "1.zarr.zip") as second:
        loaders = [
            cs.Loader(store, {"image": "x", "label": "label"}, batch_size=16, transform=one_hot)
            for store in (first, second)
        ]
        with cs.mix(loaders, weights=[1, 1], batch_size=20, stop="all") as mixture:
            assert len(mixture) == 30
            for batch in mixture:
                assert list(batch) == ["image", "label"]
                assert batch["label"].sum(axis=0).tolist() == [10, 10]
                assert np.array_equal(batch["image"][:, 0], batch["label"].argmax(axis=1))


def test_keras_trains_on_a_mixture(require):
    keras = require("keras")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with make(sources([40, 40]), names=("x", "y"), batch_size=8) as mixture:
        history = model.fit(mixture.keras(), epochs=2, verbose=0)
        assert len(history.history["loss"]) == 2
        assert mixture.epoch == 2
