"""What can be done to samples while they are loaded?

``Loader(store, ("x", "y"), transform={"x": transforms.scale(), "y": transforms.one_hot(10)}, ...)``

A transform is any function of some samples, shape ``(n, *sample_shape)``, that returns as many. The
reading threads call it on the samples of one chunk at a time, so it must treat each sample by
itself. The random ones here, and functions marked with `seeded`, draw from a `SampleRandom`: the
draws of a sample depend on seed, epoch and position alone, so every run repeats them whatever the
threads, and two arrays with the same transform get the same draws.
"""

from __future__ import annotations

from chunkstore.plan.draws import SampleRandom
from chunkstore.transforms.geometry import (
    channels_first,
    channels_last,
    flip,
    pad_and_crop,
    random_crop,
)
from chunkstore.transforms.transform import Transform, compose, seeded
from chunkstore.transforms.values import normalize, one_hot, scale

__all__ = [
    "SampleRandom",
    "Transform",
    "channels_first",
    "channels_last",
    "compose",
    "flip",
    "normalize",
    "one_hot",
    "pad_and_crop",
    "random_crop",
    "scale",
    "seeded",
]
