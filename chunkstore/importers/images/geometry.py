"""Which size does an image get, and by which steps?

An image is resized as a whole, then cut or padded about its centre. Both follow from its size
alone, so an image and its mask go the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

Fit = Literal["stretch", "pad", "crop"]
Resample = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]

# More than any camera has; less than what numbers that were mistyped ask for.
_MAX_SIDE: Final = 1 << 16


@dataclass(frozen=True)
class Placement:
    """How one image becomes one sample.

    Attributes
    ----------
    resized
        Height and width after resizing, in pixels.
    shape
        Height and width of the sample.
    """

    resized: tuple[int, int]
    shape: tuple[int, int]

    @property
    def offset(self) -> tuple[int, int]:
        """Row and column in the sample where the resized image begins; negative where it is cut."""
        return (
            (self.shape[0] - self.resized[0]) // 2,
            (self.shape[1] - self.resized[1]) // 2,
        )


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """What shall become of the sizes of images.

    Attributes
    ----------
    size
        Height and width of all samples in pixels; None keeps the images' own, or goes by
        ``short_side`` and ``crop``.
    fit
        How an image of another shape comes to ``size``: ``"stretch"`` changes its proportions,
        ``"pad"`` keeps them and fills the rest with ``pad_value``, ``"crop"`` keeps them and cuts
        what is too much.
    short_side
        Length in pixels that the shorter side gets; the proportions stay.
    crop
        Height and width in pixels that are cut out of the middle, after ``short_side``.
    resample
        Filter, with antialiasing where an image shrinks.
    pad_value
        Of ``"pad"``, for each channel.

    Raises
    ------
    ValueError
        A value that is not allowed, or two that exclude each other.

    Examples
    --------
    >>> Geometry(size=(100, 100), fit="crop").placement(300, 400)
    Placement(resized=(100, 133), shape=(100, 100))
    >>> Geometry(short_side=256, crop=(224, 224)).placement(512, 768)
    Placement(resized=(256, 384), shape=(224, 224))
    """

    size: tuple[int, int] | None = None
    fit: Fit = "stretch"
    short_side: int | None = None
    crop: tuple[int, int] | None = None
    resample: Resample = "bilinear"
    pad_value: int = 0

    def __post_init__(self) -> None:
        if self.fit not in get_args(Fit):
            raise ValueError(f"fit must be one of {list(get_args(Fit))}, got {self.fit!r}")
        if self.resample not in get_args(Resample):
            raise ValueError(
                f"resample must be one of {list(get_args(Resample))}, got {self.resample!r}"
            )
        if self.size is not None and (self.short_side is not None or self.crop is not None):
            raise ValueError(
                "size= makes all images equal; short_side= and crop= are another way: give one"
            )
        for what, sides in (
            ("size", self.size),
            ("crop", self.crop),
            ("short_side", self.short_side and (self.short_side,)),
        ):
            for side in sides or ():
                if not 1 <= side <= _MAX_SIDE:
                    raise ValueError(f"{what} must be 1 to {_MAX_SIDE} pixels, got {side}")
        if self.short_side == 0:
            raise ValueError(f"short_side must be 1 to {_MAX_SIDE} pixels, got 0")
        if not 0 <= self.pad_value <= 255:
            raise ValueError(f"pad_value must be 0 to 255, got {self.pad_value}")

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width of every sample, or None where it follows from the image."""
        return self.size or self.crop

    def placement(self, height: int, width: int) -> Placement:
        """Return how an image of some size becomes a sample.

        Parameters
        ----------
        height, width
            Of the image, in pixels.

        Raises
        ------
        ValueError
            The image is smaller than what shall be cut out of it.
        """
        if self.size is not None:
            if self.fit == "stretch":
                return Placement(self.size, self.size)
            ratios = self.size[0] / height, self.size[1] / width
            if self.fit == "pad":
                scale, best = min(ratios), min
            else:
                scale, best = max(ratios), max
            resized = (
                best(self.size[0], max(1, round(height * scale))),
                best(self.size[1], max(1, round(width * scale))),
            )
            return Placement(resized, self.size)
        resized = (height, width)
        if self.short_side is not None:
            scale = self.short_side / min(height, width)
            resized = (
                max(self.short_side, round(height * scale)),
                max(self.short_side, round(width * scale)),
            )
        if self.crop is None:
            return Placement(resized, resized)
        if resized[0] < self.crop[0] or resized[1] < self.crop[1]:
            raise ValueError(
                f"{resized[0]}x{resized[1]} pixels are too few to cut "
                f"{self.crop[0]}x{self.crop[1]} out of them"
            )
        return Placement(resized, self.crop)

    def to_json(self) -> dict[str, Any]:
        """Return what was chosen, for the provenance of a file."""
        if self.size is not None:
            chosen: dict[str, Any] = {"size": list(self.size), "fit": self.fit}
            if self.fit == "pad":
                chosen["pad_value"] = self.pad_value
        else:
            chosen = {}
            if self.short_side is not None:
                chosen["short_side"] = self.short_side
            if self.crop is not None:
                chosen["crop"] = list(self.crop)
        if self.size is not None or self.short_side is not None:
            chosen["resample"] = self.resample
        return chosen
