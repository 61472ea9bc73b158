"""Does a killed run that is started again end in the file of a run that nothing interrupted?"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore import system
from chunkstore.predicting.resuming import is_checkpoint
from tests import support

NUM_SAMPLES = 1000


def data_set(num_samples=NUM_SAMPLES):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(num_samples, 6)).astype(np.float32)
    return {"x": x, "y": np.arange(num_samples)}


class Model:
    """Features of 2 KiB and a score; fails at one of its calls."""

    def __init__(self, fail_at=None):
        self.fail_at, self.lengths = fail_at, []

    def __call__(self, x):
        if len(self.lengths) == self.fail_at:
            raise RuntimeError("the model failed")
        self.lengths.append(len(x))
        return {"feature": np.tile(x, (1, 90)), "score": x.sum(1)}


def predict(model, out, arrays=None, **options):
    options = {"batch_size": 16, "tag": "features 1", "arrays": "x", "keep": "y"} | options
    cs.predict(model, arrays or data_set(), out, **options)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.zarr.zip"


@pytest.mark.parametrize("batch_size", [16, 17, 100])
@pytest.mark.parametrize("share", [0.02, 0.4, 0.97])
def test_a_failed_run_goes_on_at_a_checkpoint_and_ends_in_the_same_bytes(
    out, tmp_path, batch_size, share
):
    whole = tmp_path / "whole.zarr.zip"
    model = Model()
    predict(model, whole, batch_size=batch_size)
    assert cs.verify(whole).ok
    fail_at = max(1, int(share * len(model.lengths)))
    with pytest.raises(RuntimeError, match="the model failed"):
        predict(Model(fail_at), out, batch_size=batch_size)
    again = Model()
    predict(again, out, batch_size=batch_size)
    done = len(model.lengths) - len(again.lengths)
    assert 0 < done <= fail_at
    assert fail_at - done <= max(16, -(-len(model.lengths) // 20)) + 1
    assert again.lengths == model.lengths[done:]
    assert out.read_bytes() == whole.read_bytes()


def test_a_run_that_fails_again_and_again_ends_in_the_same_bytes(out, tmp_path):
    whole = tmp_path / "whole.zarr.zip"
    predict(Model(), whole)
    for _ in range(100):
        try:
            predict(Model(20), out)
        except RuntimeError:
            continue
        break
    assert out.read_bytes() == whole.read_bytes()


KILLED = """
import os, signal, sys
from tests.predict.test_resume import Model, predict
class Killed(Model):
    def __call__(self, x):
        if len(self.lengths) == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(x)
