"""Does a file hold what a dict of NumPy arrays holds, whatever is done with its writer?"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import chunkstore as cs
from chunkstore.store.array_writer import ArrayWriter
from tests.store.stores import check_equal, random_array, without_sync

NAMES = ("x", "y", "group/z")
DTYPES = ("u1", "i8", "f4", "S3", "M8[s]", "?")
SHAPES = ((), (3,), (2, 2), (0,))


class WriterMachine(RuleBasedStateMachine):
    """A writer beside a dict of arrays: what was flushed is what a second reader sees."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="writer-state-"))
        self.path = self.folder / "a.zarr.zip"
        self.sync = without_sync()
        self.sync.__enter__()
        self.seed = 0

    @initialize(
        arrays=st.dictionaries(
            st.sampled_from(NAMES),
            st.tuples(st.sampled_from(DTYPES), st.sampled_from(SHAPES), st.integers(1, 9)),
            min_size=1,
        )
    )
    def create(self, arrays):
        specs = {
            name: cs.ArraySpec(dtype, shape, chunk_length=length)
            for name, (dtype, shape, length) in arrays.items()
        }
        self.writer = cs.create(self.path, arrays=specs)
        self.is_finished = False
        self.aligned = {name: np.zeros((0, *s.sample_shape), s.dtype) for name, s in specs.items()}
        self.others = {}
        self.attributes = {}
        self.acknowledged = None

    def values(self, shape, dtype):
        self.seed += 1
        return random_array(shape, dtype, seed=self.seed)

    @property
    def expected(self):
        return {**self.aligned, **self.others}

    @property
    def count(self):
        return len(next(iter(self.aligned.values())))

    def acknowledge(self):
        self.acknowledged = (dict(self.aligned), dict(self.others), dict(self.attributes))

    @rule(count=st.integers(0, 25))
    def append(self, count):
        blocks = {n: self.values((count, *a.shape[1:]), a.dtype) for n, a in self.aligned.items()}
        self.writer.append_mapping(blocks)
        for name, block in blocks.items():
            self.aligned[name] = np.concatenate([self.aligned[name], block])

    @rule(data=st.data())
    def append_what_does_not_fit(self, data):
        bad = data.draw(st.sampled_from(["name", "length", "dtype"]))
        blocks = {n: self.values((2, *a.shape[1:]), a.dtype) for n, a in self.aligned.items()}
        if bad == "name":
            blocks["other"] = np.zeros(2)
        elif bad == "length" and len(blocks) > 1:
            blocks[next(iter(blocks))] = blocks[next(iter(blocks))][:1]
        else:
            name = next(iter(blocks))
            blocks[name] = np.zeros(blocks[name].shape, "c16")
        with pytest.raises((TypeError, ValueError)):
            self.writer.append_mapping(blocks)

    @rule(data=st.data(), dtype=st.sampled_from(DTYPES), shape=st.sampled_from(SHAPES))
    def replace_aligned(self, data, dtype, shape):
        name = data.draw(st.sampled_from(sorted(self.aligned)))
        array = self.values((self.count, *shape), dtype)
        self.writer.put(name, array, chunk_length=data.draw(st.sampled_from([None, 1, 4, 30])))
        self.aligned[name] = array

    @rule(count=st.integers(0, 30), dtype=st.sampled_from(DTYPES), length=st.integers(1, 9))
    def put_unaligned(self, count, dtype, length):
        array = self.values((count, 2), dtype)
        self.writer.put("other", array, aligned=False, chunk_length=length)
        self.others["other"] = array

    @rule(value=st.one_of(st.integers(), st.text(max_size=9), st.none(), st.lists(st.booleans())))
    def change_attributes(self, value):
        self.writer.attributes["value"] = value
        self.attributes["value"] = value

    @rule()
    def flush(self):
        self.writer.flush()
        self.acknowledge()

    @rule()
    def close_and_go_on(self):
        self.writer.close()
        self.is_finished = True
        self.acknowledge()
        self.check_acknowledged()
        self.writer = cs.append(self.path)

    @precondition(lambda self: self.acknowledged is not None)
    @rule()
    def abort_and_go_on(self):
        self.writer.abort()
        self.aligned, self.others, self.attributes = map(dict, self.acknowledged)
        self.writer = cs.append(self.path, resume=True)

    @precondition(lambda self: self.is_finished)
    @rule()
    def compact(self):
        self.writer.close()
        self.acknowledge()
        cs.compact(self.path)
        self.writer = cs.append(self.path)

    @invariant()
    def check_writer(self):
        if hasattr(self, "writer"):
            assert self.writer.num_samples == self.count
            assert set(self.writer.specs) == set(self.expected)

    @invariant()
    def check_acknowledged(self):
        if not hasattr(self, "writer") or self.acknowledged is None:
            return
        aligned, others, attributes = self.acknowledged
        path = self.path if self.is_finished else f"{self.path}.partial"
        with warnings.catch_warnings():
            # An append may be under way behind the last checkpoint.
            warnings.simplefilter("ignore", cs.ChunkStoreWarning)
            store = cs.open(path)
        with store:
            check_equal(store, {**aligned, **others})
            assert store.attributes == attributes
            assert set(store.sample_arrays) == set(aligned)
            assert store.num_samples == len(next(iter(aligned.values())))

    def teardown(self):
        try:
            if hasattr(self, "writer"):
                self.writer.close()
                self.is_finished = True
                self.acknowledge()
                self.check_acknowledged()
                assert cs.verify(self.path).problems == ()
        finally:
            if hasattr(self, "writer"):
                self.writer.abort()
            self.sync.__exit__(None, None, None)
            shutil.rmtree(self.folder)


TestWriter = WriterMachine.TestCase
TestWriter.settings = settings(stateful_step_count=20)


def test_the_machine_notices_an_edge_chunk_that_is_not_written_again(monkeypatch):
    write_edge = ArrayWriter.write_edge

    def forgetful(self, pipeline):
        if self.num_samples < self.chunk_length:
            write_edge(self, pipeline)
        elif not self.is_edge_written:
            # The short chunk of the flush before stays in force.
            self.is_edge_written = True

    machine = WriterMachine()
    try:
        machine.create({"y": ("i8", (), 9)})
        machine.append(5)
        machine.flush()
        machine.check_acknowledged()
        monkeypatch.setattr(ArrayWriter, "write_edge", forgetful)
        machine.append(7)
        machine.flush()
        with pytest.raises((AssertionError, cs.ChunkStoreError)):
            machine.check_acknowledged()
    finally:
        machine.writer.abort()
        machine.sync.__exit__(None, None, None)
        shutil.rmtree(machine.folder)


def test_a_flush_before_the_first_sample_does_not_decide_how_they_are_stored(tmp_path):
    smooth = np.cumsum(np.ones((64, 256), np.int8), axis=0).astype(np.uint8)
    for name, flushes in (("flushed", True), ("plain", False)):
        spec = {"x": cs.ArraySpec("u1", (256,), chunk_length=32)}
        with cs.create(tmp_path / name, arrays=spec, codec="lz4") as writer:
            if flushes:
                writer.flush()
            writer.append(x=smooth)
    with cs.open(tmp_path / "flushed") as flushed, cs.open(tmp_path / "plain") as plain:
        assert flushed["x"].codec == plain["x"].codec
        assert flushed["x"].fingerprint == plain["x"].fingerprint
