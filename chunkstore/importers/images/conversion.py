"""Which channels does an image get, and which images are refused for theirs?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np

from chunkstore.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chunkstore.importers.images.header import Header

Mode = Literal["rgb", "gray", "rgba"]
SixteenBit = Literal["refuse", "scale", "keep"]
Animated = Literal["refuse", "first"]

_CHANNELS: Final = {"rgb": 3, "gray": 1, "rgba": 4}
# What Pillow converts to RGB as everybody does; Lab and HSV need more than a matrix.
_COLOURS: Final = frozenset(
    {"1", "L", "P", "RGB", "RGBA", "RGBX", "RGBa", "LA", "La", "PA", "CMYK", "YCbCr"}
)
_MASK_MODES: Final = frozenset({"1", "L", "P"})


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What shall become of the channels of images.

    Attributes
    ----------
    mode
        Channels of a sample: ``"rgb"``, ``"gray"`` with one channel, ``"rgba"``.
    sixteen_bit
        Images of 16 bits a channel: ``"refuse"``, ``"scale"`` to 8 bits by the upper ones,
        ``"keep"`` as uint16, which takes ``mode="gray"`` and then all images of 16 bits.
    animated
        Files of several frames or pages: ``"refuse"``, or ``"first"`` takes the first one.
    scaled_decoding
        Let the JPEG decoder shrink images to no less than twice the wanted size, which is faster;
        False decodes every pixel, and resizing sees them all.

    Raises
    ------
    ValueError
        A value that is not allowed.
    """

    mode: Mode = "rgb"
    sixteen_bit: SixteenBit = "refuse"
    animated: Animated = "refuse"
    scaled_decoding: bool = True

    def __post_init__(self) -> None:
        for what, value, allowed in (
            ("mode", self.mode, get_args(Mode)),
            ("sixteen_bit", self.sixteen_bit, get_args(SixteenBit)),
            ("animated", self.animated, get_args(Animated)),
        ):
            if value not in allowed:
                raise ValueError(f"{what} must be one of {list(allowed)}, got {value!r}")
        if self.sixteen_bit == "keep" and self.mode != "gray":
            raise ValueError(
                f"sixteen_bit='keep' goes with mode='gray', got {self.mode!r}: colours of 16 bits "
                "are not read"
            )

    @property
    def num_channels(self) -> int:
        """Of a sample."""
        return _CHANNELS[self.mode]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of samples."""
        return np.dtype(np.uint16 if self.sixteen_bit == "keep" else np.uint8)

    def check(self, header: Header, path: str) -> None:
        """Raise where an image cannot become a sample.

        Raises
        ------
        UnsupportedError
            Says what the image has, and which option takes it.
        """
        check_frames(header, path, self.animated)
        if header.bits == 32 or (header.bits == 8 and header.mode not in _COLOURS):
            raise UnsupportedError(
                f"pixels of mode {header.mode} ({header.bits} bits a channel) are not read", path
            )
        if header.bits == 16:
            if self.sixteen_bit == "refuse":
                raise UnsupportedError(
                    "the image has 16 bits a channel; sixteen_bit='scale' takes the upper 8, "
                    "'keep' with mode='gray' keeps them",
                    path,
                )
            if self.sixteen_bit == "keep" and not header.mode.startswith("I;16"):
                raise UnsupportedError(
                    f"16 bits a channel are kept of gray images, this one is {header.mode}", path
                )
            if self.mode == "rgba" and header.has_alpha and header.mode == "RGB":
                raise UnsupportedError(
                    "one colour of 16 bits a channel stands for transparency, of which only the "
                    "upper 8 bits are read; mode='rgb' leaves transparency out",
                    path,
                )
        elif self.sixteen_bit == "keep":
            raise UnsupportedError(
                f"the image has {header.bits} bits a channel; with sixteen_bit='keep' all must "
                "have 16",
                path,
            )

    def counts(self, header: Header) -> Iterator[str]:
        """Yield what is done to an image that a person may want to know the number of."""
        if header.orientation != 1:
            yield "images turned upright by their EXIF orientation"
        if header.mode == "CMYK":
            yield "images converted from CMYK"
        if header.bits == 16 and self.sixteen_bit == "scale":
            yield "images scaled from 16 bits to 8"
        if header.is_animated:
            yield "files of several frames of which the first was taken"
        if header.has_alpha and self.mode != "rgba":
            yield "images whose transparency was left out"

    def to_json(self) -> dict[str, Any]:
        """Return what was chosen, for the provenance of a file."""
        return {
            "mode": self.mode,
            "sixteen_bit": self.sixteen_bit,
            "animated": self.animated,
            "scaled_decoding": self.scaled_decoding,
        }


def check_frames(header: Header, path: str, animated: Animated) -> None:
    """Raise for a file of several frames where these are refused."""
    if header.is_animated and animated == "refuse":
        raise UnsupportedError(
            f"the {header.format} file holds several frames or pages; animated='first' takes the "
            "first one",
            path,
        )


def check_mask(header: Header, path: str, animated: Animated) -> None:
    """Raise where the values of an image cannot stand for classes.

    Raises
    ------
    UnsupportedError
        Says what the image has.
    """
    check_frames(header, path, animated)
    if header.mode not in _MASK_MODES and not header.mode.startswith("I;16"):
        raise UnsupportedError(
            f"a mask holds one number for each pixel, gray or by palette, of 8 or 16 bits; this "
            f"one has pixels of mode {header.mode}",
            path,
        )
