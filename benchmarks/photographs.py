"""Which real data do the measurements write and read?

Patches of 64 x 64 pixels from the photographs that scikit-image and scikit-learn install with
themselves; nothing is downloaded.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PATCH_SHAPE = (64, 64, 3)
_SEED = 20
_FILES = {
    "skimage": (
        "data/astronaut.png",
        "data/chelsea.png",
        "data/coffee.png",
        "data/hubble_deep_field.jpg",
        "data/ihc.png",
        "data/motorcycle_left.png",
        "data/retina.jpg",
        "data/rocket.jpg",
    ),
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
}


def photograph_paths() -> list[Path]:
    """Return the photographs' files.

    Raises
    ------
    ModuleNotFoundError
        scikit-image or scikit-learn is not installed; says how to install them.
    """
    paths = []
    for package, names in _FILES.items():
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(
                f"the photographs come with {package}; install them with "
                "pip install scikit-image scikit-learn"
            )
        paths += [Path(spec.origin).parent / name for name in names]
    return paths


def cut_patches(count: int) -> NDArray[np.uint8]:
    """Return patches, shape ``(count, 64, 64, 3)``, cut at random places of all photographs."""
    from PIL import Image

    images = [np.asarray(Image.open(path).convert("RGB")) for path in photograph_paths()]
    rng = np.random.default_rng(_SEED)
    patches = np.empty((count, *PATCH_SHAPE), np.uint8)
    for patch, label in zip(patches, rng.integers(0, len(images), count), strict=True):
        image = images[label]
        row = rng.integers(0, image.shape[0] - PATCH_SHAPE[0] + 1)
        column = rng.integers(0, image.shape[1] - PATCH_SHAPE[1] + 1)
        patch[...] = image[row : row + PATCH_SHAPE[0], column : column + PATCH_SHAPE[1]]
    return patches


def patches_file(folder: str, count: int) -> str:
    """Return the path of an ``.npy`` file with so many patches, cut when it is not there yet."""
    path = f"{folder}/patches-{count}.npy"
    if not Path(path).exists():
        unfinished = f"{folder}/unfinished-{count}.npy"
        np.save(unfinished, cut_patches(count))
        os.replace(unfinished, path)  # noqa: PTH105 - paths are strings here
    return path
