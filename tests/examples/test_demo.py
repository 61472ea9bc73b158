"""Does the demo do what it says, and does it notice when the memory budget is broken?"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

import chunkstore as cs
from tests import support

keras = support.require("keras")
support.require("skimage")
support.require("sklearn")
support.require("matplotlib")

DEMO = support.REPOSITORY / "examples" / "demo.py"
NUM_PATCHES = 700


@pytest.fixture(scope="module")
def demo():
    """Return the demo's module."""
    spec = importlib.util.spec_from_file_location("demo", DEMO)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run the demo with few patches; return its folder and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    process = subprocess.run(
        [sys.executable, DEMO, "--patches", str(NUM_PATCHES), "--folder", folder],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return folder, process.stdout


def test_the_demo_prints_every_measure_that_it_promises(run):
    _, printed = run
    for word in (
        "train.zarr.zip: 700 patches",
        "valid.zarr.zip: 128 patches",
        "ratio",
        "samples/s",
        "waited",
        "accuracy",
        "peak memory",
        "second model on the features: validation accuracy",
    ):
        assert word in printed


def test_the_demo_leaves_sound_files_a_model_and_a_picture(run):
    folder, _ = run
    assert sorted(path.name for path in folder.iterdir()) == [
        "demo.png",
        "features-valid.zarr.zip",
        "features.zarr.zip",
        "model.keras",
        "train.zarr.zip",
        "valid.zarr.zip",
    ]
    for path in folder.glob("*.zarr.zip"):
        assert cs.verify(path).ok
    assert (folder / "demo.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_the_demos_features_are_those_of_the_patches_beside_their_labels(run):
    folder, _ = run
    model = keras.models.load_model(folder / "model.keras")
    extractor = keras.Model(model.input, model.get_layer("features").output)
    for split, out in (("train", "features"), ("valid", "features-valid")):
        with cs.open(folder / f"{split}.zarr.zip") as source:
            images, labels = source["image"][:200], source["label"][...]
        features = cs.load(folder / f"{out}.zarr.zip")
        np.testing.assert_array_equal(features["label"], labels)
        np.testing.assert_allclose(
            features["feature"][:200], extractor.predict(images, verbose=0), rtol=1e-4, atol=1e-5
        )


def test_validation_patches_come_from_a_strip_that_training_never_sees(demo):
    # Each pixel holds the share of the photograph to the left of it, in percent.
    shares = (np.arange(400) / 4).astype(np.uint8)
    photographs = {"only": np.broadcast_to(shares[:, None], (80, 400, 3))}
    patches = {
        is_validation: np.concatenate(
            [
                block
                for block, _ in demo.iter_patches(
                    photographs, 600, validation=is_validation, seed=0
                )
            ]
        )
        for is_validation in (False, True)
    }
    assert patches[False].shape == patches[True].shape == (600, 64, 64, 3)
    assert patches[False].max() < 80 <= patches[True].min()


@pytest.mark.parametrize(("excess", "is_within_budget"), [(0, True), (1, False)])
def test_the_memory_check_fails_one_byte_above_the_budgets_and_64_mib(
    demo, capsys, excess, is_within_budget
):
    allowed = demo.MEMORY + demo.MEMORY // 4 + (64 << 20)
    baseline = {"peak_nbytes": 500 << 20, "samples_per_second": 1.0}
    trained = {"peak_nbytes": baseline["peak_nbytes"] + allowed + excess}
    assert demo.check_memory(trained, baseline) is is_within_budget
    assert "the loaders took 224 MiB of at most 224 MiB" in capsys.readouterr().out


def test_the_demo_ends_with_exit_code_1_when_the_budget_is_broken(
    demo, tmp_path, monkeypatch, capsys
):
    history = {name: [0.5] for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
    measured = {
        "train": {
            "history": history,
            "seconds": 1.0,
            "samples_per_second": 1.0,
            "wait_seconds": 0.0,
            "peak_nbytes": 900 << 20,
        },
        "baseline": {"samples_per_second": 1.0, "peak_nbytes": 500 << 20},
        "features": {"accuracy": 0.5},
    }
    monkeypatch.setattr(demo, "run_stage", lambda stage, folder: measured[stage])
    monkeypatch.setattr(demo, "draw", lambda folder, history: folder / "demo.png")
    monkeypatch.setattr(sys, "argv", ["demo.py", "--patches", "128", "--folder", str(tmp_path)])
    assert demo.main() == 1
    assert "more memory than their budget" in capsys.readouterr().err
