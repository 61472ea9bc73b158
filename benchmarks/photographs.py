"""Which real data do the measurements write and read?

Crops of the photographs that scikit-image and scikit-learn install with themselves; nothing is
downloaded.
"""

from __future__ import annotations

import functools
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


@functools.cache
def _photographs() -> list[NDArray[np.uint8]]:
    from PIL import Image

    return [np.asarray(Image.open(path).convert("RGB")) for path in photograph_paths()]


def cut_patches(count: int, *, start: int = 0) -> NDArray[np.uint8]:
    """Return patches, shape ``(count, 64, 64, 3)``, cut at random places of all photographs."""
    return cut_crops(count, PATCH_SHAPE, start=start)


def cut_crops(count: int, shape: tuple[int, int, int], *, start: int = 0) -> NDArray[np.uint8]:
    """Return crops of some shape, cut at random places of all photographs.

    Parameters
    ----------
    count
        How many.
    shape
        Rows, columns and 3 channels: no photograph is smaller than 300 x 427 pixels.
    start
        Any number; each gives other crops.

    Returns
    -------
    crops
        Shape ``(count, *shape)``.
    """
    images = _photographs()
    rng = np.random.default_rng([_SEED, start])
    labels = rng.integers(0, len(images), count)
    places = rng.random((count, 2))
    crops = np.empty((count, *shape), np.uint8)
    for label, image in enumerate(images):
        # windows: (places for the first row, places for the first column, 1, *shape), a view
        windows = np.lib.stride_tricks.sliding_window_view(image, shape)
        chosen = np.flatnonzero(labels == label)
        rows, columns = (places[chosen] * windows.shape[:2]).astype(np.int64).T
        crops[chosen] = windows[rows, columns, 0]
    return crops


def patches_file(folder: str, count: int) -> str:
    """Return the path of an ``.npy`` file with so many patches, cut when it is not there yet."""
    path = f"{folder}/patches-{count}.npy"
    if not Path(path).exists():
        unfinished = f"{folder}/unfinished-{count}.npy"
        np.save(unfinished, cut_patches(count))
        os.replace(unfinished, path)  # noqa: PTH105 - paths are strings here
    return path
