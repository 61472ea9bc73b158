"""Pictures that tests write: smooth colours with edges and noise, as photographs have."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support import require

require("simplejpeg")
Image = require("PIL.Image")


def pixels(height=48, width=64, *, seed=0, channels=3, dtype=np.uint8):
    """Return a picture, shape ``(height, width, channels)``, or ``(height, width)`` for 0."""
    rng = np.random.Generator(np.random.Philox(seed))
    rows, columns = np.mgrid[0:height, 0:width]
    planes = []
    for _ in range(max(1, channels)):
        a, b, c = rng.uniform(0.02, 0.3, 3)
        planes.append(np.sin(a * rows + c) + np.cos(b * columns) + (rows > columns) * 0.5)
    values = np.stack(planes, axis=-1)
    values += rng.normal(0, 0.05, values.shape)
    values = (values - values.min()) / (values.max() - values.min())
    values = (values * np.iinfo(dtype).max).astype(dtype)
    return values if channels else values[..., 0]


def save(path, image=None, *, orientation=None, **options):
    """Write a picture, by default one of colour; make its folder."""
    image = Image.fromarray(pixels()) if image is None else image
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    path.parent.mkdir(parents=True, exist_ok=True)
    if orientation is not None:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    image.save(path, **options)
    return path


def class_tree(root, counts, *, suffix=".png", shape=(12, 16)):
    """Write folders of pictures, all different; return their names in order."""
    names = []
    for number, (name, count) in enumerate(counts.items()):
        for i in range(count):
            relative = f"{name}/{i:03d}{suffix}"
            save(root / relative, pixels(*shape, seed=1000 * number + i))
            names.append(relative)
    return sorted(names, key=lambda name: name.split("/"))


def pillow_pixels(path, mode="RGB", size=None, resample=Image.Resampling.BILINEAR):
    """Return what Pillow alone makes of a file, upright."""
    from PIL import ImageOps

    with Image.open(path) as image:
        image = ImageOps.exif_transpose(image)
        if image.has_transparency_data:
            image = image.convert("RGBA")
        if mode == "L":
            image = image.convert("RGB")
        image = image.convert(mode)
        if size is not None:
            image = image.resize((size[1], size[0]), resample)
        return np.asarray(image)


skips_without_webp = pytest.mark.skipif(
    not require("PIL.features").check("webp"), reason="this Pillow has no WebP"
)
