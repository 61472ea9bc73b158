"""What does the header of an image file say, before a pixel is decoded?"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Final

from chunkstore.errors import (
    ChunkStoreError,
    CorruptionError,
    FormatError,
    UnsupportedError,
    system_call_error,
)
from chunkstore.importers.images.pillow import FORMATS, Image
from chunkstore.importers.machine import is_of_machine

# What Pillow's plugins raise for bytes that are not what they expect.
DECODER_ERRORS: Final = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    ZeroDivisionError,
    struct.error,
    zlib.error,
)
_ORIENTATION: Final = 0x0112
# Orientations of EXIF that exchange rows and columns.
_TURNED: Final = range(5, 9)
_SHOWN_NBYTES: Final = 12
_SIGNATURES: Final = (
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
)
_PNG_SIGNATURE_NBYTES: Final = 8
# Chunks that hold EXIF, or XMP as text.
_PNG_EXIF: Final = frozenset({b"eXIf", b"iTXt", b"tEXt", b"zTXt"})


@dataclass(frozen=True)
class Header:
    """What is known of an image without decoding it.

    Attributes
    ----------
    format
        As Pillow calls it, such as ``"JPEG"``.
    mode
        Of its pixels, as Pillow calls it, such as ``"RGB"`` or ``"P"``.
    height, width
        In pixels, of the upright image.
    bits
        Of a channel: 8, 16 or 32.
    orientation
        Of EXIF, 1 to 8; 1 is upright.
    is_animated
        Whether the file holds several images of which none is the one: frames, pages.
    has_alpha
        Whether pixels may be transparent.
    """

    format: str
    mode: str
    height: int
    width: int
    bits: int
    orientation: int
    is_animated: bool
    has_alpha: bool

    @property
    def is_turned(self) -> bool:
        """Whether rows of the stored image are columns of the upright one."""
        return self.format != "TIFF" and self.orientation in _TURNED


def read_bytes(path: str) -> bytes:
    """Return the content of a file.

    Raises
    ------
    SystemCallError
        It cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise system_call_error(error, "the image cannot be read", path) from error


def open_image(content: Any, path: str) -> tuple[Image.Image, Header]:
    """Return an image of which only the header is read, and what the header says.

    Parameters
    ----------
    content
        Bytes, or a binary file that is kept until the pixels are read.
    path
        For errors.

    Raises
    ------
    FormatError
        The content is no image, or of a format that is not read.
    UnsupportedError
        The image is so large that Pillow refuses it.
    CorruptionError
        Its header cannot be understood.
    """
    file = io.BytesIO(content) if isinstance(content, bytes) else content
    try:
        image = Image.open(file, formats=FORMATS)
        header = _header_of(image, file)
    except Image.UnidentifiedImageError:
        file.seek(0)
        start = file.read(_SHOWN_NBYTES)
        raise _unidentified(start, path) from None
    except Image.DecompressionBombError as error:
        raise UnsupportedError(
            f"{error}; where the file is to be trusted, a larger PIL.Image.MAX_IMAGE_PIXELS lets "
            "it through",
            path,
        ) from None
    except DECODER_ERRORS as error:
        if is_of_machine(error):
            raise
        raise damaged(error, path) from error
    return image, header


def _unidentified(start: bytes, path: str) -> ChunkStoreError:
    """Return the error of a file in which Pillow finds no image."""
    for signature, name in _SIGNATURES:
        if start.startswith(signature):
            return UnsupportedError(
                f"this begins as a {name} file and holds what Pillow cannot read: a rare kind of "
                f"{name}, or a damaged header; convert it with the program that wrote it",
                path,
            )
    what = f"it begins with {start!r}" if start else "it is empty"
    return FormatError(
        f"this is no image of a format that is read ({', '.join(FORMATS)}): {what}", path
    )


def damaged(error: BaseException, path: str) -> ChunkStoreError:
    """Return the error of an image of which a decoder said something."""
    words = " ".join(str(error).split()) or type(error).__name__
    return CorruptionError(f"the image is damaged: {words}", path)


def _header_of(image: Image.Image, file: Any) -> Header:
    # First, for it is gone once pixels are decoded.
    bits = _bits(image)
    if image.format == "PNG" and not _has_late_exif(file):
        # Pillow's own method of PNGs decodes all pixels to see whether EXIF comes behind them.
        exif = Image.Image.getexif(image)
    else:
        exif = image.getexif()
    orientation = exif.get(_ORIENTATION, 1)
    if not isinstance(orientation, int) or not 1 <= orientation <= 8:
        orientation = 1
    width, height = image.size
    # Pillow turns TIFFs by itself and tells the size of the upright image.
    if image.format != "TIFF" and orientation in _TURNED:
        width, height = height, width
    return Header(
        format=str(image.format),
        mode=image.mode,
        height=height,
        width=width,
        bits=bits,
        orientation=orientation,
        # The further images of an MPO are other views of the first one.
        is_animated=image.format != "MPO" and bool(getattr(image, "is_animated", False)),
        has_alpha=image.has_transparency_data,
    )


def _has_late_exif(file: Any) -> bool:
    """Return whether a PNG may tell its orientation behind its pixels; the place is kept."""
    place = file.tell()
    is_behind = False
    try:
        file.seek(_PNG_SIGNATURE_NBYTES)
        while len(head := file.read(8)) == 8:
            nbytes, kind = struct.unpack(">I4s", head)
            if is_behind and kind in _PNG_EXIF:
                return True
            if kind == b"IEND":
                break
            is_behind = is_behind or kind == b"IDAT"
            # Behind the checksum.
            file.seek(nbytes + 4, io.SEEK_CUR)
    finally:
        file.seek(place)
    return False


def _bits(image: Image.Image) -> int:
    """Return the bits of a channel in the file; Pillow gives 8 of 16 where there are colours."""
    if image.mode in ("I", "F"):
        return 32
    if image.mode.startswith("I;16"):
        return 16
    for tile in image.tile:
        arguments = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        if image.format in ("PNG", "TIFF") and ";16" in str(arguments[0]):
            return 16
        if image.format == "PPM" and len(arguments) > 1 and _is_wide_maximum(arguments[1]):
            return 16
    return 8


def _is_wide_maximum(value: object) -> bool:
    return isinstance(value, int) and value > 255
