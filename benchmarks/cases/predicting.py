"""What does a prediction that goes to a file cost beside asking the model alone?

The bare loop calls ``predict_on_batch`` on slices of an array in memory and drops the outputs.
`chunkstore.predict` reads the same array, checks, encodes and writes every output.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import chunkstore as cs
from benchmarks.keras_backends import import_keras, interpreters, missing_backends
from benchmarks.photographs import PATCH_SHAPE, patches_file
from benchmarks.probe import Session
from benchmarks.result import MIB, Result, measure_in_turns, ratio

if TYPE_CHECKING:
    from benchmarks.result import Settings

_BATCH_SIZE = 256
_FEATURES, _CLASSES = 2048, 1000
_LIMIT = 0.95
_MEMORY = 32 * MIB
_MEMORY_LIMIT_NBYTES = 64 * MIB
_SEED = 4


def run(settings: Settings) -> list[Result]:
    """Measure."""
    found = interpreters(settings)
    if not found:
        print(missing_backends(), file=sys.stderr)
    results = []
    num_batches = max(2, settings.patches // 60_000 * 64)
    for backend, python in found.items():
        for kind, title in (
            ("dense", f"dense {_FEATURES} to {_CLASSES}"),
            ("convolutions", "convolutions, patches to 64 features"),
        ):
            with Session(python) as session:
                measured = session.call(
                    compare,
                    backend=backend,
                    kind=kind,
                    patches=patches_file(settings.folder, settings.patches),
                    folder=settings.folder,
                    num_batches=num_batches,
                    rounds=settings.rounds,
                )
            results.append(
                ratio(
                    measured["seconds"],
                    ours=0,
                    peer=1,
                    direction="at least",
                    limit=_LIMIT,
                    case="predict",
                    name=f"{title}, {backend}: predict / predict_on_batch alone",
                    conditions=f"batches of {_BATCH_SIZE}, inputs in memory, a file on the disk",
                    decoded_nbytes=measured["nbytes"],
                    details={"processor_seconds": measured["processor_seconds"]},
                )
            )
        with Session(python) as session:
            grown = session.call(
                grown_nbytes,
                backend=backend,
                folder=settings.folder,
                num_batches=9 * num_batches,
                num_short=num_batches,
            )
        results.append(
            Result(
                case="predict",
                name=f"memory beside a run of {num_batches} batches, {backend}",
                values=[grown["nbytes"] / MIB],
                direction="at most",
                limit=_MEMORY_LIMIT_NBYTES / MIB,
                conditions=f"{grown['output_nbytes'] / MIB:.0f} MiB of outputs",
                unit="MiB",
            )
        )
    return results


def compare(
    backend: str, kind: str, patches: str, folder: str, num_batches: int, rounds: int
) -> Any:
    """Return the seconds of `predict` and of the bare loop, round by round."""
    keras = import_keras(backend)
    model, inputs = _dense(keras, num_batches) if kind == "dense" else _convolutions(keras, patches)
    out = f"{folder}/predictions.zarr.zip"
    processor_seconds: list[list[float]] = [[], []]

    def timed(side: int, work: Any) -> float:
        started, processor = time.perf_counter(), time.process_time()
        work()
        processor_seconds[side].append(time.process_time() - processor)
        return time.perf_counter() - started

    def bare() -> None:
        for start in range(0, len(inputs), _BATCH_SIZE):
            model.predict_on_batch(inputs[start : start + _BATCH_SIZE])

    def ours() -> None:
        cs.predict(
            model, {"x": inputs}, out, batch_size=_BATCH_SIZE, overwrite=True, progress=False
        )

    seconds = measure_in_turns([lambda: timed(0, ours), lambda: timed(1, bare)], rounds=rounds)
    with cs.open(out) as store:
        (name,) = store
        last = (len(inputs) - 1) // _BATCH_SIZE * _BATCH_SIZE
        expected = model.predict_on_batch(inputs[last:])
        if not np.array_equal(store[name][last:], expected):
            raise ValueError("the file does not hold what the model returned")
        nbytes = store[name].nbytes
    Path(out).unlink()
    return {"seconds": seconds, "processor_seconds": processor_seconds, "nbytes": nbytes}


def grown_nbytes(backend: str, folder: str, num_batches: int, num_short: int) -> Any:
    """Return by how much the peak memory of a long run is above that of a short one."""
    keras = import_keras(backend)
    model, inputs = _dense(keras, 1)
    out, source = f"{folder}/predictions.zarr.zip", f"{folder}/inputs.zarr.zip"

    def run_over(count: int) -> int:
        # One batch again and again: the inputs take no memory of their own.
        with cs.create(source, codec="lz4", overwrite=True) as writer:
            for _ in range(count):
                writer.append(x=inputs)
        with (
            cs.open(source) as store,
            cs.Loader(store, "x", batch_size=_BATCH_SIZE, memory=_MEMORY) as loader,
        ):
            cs.predict(model, loader, out, overwrite=True, progress=False)
        with cs.open(out) as store:
            (name,) = store
            return int(store[name].nbytes)

    run_over(num_short)
    before = _peak_nbytes()
    output_nbytes = run_over(num_batches)
    grown = _peak_nbytes() - before
    for path in (out, source):
        os.unlink(path)  # noqa: PTH108 - paths are strings here
    return {"nbytes": grown, "output_nbytes": output_nbytes}


def _peak_nbytes() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _dense(keras: Any, num_batches: int) -> tuple[Any, Any]:
    model = keras.Sequential([keras.Input((_FEATURES,)), keras.layers.Dense(_CLASSES)])
    rng = np.random.default_rng(_SEED)
    shape = (num_batches * _BATCH_SIZE, _FEATURES)
    return model, rng.standard_normal(shape, dtype=np.float32)


def _convolutions(keras: Any, patches: str) -> tuple[Any, Any]:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input(PATCH_SHAPE, dtype="uint8"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(16, 5, strides=2, activation="relu"),
            layers.Conv2D(32, 3, strides=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(64),
        ]
    )
    return model, np.load(patches)[: 24 * _BATCH_SIZE]
