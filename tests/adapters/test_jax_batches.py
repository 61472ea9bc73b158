"""Does a JAX program get the loader's batches: values, types, devices, position?"""

from __future__ import annotations

import ast
import itertools
import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

import chunkstore as cs
from tests import support
from tests.adapters.batch_laws import (
    NUM_SAMPLES,
    check_threads_end,
    expected_epoch,
    make_loader,
    numbers_of,
    plain,
    write_file,
)

jax = support.require("jax")


@pytest.fixture
def store(tmp_path):
    with cs.open(write_file(tmp_path / "x.zarr.zip")) as store:
        yield store


@pytest.mark.parametrize("prefetch", [0, 1, 3, 100])
def test_epochs_are_those_of_the_loader_in_order(store, prefetch):
    with make_loader(store) as loader:
        batches = loader.jax(prefetch=prefetch)
        for epoch in range(3):
            got = list(batches)
            assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(got))
            got = [plain(batch) for batch in got]
            assert got == expected_epoch(store, epoch)
            assert sorted(numbers_of(got)) == list(range(NUM_SAMPLES))
            assert len(batches) == len(got)


def test_kept_batches_never_change(store):
    with make_loader(store) as loader:
        kept, copies = [], []
        for _ in range(4):
            for batch in loader.jax():
                kept.append(batch)
                copies.append(plain(batch))
        assert [plain(batch) for batch in kept] == copies


def test_memory_that_jax_shares_is_not_used_again_while_jax_has_it():
    # Rows of 64 KiB: every batch begins where JAX takes the memory as it is.
    arrays = {"x": np.repeat(np.arange(64, dtype=np.float32), 1 << 14).reshape(64, -1)}
    with cs.Loader(arrays, "x", batch_size=2, window=1, memory="16MiB") as loader:
        kept = [x for _ in range(3) for x in loader.jax()]
        for x in kept:
            values = np.asarray(x)
            assert (values == values[:, :1]).all()
        firsts = sorted(float(value) for x in kept for value in x[:, 0])
    assert firsts == sorted([*range(64)] * 3)


def test_the_state_is_behind_the_batch_handed_out_and_not_behind_those_on_their_way(store):
    with make_loader(store) as loader:
        batches = loader.jax(prefetch=4)
        for epoch in (0, 1):
            for step, _ in enumerate(batches, 1):
                state = json.loads(json.dumps(batches.state_dict()))
                assert (state["epoch"], state["step"]) == (epoch, step)
                if step in (1, 7, len(batches)):
                    with make_loader(store) as other:
                        resumed = other.jax()
                        resumed.load_state_dict(state)
                        got = [plain(batch) for batch in resumed]
                        assert got == expected_epoch(store, epoch, step=step)
                        assert resumed.epoch == epoch + 1
            assert (batches.epoch, batches.step) == (epoch + 1, 0)


def test_a_loop_that_is_left_ends_the_threads_and_the_next_one_is_the_next_epoch(store):
    with make_loader(store) as loader:
        batches = loader.jax(prefetch=3)
        for _ in batches:
            break
        check_threads_end()
        assert (batches.epoch, batches.step) == (0, 1)
        assert [plain(batch) for batch in batches] == expected_epoch(store, 1)
        batches.set_epoch(9)
        assert [plain(batch) for batch in batches] == expected_epoch(store, 9)


def test_moving_the_loader_itself_moves_the_batches(store):
    with make_loader(store) as loader:
        batches = loader.jax()
        for _ in itertools.islice(batches, 3):
            pass
        loader.set_epoch(6)
        assert (batches.epoch, batches.step) == (6, 0)
        assert [plain(batch) for batch in batches] == expected_epoch(store, 6)


def test_without_64_bits_floats_are_rounded_and_integers_kept_or_refused():
    arrays = {
        "f": np.array([0.1, 0.2]),
        "i": np.array([1, -(2**31)]),
        "u": np.array([0, 2**32 - 1], np.uint64),
        "c": np.array([1j, 2.0]),
    }
    with cs.Loader(arrays, batch_size=2, shuffle=False) as loader:
        (batch,) = loader.jax()
    assert {name: part.dtype for name, part in batch.items()} == {
        "f": np.float32,
        "i": np.int32,
        "u": np.uint32,
        "c": np.complex64,
    }
    for name, part in batch.items():
        np.testing.assert_allclose(np.asarray(part), arrays[name])
    with (
        cs.Loader({"i": np.array([1, 2**31])}, batch_size=2) as loader,
        pytest.raises(ValueError, match=r"batch\['i'\] holds values between 1 and 2147483648"),
    ):
        list(loader.jax())