predict(Killed(), sys.argv[1])
"""


@pytest.mark.parametrize("call", [0, 1, 30, 62])
def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(out, tmp_path, call):
    whole = tmp_path / "whole.zarr.zip"
    model = Model()
    predict(model, whole)
    process = subprocess.run(
        [sys.executable, "-c", KILLED, out, str(call)], cwd=support.REPOSITORY, check=False
    )
    assert process.returncode == -9
    again = Model()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predict(again, out)
    # The first checkpoint is behind the first batch, which is written while others are computed.
    assert len(again.lengths) < len(model.lengths) or call < 5
    assert out.read_bytes() == whole.read_bytes()


def test_checkpoints_leave_no_short_chunks_where_batches_and_chunks_end_together(out):
    predict(Model(), out)
    with cs.open(out) as store:
        assert store["feature"].chunk_shape[0] % 16 == 0
        # Metadata and directories of 20 checkpoints, and the first batch.
        assert store.dead_nbytes < 20 * 8192


def test_a_function_that_cannot_be_seen_starts_anew_without_a_tag(out, tmp_path):
    with (tmp_path / "open").open("w") as file:

        class Unseen(Model):
            handle = file

        with pytest.raises(RuntimeError, match="the model failed"):
            predict(Unseen(30), out, tag=None)
        with pytest.raises(
            FileExistsError, match=r"computes cannot be seen.* with tag= in each run"
        ):
            predict(Unseen(), out, tag=None)
        predict(Unseen(), out, tag=None, overwrite=True)
    with cs.open(out) as store:
        assert store.num_samples == NUM_SAMPLES
        assert dict(store.attributes) == {}


def test_a_function_is_known_by_its_code_and_what_it_is_bound_to(out, monkeypatch):
    lengths = []
    monkeypatch.setattr(sys, "chunkstore_test_lengths", lengths, raising=False)

    def make(by):
        def features(x):
            sys.chunkstore_test_lengths.append(len(x))
            if len(sys.chunkstore_test_lengths) == 40:
                raise RuntimeError("the model failed")
            return np.tile(x, (1, 90)) * by

        return features

    with pytest.raises(RuntimeError, match="the model failed"):
        predict(make(2), out, tag=None)
    with pytest.raises(FileExistsError, match="was begun with another model"):
        predict(make(3), out, tag=None)
    assert len(lengths) == 40
    predict(make(2), out, tag=None)
    assert len(lengths) < 40 + NUM_SAMPLES // 16
    np.testing.assert_array_equal(cs.load(out)["output"], np.tile(data_set()["x"], (1, 90)) * 2)


def other_data():
    arrays = data_set()
    arrays["x"][500] += 1
    return arrays


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"tag": "features 2"}, "tag"),
        ({"codec": "zstd"}, "codec, level"),
        ({"level": 1}, "codec, level"),
        ({"arrays": other_data()}, "source"),
        ({"batch_size": 32}, "batch_size"),
        ({"dtype": "float16"}, "dtype"),
        ({"outputs": "score"}, "outputs"),
        ({"keep": ()}, "source, types, keep"),
    ],
    ids=["tag", "codec", "level", "source", "batch", "dtype", "outputs", "keep"],
)
def test_an_unfinished_file_of_another_run_is_named_and_kept(out, tmp_path, options, field):
    with pytest.raises(RuntimeError, match="the model failed"):
        predict(Model(30), out)
    partial = out.with_name(out.name + ".partial")
    before = partial.read_bytes()
    data = options.get("arrays")
    options = {key: value for key, value in options.items() if key != "arrays"}
    with pytest.raises(
        FileExistsError, match=f"begun with another {field}; overwrite=True starts anew"
    ):
        predict(Model(), out, data, **options)
    assert partial.read_bytes() == before
    anew = Model()
    predict(anew, out, data, overwrite=True, **options)
    assert sum(anew.lengths) == NUM_SAMPLES
    predict(Model(), tmp_path / "whole.zarr.zip", data, **options)
    assert out.read_bytes() == (tmp_path / "whole.zarr.zip").read_bytes()


def test_resume_false_starts_anew(out):
    with pytest.raises(RuntimeError, match="the model failed"):
        predict(Model(30), out)
    with pytest.raises(FileExistsError, match="never finished"):
        predict(Model(), out, resume=False)
    model = Model()
    predict(model, out, resume=False, overwrite=True)
    assert sum(model.lengths) == NUM_SAMPLES


def test_a_finished_file_is_not_touched_by_a_run_that_could_go_on(out):
    predict(Model(), out)
    before = out.read_bytes()
    with pytest.raises(FileExistsError, match="overwrite=True replaces it"):
        predict(Model(), out)
    with pytest.raises(RuntimeError, match="the model failed"):
        predict(Model(30), out, overwrite=True)
    assert out.read_bytes() == before
    again = Model()
    predict(again, out, overwrite=True)
    assert sum(again.lengths) < NUM_SAMPLES
    assert out.read_bytes() == before


def test_a_stored_source_is_known_by_the_checksums_of_its_chunks(out, tmp_path):
    cs.save(tmp_path / "a.zarr.zip", data_set())
    cs.save(tmp_path / "b.zarr.zip", other_data())
    with cs.open(tmp_path / "a.zarr.zip") as a, cs.open(tmp_path / "b.zarr.zip") as b:
        with pytest.raises(RuntimeError, match="the model failed"):
            predict(Model(30), out, a)
        with pytest.raises(FileExistsError, match="another source"):
            predict(Model(), out, b)
        predict(Model(), out, a)
    np.testing.assert_array_equal(cs.load(out)["score"], data_set()["x"].sum(1))


def plus_one(x):
    return x + 1


def test_the_transforms_of_the_loader_belong_to_the_run(out, tmp_path):
    arrays = {name: data_set()[name] for name in ("x", "y")}

    def run(transform, model, **options):
        with cs.Loader(arrays, ("x", "y"), batch_size=16, transform={"x": transform}) as loader:
            cs.predict(model, loader, out, tag=options.pop("tag", "m"), **options)

    with pytest.raises(RuntimeError, match="the model failed"):
        run(cs.transforms.scale(2), Model(30))
    for other in (cs.transforms.scale(3), plus_one):
        with pytest.raises(FileExistsError, match="was begun with another transform"):
            run(other, Model())
    run(cs.transforms.scale(2), Model())
    np.testing.assert_allclose(cs.load(out)["score"], 2 * arrays["x"].sum(1), rtol=1e-5)


class NoSpace:
    """Writes until the disk is full."""

    def __init__(self, nbytes):
        self.left = nbytes

    def __call__(self, descriptor, data, offset, pwrite=system.calls.pwrite):
        if len(data) > self.left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.left -= len(data)
        return pwrite(descriptor, data, offset)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_full_disk_is_an_error_and_what_was_durable_is_gone_on_with(
    out, tmp_path, monkeypatch, share
):
    whole = tmp_path / "whole.zarr.zip"
    predict(Model(), whole)
    monkeypatch.setattr(system.calls, "pwrite", NoSpace(int(share * whole.stat().st_size)))
    with pytest.raises(cs.SystemCallError, match="No space left") as caught:
        predict(Model(), out)
    assert caught.value.errno == errno.ENOSPC
    assert not out.exists()
    monkeypatch.undo()
    again = Model()
    predict(again, out)
    assert sum(again.lengths) < NUM_SAMPLES or share < 0.1
    assert out.read_bytes() == whole.read_bytes()


def test_what_was_durable_stays_when_an_output_changes_its_shape(out):
    class Shrinking(Model):
        def __call__(self, x):
            found = super().__call__(x)
            if len(self.lengths) == 40:
                found["feature"] = found["feature"][:, :5]
            return found

    with pytest.raises(ValueError, match=r"'feature': expected shape \(n, 540\)"):
        predict(Shrinking(), out)
    again = Model()
    predict(again, out)
    assert 0 < sum(again.lengths) < NUM_SAMPLES


def test_the_attribute_of_the_state_is_taken(out):
    with pytest.raises(ValueError, match="'predict' says what was predicted"):
        predict(Model(), out, attributes={"predict": 1})
    predict(Model(), out, attributes={"note": 1})
    with cs.open(out) as store:
        assert store.attributes["note"] == 1
        assert store.attributes["predict"]["tag"] == "features 1"


@given(
    num_samples=st.integers(1, 10**7),
    batch_size=st.integers(1, 5000),
    chunk_lengths=st.lists(st.integers(1, 10**6), min_size=1, max_size=3),
)
def test_checkpoints_are_few_at_ends_of_batches_and_lose_little(
    num_samples, batch_size, chunk_lengths
):
    ends = range(batch_size, num_samples, batch_size)
    # Long runs are looked at in steps, beside the first batch.
    ends = [*ends[:400], *ends[400 :: max(1, len(ends) // 400)]]
    found = [
        end
        for end in ends
        if is_checkpoint(end, chunk_lengths, num_samples=num_samples, batch_size=batch_size)
    ]
    assert found[:1] == ends[:1]
    assert len(found) <= 21
    assert not is_checkpoint(
        num_samples, chunk_lengths, num_samples=num_samples, batch_size=batch_size
    )
    assert not any(
        is_checkpoint(end - 1, chunk_lengths, num_samples=num_samples, batch_size=batch_size)
        for end in ends
        if batch_size > 1
    )


def test_a_transform_that_cannot_be_seen_starts_anew_without_a_tag(out):
    def run(model, **options):
        steps = {"x": np.random.default_rng(0).permuted}
        with cs.Loader(data_set(), ("x", "y"), batch_size=16, transform=steps) as loader:
            cs.predict(model, loader, out, **options)

    with pytest.raises(RuntimeError, match="the model failed"):
        run(Model(30))
    with pytest.raises(FileExistsError, match="this model or a transform"):
        run(Model(30))


KILLED_EARLY = """
import os, signal, sys
from chunkstore.store.writer import Writer
from tests.predict.test_resume import Model, predict
def flush(writer):
    writer._pipeline.drain()
    os.kill(os.getpid(), signal.SIGKILL)
