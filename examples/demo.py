"""Photographs into one compressed file, a Keras model trained from it, its features streamed back.

    make demo                            everything, in the folder demo/
    python examples/demo.py --patches 2000 --folder /somewhere/else

Ten photographs from the packages scikit-image and scikit-learn are cut into patches of 64 x 64
pixels; the label is the photograph. Validation patches come from a strip of each photograph that no
training patch touches. The training runs in a process of its own, and so does the same fit on one
batch that is repeated: the difference of their peak memory is what the loader took, and the
demo fails if that is more than the memory budget and 64 MiB.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import chunkstore as cs

PATCH = 64
BATCH_SIZE = 128
EPOCHS = 2
MEMORY = 128 << 20
SLACK = 64 << 20
BASELINE_RUNS = 3
# Right part of each photograph that is kept for validation.
VALIDATION_SHARE = 0.2
SEED = 20
MIB = 1 << 20


def load_photographs() -> dict[str, np.ndarray]:
    """Return ten photographs, uint8, three channels, by name."""
    import skimage.data
    from sklearn.datasets import load_sample_images

    names = ["astronaut", "chelsea", "coffee", "hubble_deep_field", "immunohistochemistry"]
    photographs = {name: getattr(skimage.data, name)() for name in [*names, "retina", "rocket"]}
    photographs["motorcycle"] = skimage.data.stereo_motorcycle()[0]
    photographs["china"], photographs["flower"] = load_sample_images().images
    return photographs


def iter_patches(
    photographs: dict[str, np.ndarray], count: int, *, validation: bool, seed: int
) -> Any:
    """Yield blocks of ``(patches, labels)``, ``count`` samples in all, mixed over photographs."""
    rng = np.random.default_rng(seed)
    images = list(photographs.values())
    done = 0
    while done < count:
        size = min(512, count - done)
        labels = rng.integers(0, len(images), size)
        patches = np.empty((size, PATCH, PATCH, 3), np.uint8)
        for place, label in enumerate(labels):
            image = images[label]
            border = int(image.shape[1] * (1 - VALIDATION_SHARE))
            left, right = (border, image.shape[1]) if validation else (0, border)
            row = rng.integers(0, image.shape[0] - PATCH + 1)
            column = rng.integers(left, right - PATCH + 1)
            patches[place] = image[row : row + PATCH, column : column + PATCH]
        yield patches, labels
        done += size


def write_patches(folder: Path, patches: int) -> None:
    """Write train.zarr.zip and valid.zarr.zip."""
    photographs = load_photographs()
    attributes = {"class_names": list(photographs)}
    for name, count, validation in (
        ("train", patches, False),
        ("valid", max(patches // 10, BATCH_SIZE), True),
    ):
        path = folder / f"{name}.zarr.zip"
        started = time.perf_counter()
        with cs.create(path, attributes=attributes, overwrite=True) as writer:
            for images, labels in iter_patches(
                photographs, count, validation=validation, seed=SEED + validation
            ):
                writer.append(image=images, label=labels)
        seconds = time.perf_counter() - started
        with cs.open(path) as store:
            image = store["image"]
            print(
                f"{path.name}: {store.num_samples} patches, {image.nbytes / MIB:.0f} MiB in "
                f"{store.file_nbytes / MIB:.0f} MiB, ratio {image.nbytes / store.file_nbytes:.2f} "
                f"({image.codec}), cut and written in {seconds:.1f} s",
                flush=True,
            )


def build_model(num_classes: int) -> Any:
    """Return a small strided convolutional network and its penultimate layer's model."""
    import keras

    inputs = keras.Input((PATCH, PATCH, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = keras.layers.Conv2D(16, 5, strides=4, padding="same", activation="relu")(x)
    x = keras.layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(x)
    x = keras.layers.Conv2D(64, 3, strides=2, padding="same", activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    features = keras.layers.Dense(64, activation="relu", name="features")(x)
    outputs = keras.layers.Dense(num_classes)(features)
    model = keras.Model(inputs, outputs)
    model.compile(
        optimizer=keras.optimizers.Adam(2e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def peak_nbytes() -> int:
    """Return the most memory that this process has had resident."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def train(folder: Path, *, repeat_one_batch: bool) -> dict[str, Any]:
    """Fit for two epochs, from the file or on one repeated batch; return what was measured."""
    import keras

    keras.utils.set_random_seed(SEED)
    with cs.open(folder / "train.zarr.zip") as store, cs.open(folder / "valid.zarr.zip") as valid:
        names = ("image", "label")
        with (
            cs.Loader(store, names, batch_size=BATCH_SIZE, seed=SEED, memory=MEMORY) as loader,
            cs.Loader(
                valid, names, batch_size=BATCH_SIZE, shuffle=False, memory=MEMORY // 4
            ) as valid_loader,
        ):
            model = build_model(len(store.attributes["class_names"]))
            if repeat_one_batch:
                batch = tuple(store[name][:BATCH_SIZE] for name in names)
                data = repeated_batch(batch, len(loader))
                validation = repeated_batch(batch, len(valid_loader))
            else:
                data, validation = loader.keras(), valid_loader.keras()
            started = time.perf_counter()
            history = model.fit(data, validation_data=validation, epochs=EPOCHS, verbose=0).history
            seconds = time.perf_counter() - started
            waited = 0.0 if repeat_one_batch else loader.stats().wait_seconds
            samples = EPOCHS * (loader.num_samples + valid_loader.num_samples)
    if not repeat_one_batch:
        model.save(folder / "model.keras")
    return {
        "history": history,
        "seconds": seconds,
        "samples_per_second": samples / seconds,
        "wait_seconds": waited,
        "peak_nbytes": peak_nbytes(),
    }


def repeated_batch(batch: tuple[np.ndarray, ...], num_batches: int) -> Any:
    """Return a Keras data set of one batch; Keras is imported only in the processes that train."""
    import keras

    class RepeatedBatch(keras.utils.PyDataset):
        """The same batch again and again: a fit that needs no loader."""

        def __len__(self) -> int:
            return num_batches

        def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
            return batch

    return RepeatedBatch()


def stream_features(folder: Path) -> dict[str, Any]:
    """Write the penultimate layer's outputs to files and train a second model on them."""
    import keras

    model = keras.models.load_model(folder / "model.keras")
    extractor = keras.Model(model.input, model.get_layer("features").output)
    for split in ("train", "valid"):
        with cs.open(folder / f"{split}.zarr.zip") as store:
            started = time.perf_counter()
            out = folder / ("features.zarr.zip" if split == "train" else "features-valid.zarr.zip")
            cs.predict(
                extractor,
                store,
                out,
                arrays="image",
                batch_size=512,
                outputs="feature",
                keep="label",
                overwrite=True,
            )
            seconds = time.perf_counter() - started
        with cs.open(out) as features:
            feature = features["feature"]
            print(
                f"{out.name}: {feature.shape[0]} features of {feature.shape[1]} values, "
                f"{feature.nbytes / MIB:.1f} MiB in {features.file_nbytes / MIB:.1f} MiB "
                f"({feature.codec}), {feature.shape[0] / seconds:.0f} samples/s",
                flush=True,
            )
    with (
        cs.open(folder / "features.zarr.zip") as store,
        cs.open(folder / "features-valid.zarr.zip") as valid,
    ):
        names = ("feature", "label")
        with (
            cs.Loader(store, names, batch_size=BATCH_SIZE, seed=SEED, memory=MEMORY // 4) as loader,
            cs.Loader(valid, names, batch_size=BATCH_SIZE, memory=MEMORY // 4) as valid_loader,
        ):
            second = keras.Sequential(
                [
                    keras.Input(store["feature"].shape[1:]),
                    keras.layers.Dense(32, activation="relu"),
                    keras.layers.Dense(len(np.unique(store["label"][...]))),
                ]
            )
            second.compile(
                optimizer=keras.optimizers.Adam(2e-3),
                loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                metrics=["accuracy"],
            )
            second.fit(loader.keras(), epochs=EPOCHS, verbose=0)
            _, accuracy = second.evaluate(valid_loader.keras(), verbose=0)
    return {"accuracy": float(accuracy)}


def draw(folder: Path, history: dict[str, list[float]]) -> Path:
    """Save sample patches and the curves of the training as demo.png."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    with cs.open(folder / "train.zarr.zip") as store:
        images, labels = store["image"][:16], store["label"][:16]
        class_names = store.attributes["class_names"]
    figure = plt.figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subfigures(1, 2)
    for axis, image, label in zip(left.subplots(4, 4).flat, images, labels, strict=True):
        axis.imshow(image)
        axis.set_title(class_names[label][:14], fontsize=7)
        axis.axis("off")
    loss, accuracy = right.subplots(2, 1, sharex=True)
    epochs = np.arange(1, len(history["loss"]) + 1)
    for axis, name in ((loss, "loss"), (accuracy, "accuracy")):
        axis.plot(epochs, history[name], "o-", label="training")
        axis.plot(epochs, history[f"val_{name}"], "s--", label="validation")
        axis.set_ylabel(name)
        axis.legend()
    accuracy.set_xlabel("epoch")
    accuracy.set_xticks(epochs)
    path = folder / "demo.png"
    figure.savefig(path, dpi=110)
    return path


def run_stage(stage: str, folder: Path) -> dict[str, Any]:
    """Run a stage in a fresh process, so that its peak memory is its own."""
    result = folder / f"{stage}.json"
    # One arena of glibc's allocator: with one for each thread, the peak of the very same fit
    # differs by 100 MiB from run to run, and a difference of two peaks would say nothing.
    environment = os.environ | {"MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, __file__, "--folder", str(folder), "--stage", stage]
    subprocess.run(command, check=True, env=environment)
    measured: dict[str, Any] = json.loads(result.read_text())
    result.unlink()
    return measured


def check_memory(trained: dict[str, Any], baseline: dict[str, Any]) -> bool:
    """Print what the loaders took, and say whether that is within their budgets and 64 MiB."""
    extra = trained["peak_nbytes"] - baseline["peak_nbytes"]
    allowed = MEMORY + MEMORY // 4 + SLACK
    print(
        f"peak memory: {trained['peak_nbytes'] / MIB:.0f} MiB; the same fit on one repeated "
        f"batch: {baseline['peak_nbytes'] / MIB:.0f} MiB, {baseline['samples_per_second']:.0f} "
        f"samples/s; the loaders took {extra / MIB:.0f} MiB of at most {allowed / MIB:.0f} MiB "
        f"(budgets of {MEMORY / MIB:.0f} and {MEMORY / 4 / MIB:.0f} MiB, and 64 MiB)",
        flush=True,
    )
    return bool(extra <= allowed)


def main() -> int:
    """Run the demo, or one of its stages; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("demo"))
    parser.add_argument("--patches", type=int, default=61_440)
    parser.add_argument("--stage", choices=["train", "baseline", "features"])
    options = parser.parse_args()
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("KERAS_BACKEND", "jax")
    if options.stage is not None:
        if options.stage == "features":
            measured = stream_features(folder)
        else:
            measured = train(folder, repeat_one_batch=options.stage == "baseline")
        (folder / f"{options.stage}.json").write_text(json.dumps(measured))
        return 0

    write_patches(folder, options.patches)
    trained = run_stage("train", folder)
    history = trained["history"]
    print(
        f"training: {EPOCHS} epochs in {trained['seconds']:.1f} s, "
        f"{trained['samples_per_second']:.0f} samples/s (validation included), waited "
        f"{trained['wait_seconds']:.2f} s for data; accuracy {history['accuracy'][-1]:.3f}, "
        f"validation {history['val_accuracy'][-1]:.3f}",
        flush=True,
    )
    # The peak of the very same fit on one batch differs by over 100 MiB from run to run (XLA's own
    # buffers): before the loaders are blamed, it is measured up to three times.
    is_within_budget = False
    for _ in range(BASELINE_RUNS):
        is_within_budget = check_memory(trained, run_stage("baseline", folder))
        if is_within_budget:
            break
    second = run_stage("features", folder)
    print(f"second model on the features: validation accuracy {second['accuracy']:.3f}")
    print(f"picture: {draw(folder, history)}")
    if not is_within_budget:
        print("error: the loaders took more memory than their budget and 64 MiB", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