@pytest.mark.parametrize(
    "array",
    [np.array(["a", "b"]), np.array([b"a"]), np.zeros(2, "M8[s]"), np.zeros(2, [("a", "i4")])],
    ids=["str", "bytes", "datetime", "structured"],
)
def test_types_that_jax_lacks_are_refused_by_place(array):
    with (
        cs.Loader({"x": array}, ("x",), batch_size=2) as loader,
        pytest.raises(TypeError, match=r"batch\[0\] has dtype .*, for which JAX has no type"),
    ):
        loader.jax()


def test_arguments_that_make_no_sense_are_refused(store):
    with make_loader(store) as loader:
        with pytest.raises(ValueError, match="prefetch must be an integer of at least 0, got -1"):
            loader.jax(prefetch=-1)
        device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        with pytest.raises(ValueError, match=r"must be full: give the loader last='drop' or 'pad'"):
            loader.jax(sharding=device)


def test_mixtures_are_jax_arrays_too():
    loaders = [cs.Loader({"x": np.full((40, 2), i, "f4")}, "x", batch_size=4) for i in range(2)]
    with cs.mix(loaders, batch_size=8) as mixture:
        assert {float(x.sum()) for x in mixture.jax()} == {8.0}


SHARDED = """
import jax, numpy as np
import chunkstore as cs
from jax.sharding import NamedSharding, PartitionSpec
mesh = jax.make_mesh((4,), ("data",))
sharding = NamedSharding(mesh, PartitionSpec("data"))
arrays = {"x": np.arange(96, dtype=np.float32).reshape(32, 3), "y": np.arange(32)}
with cs.Loader(arrays, ("x", "y"), batch_size=8, last="drop") as loader:
    batches = list(loader.jax(sharding=sharding))
    for x, y in batches:
        assert len(x.addressable_shards) == 4 and x.sharding == sharding == y.sharding
        assert [shard.data.shape for shard in x.addressable_shards] == [(2, 3)] * 4
        assert (np.asarray(x)[:, 0] == 3 * np.asarray(y)).all()
    assert sorted(int(v) for _, y in batches for v in y) == list(range(32))
with cs.Loader(arrays, "x", batch_size=6, last="drop") as loader:
    try:
        loader.jax(sharding=sharding)
    except ValueError as error:
        assert "cannot spread a batch of shape (6, 3)" in str(error), error
    else:
        raise SystemExit("not refused")
columns = NamedSharding(mesh, PartitionSpec(None, "data"))
wide = {"x": np.ones((32, 4), np.float32), "y": np.arange(32)}
with cs.Loader(wide, ("x", "y"), batch_size=8, last="drop") as loader:
    try:
        loader.jax(sharding=columns)
    except ValueError as error:
        assert "cannot spread a batch of shape (8,): it spreads an axis" in str(error), error
    else:
        raise SystemExit("not refused")
"""

RANK = """
import sys
import jax, numpy as np
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize("localhost:" + sys.argv[1], 2, int(sys.argv[2]))
import chunkstore as cs
from jax.sharding import NamedSharding, PartitionSpec
sharding = NamedSharding(jax.make_mesh((4,), ("data",)), PartitionSpec("data"))
arrays = {"y": np.arange(32, dtype=np.int32)}
with cs.Loader(arrays, "y", batch_size=8) as loader:
    assert (loader.rank, loader.world_size) == (jax.process_index(), 2)
    for y in loader.jax(sharding=sharding):
        assert y.shape == (8,) and y.sharding == sharding
        print(sorted(int(v) for shard in y.addressable_shards for v in shard.data))
"""


def environment(num_devices):
    flags = f"--xla_force_host_platform_device_count={num_devices}"
    return os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


def test_batches_are_spread_over_the_devices_of_a_process():
    subprocess.run(
        [sys.executable, "-c", SHARDED], env=environment(4), cwd=support.REPOSITORY, check=True
    )


def test_processes_give_their_parts_of_a_global_batch():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(port), str(rank)],
            env=environment(2),
            cwd=support.REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [rank.communicate(timeout=120)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    numbers = [
        number
        for text in outputs
        for line in text.splitlines()
        for number in ast.literal_eval(line)
    ]
    assert sorted(numbers) == list(range(32))