Writer.flush = flush
predict(Model(), sys.argv[1], batch_size=200)
"""


def test_a_run_killed_before_its_first_directory_begins_anew(out, tmp_path):
    whole = tmp_path / "whole.zarr.zip"
    predict(Model(), whole, batch_size=200)
    command = [sys.executable, "-c", KILLED_EARLY, out]
    assert subprocess.run(command, cwd=support.REPOSITORY, check=False).returncode == -9
    partial = out.with_name(out.name + ".partial")
    begun = partial.read_bytes()
    assert begun
    with pytest.raises(cs.IncompleteError, match="before its first directory"):
        cs.open(partial)
    with pytest.raises(FileExistsError, match="begun with another tag"):
        predict(Model(), out, batch_size=200, tag="other")
    assert partial.read_bytes() == begun
    predict(Model(), out, batch_size=200)
    assert out.read_bytes() == whole.read_bytes()


def test_an_unfinished_file_of_another_writer_is_kept_though_it_has_no_directory(out):
    partial = out.with_name(out.name + ".partial")
    writer = cs.create(out, chunk_nbytes=1024)
    writer.append(x=np.arange(10_000))
    writer._pipeline.drain()
    begun = partial.read_bytes()
    writer.abort()
    partial.write_bytes(begun)
    with pytest.raises(FileExistsError):
        predict(Model(), out)
    assert partial.read_bytes() == begun


def with_nan(model):
    def call(x):
        found = model(x)
        found["score"][x[:, 0] > 1] = np.nan
        return found

    return call


def test_nan_before_a_kill_and_before_an_error_is_counted(out, tmp_path):
    whole = tmp_path / "whole.zarr.zip"
    x = data_set()["x"][:, 0]
    with pytest.warns(cs.ChunkStoreWarning, match=f"NaN in {(x > 1).sum()} of {NUM_SAMPLES} samp"):
        predict(with_nan(Model()), whole)
    with (
        pytest.warns(cs.ChunkStoreWarning, match=f"NaN in {(x[:480] > 1).sum()} of 480 samples"),
        pytest.raises(RuntimeError, match="the model failed"),
    ):
        predict(with_nan(Model(30)), out)
    with pytest.warns(cs.ChunkStoreWarning, match=f"NaN in {(x > 1).sum()} of {NUM_SAMPLES} samp"):
        predict(with_nan(Model()), out)
    assert out.read_bytes() == whole.read_bytes()
    with cs.open(out) as store:
        assert store.attributes["predict"]["nan_samples"] == {"score": (x > 1).sum()}


def test_a_run_that_stopped_between_two_checkpoints_is_begun_anew(out, tmp_path):
    """Such a file is what a writer leaves that was closed by its owner in between."""
    whole = tmp_path / "whole.zarr.zip"
    predict(Model(), whole)
    with pytest.raises(RuntimeError, match="the model failed"):
        predict(Model(30), out)
    arrays = data_set()
    writer = cs.append(out, resume=True)
    stop = writer.num_samples + 7
    x, y = arrays["x"][stop - 7 : stop], arrays["y"][stop - 7 : stop]
    writer.append(feature=np.tile(x, (1, 90)), score=x.sum(1), y=y)
    writer.flush()
    writer.abort()
    again = Model()
    predict(again, out)
    assert sum(again.lengths) == NUM_SAMPLES
    assert out.read_bytes() == whole.read_bytes()
