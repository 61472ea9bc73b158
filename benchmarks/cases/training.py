"""What does an epoch of Keras from a compressed file cost beside the same arrays in memory?

The model is one that takes longer for a batch than a core for decoding it: then the loader's
threads are done before they are waited for. The time that Keras waited stands beside the ratio.
"""

from __future__ import annotations

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

_BATCH_SIZE = 128
_MEMORY = 128 * MIB
_LIMIT = 1.05
_CODEC, _LEVEL = "zstd", 1
_MOST_PATCHES = 6000
_CLASSES = 10


def run(settings: Settings) -> list[Result]:
    """Measure."""
    found = interpreters(settings)
    if not found:
        print(missing_backends(), file=sys.stderr)
    results = []
    for backend, python in found.items():
        with Session(python) as session:
            measured = session.call(
                compare,
                backend=backend,
                patches=patches_file(settings.folder, settings.patches),
                folder=settings.folder,
                rounds=settings.rounds,
            )
        waited = measured["wait_seconds"] / sum(ours for ours, _ in measured["seconds"])
        results.append(
            ratio(
                measured["seconds"],
                ours=0,
                peer=1,
                direction="at most",
                limit=_LIMIT,
                case="train",
                name=f"Keras epoch from a file / from memory, {backend}",
                conditions=(
                    f"{_CODEC}-{_LEVEL}, warm page cache; waited {waited:.1%} of the time; one "
                    f"core decodes {measured['decode_ratio']:.0f} times as fast as the model takes"
                ),
                decoded_nbytes=measured["nbytes"],
                details={
                    "wait_share": waited,
                    "decode_ratio": measured["decode_ratio"],
                    "processor_seconds": measured["processor_seconds"],
                },
            )
        )
    return results


def compare(backend: str, patches: str, folder: str, rounds: int) -> Any:
    """Return the seconds of an epoch from the file and from memory, round by round."""
    keras = import_keras(backend)
    images = np.load(patches)[:_MOST_PATCHES]
    labels = np.random.default_rng(0).integers(0, _CLASSES, len(images))
    path = f"{folder}/training-{len(images)}.zarr.zip"
    if not Path(path).exists():
        cs.save(path, {"x": images, "y": labels}, codec=_CODEC, level=_LEVEL)
    model = _model(keras)
    processor_seconds: list[list[float]] = [[], []]

    def timed(side: int, work: Any) -> float:
        started, processor = time.perf_counter(), time.process_time()
        work()
        processor_seconds[side].append(time.process_time() - processor)
        return time.perf_counter() - started

    with (
        cs.open(path) as store,
        cs.Loader(store, ("x", "y"), batch_size=_BATCH_SIZE, memory=_MEMORY) as loader,
    ):
        data = loader.keras()
        sides = [
            lambda: timed(0, lambda: model.fit(data, verbose=0)),
            lambda: timed(1, lambda: model.fit(images, labels, batch_size=_BATCH_SIZE, verbose=0)),
        ]
        # Compiling, and the first reading of the file, belong to neither.
        for side in sides:
            side()
        before = loader.stats()
        seconds = measure_in_turns(sides, rounds=rounds, has_warm_up=False)
        after = loader.stats()
    decode_seconds = after.decode_seconds - before.decode_seconds
    return {
        "seconds": seconds,
        "processor_seconds": processor_seconds,
        "wait_seconds": after.wait_seconds - before.wait_seconds,
        "decode_ratio": sum(memory for _, memory in seconds) / max(decode_seconds, 1e-9),
        "nbytes": images.nbytes,
    }


def _model(keras: Any) -> Any:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input(PATCH_SHAPE, dtype="uint8"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(16, 5, strides=2, activation="relu"),
            layers.Conv2D(32, 3, strides=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(_CLASSES),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss)
    return model
