"""How does an image file become one sample?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.errors import CorruptionError
from chunkstore.importers.images.header import DECODER_ERRORS, damaged, open_image, read_bytes
from chunkstore.importers.images.pillow import Image, simplejpeg

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.importers.images.conversion import Conversion
    from chunkstore.importers.images.geometry import Geometry, Placement
    from chunkstore.importers.images.header import Header

_FILTERS: Final = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_TRANSPOSES: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PILLOW_MODES: Final = {"rgb": "RGB", "gray": "L", "rgba": "RGBA"}
# A JPEG is shrunk by its decoder to no less than so many times the wanted size: resizing then
# still averages over what is there.
_LEAST_TIMES: Final = 2


def decode_image_into(
    path: str,
    out: NDArray[Any],
    *,
    conversion: Conversion,
    geometry: Geometry,
    size: tuple[int, int],
) -> Header:
    """Decode an image file into one sample.

    Parameters
    ----------
    path
        The file.
    out
        Shape ``(height, width, channels)``, of the conversion's data type; filled.
    conversion, geometry
        What shall become of its channels and its size.
    size
        Height and width in pixels that the upright image had when its header was read first.

    Returns
    -------
    header
        Of the image.

    Raises
    ------
    ChunkStoreError
        The file cannot be read, is no image, is damaged or truncated, or not what the conversion
        takes; names it. ``out`` may be changed then.

    Threads: safe; decoding and resizing drop the interpreter lock.
    """
    content = read_bytes(path)
    image, header = open_image(content, path)
    _check_unchanged(header, size, path)
    conversion.check(header, path)
    placement = geometry.placement(header.height, header.width)
    transparent = image.info.get("transparency")
    try:
        image = _load(content, image, header, placement, conversion)
        if header.bits == 16:
            image = _as_sixteen_bit(image, conversion, transparent)
        else:
            image = _converted(image, header, conversion)
        place_into(image, out, placement, resample=geometry.resample, pad_value=geometry.pad_value)
    except DECODER_ERRORS as error:
        raise damaged(error, path) from error
    return header


def decode_mask_into(
    path: str,
    out: NDArray[Any],
    *,
    geometry: Geometry,
    size: tuple[int, int],
    pad_value: int,
) -> Header:
    """Decode a mask: its values as they are, also palette indexes, never mixed by resizing.

    Parameters
    ----------
    path
        The file; `chunkstore.importers.images.conversion.check_mask` took its header.
    out
        Shape ``(height, width)``, uint8 or uint16; filled.
    geometry
        What becomes of the size of its image.
    size
        Height and width in pixels that its header told first.
    pad_value
        Around masks whose images are padded.

    Raises
    ------
    ChunkStoreError
        See `decode_image_into`.

    Threads: safe.
    """
    image, header = open_image(read_bytes(path), path)
    _check_unchanged(header, size, path)
    try:
        image.load()
        if image.mode == "1":
            # Its zeros and ones, which Pillow's own conversion makes 0 and 255.
            image = Image.fromarray(np.asarray(image).astype(np.uint8))
        image = _upright(image, header)
        placement = geometry.placement(header.height, header.width)
        place_into(image, out[..., None], placement, resample="nearest", pad_value=pad_value)
    except DECODER_ERRORS as error:
        raise damaged(error, path) from error
    return header


def _check_unchanged(header: Header, size: tuple[int, int], path: str) -> None:
    if (header.height, header.width) != size:
        raise CorruptionError(
            f"the image has {header.height}x{header.width} pixels, and had {size[0]}x{size[1]} "
            "when its header was checked: it was changed in between",
            path,
        )


def _load(
    content: bytes,
    image: Image.Image,
    header: Header,
    placement: Placement,
    conversion: Conversion,
) -> Image.Image:
    """Return the upright image, decoded; of a large JPEG no more than its size needs."""
    if header.format in ("JPEG", "MPO") and header.mode in ("RGB", "L"):
        wanted = placement.resized[::-1] if header.is_turned else placement.resized
        least = (0, 0)
        if conversion.scaled_decoding:
            least = _scaled_size((image.height, image.width), wanted)
        pixels = simplejpeg.decode_jpeg(
            content,
            colorspace="RGB" if header.mode == "RGB" else "GRAY",
            min_height=least[0],
            min_width=least[1],
            strict=True,
        )
        image = Image.fromarray(pixels if header.mode == "RGB" else pixels[..., 0])
    else:
        image.load()
    return _upright(image, header)


def _scaled_size(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int]:
    """Return height and width to which the decoder shall shrink a JPEG, by a power of two.

    Other ratios that it knows are hardly faster, and leave an image that differs by more.

    Examples
    --------
    >>> _scaled_size((1500, 2000), (224, 224)), _scaled_size((800, 800), (224, 224))
    ((750, 1000), (800, 800))
    """
    for divisor in (8, 4, 2):
        scaled = -(-size[0] // divisor), -(-size[1] // divisor)
        if all(_LEAST_TIMES * b <= a for a, b in zip(scaled, wanted, strict=True)):
            return scaled
    return size


def _upright(image: Image.Image, header: Header) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow's further steps take the machine's own byte order.
        image = Image.fromarray(np.asarray(image).astype(np.uint16))
    # Pillow turns TIFFs when it decodes them.
    if header.orientation == 1 or header.format == "TIFF":
        return image
    return image.transpose(_TRANSPOSES[header.orientation])


def _as_sixteen_bit(image: Image.Image, conversion: Conversion, transparent: Any) -> Image.Image:
    """Return an image of 16 bits a channel as it is, or its upper 8 in the wanted mode.

    ``transparent`` is the gray value of 16 bits that stands for nothing, None for none.
    """
    if conversion.sixteen_bit == "keep":
        return image
    mode = _PILLOW_MODES[conversion.mode]
    if image.mode != "I;16":
        # Colours of 16 bits come from Pillow as their upper 8.
        return image.convert(mode)
    values = np.asarray(image)
    scaled = Image.fromarray((values >> 8).astype(np.uint8)).convert(mode)
    if mode == "RGBA" and transparent is not None:
        # Of all 16 bits: other values have the same upper 8.
        scaled.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return scaled


def _converted(image: Image.Image, header: Header, conversion: Conversion) -> Image.Image:
    mode = _PILLOW_MODES[conversion.mode]
    if header.has_alpha:
        # First to RGBA: only that takes the transparency of palettes and of single colours.
        image = image.convert("RGBA")
        if mode == "L":
            image = image.convert("RGB")
    elif image.mode == "P" or image.mode == "CMYK":
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def place_into(
    image: Image.Image,
    out: NDArray[Any],
    placement: Placement,
    *,
    resample: str,
    pad_value: int,
) -> None:
    """Resize an image and put it into a sample.

    Parameters
    ----------
    image
        Of any mode that Pillow resizes.
    out
        Shape ``(height, width, channels)``; filled.
    placement
        Of the image in the sample.
    resample, pad_value
        See `chunkstore.importers.images.geometry.Geometry`.
    """
    height, width = placement.resized
    if image.size != (width, height):
        image = image.resize((width, height), _FILTERS[resample])
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if placement.resized == placement.shape:
        out[...] = pixels
        return
    out[...] = pad_value
    target, source = zip(
        *map(_overlap, placement.offset, placement.resized, placement.shape), strict=True
    )
    out[target] = pixels[source]


def _overlap(offset: int, length: int, room: int) -> tuple[slice, slice]:
    """Return where a side lies in the sample, and which part of the image lies there."""
    start, stop = max(0, offset), min(room, offset + length)
    return slice(start, stop), slice(start - offset, stop - offset)
