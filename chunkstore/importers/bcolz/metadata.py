"""What do the small files of a bcolz folder say?

``meta/sizes`` and ``meta/storage`` of a carray, ``__rootdirs__`` of a ctable, and ``__attrs__`` of
both: JSON, in which the token ``NaN`` may stand. Codec and shuffle are not taken from there: an
array that another build of bcolz went on with has others in its later frames.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from chunkstore.errors import FormatError
from chunkstore.format.json_document import parse_json_object, shown
from chunkstore.importers.bcolz.dtype import parse_dtype
from chunkstore.importers.bcolz.frame import MAX_FRAME_CONTENT_NBYTES

if TYPE_CHECKING:
    import numpy as np

SIZES: Final = "meta/sizes"
STORAGE: Final = "meta/storage"
ATTRIBUTES: Final = "__attrs__"
COLUMNS: Final = "__rootdirs__"
_MAX_AXES: Final = 32
_MAX_SAMPLES: Final = 1 << 62
_MAX_COLUMNS: Final = 1_000_000


@dataclass(frozen=True)
class CarrayMetadata:
    """What the ``meta`` folder of a carray says.

    Attributes
    ----------
    shape
        Samples first.
    disk_dtype
        Of an element as it is on disk, in its byte order.
    full_length
        Samples in a full chunk, as bcolz chose it: often far above the number of samples.
    is_old
        Written by bcolz up to 1.0, of which some versions stored lz4 streams wrongly.
    storage
        The other entries of ``meta/storage``, for the record: ``cparams`` and ``expectedlen``.
    """

    shape: tuple[int, ...]
    disk_dtype: np.dtype[Any]
    full_length: int
    is_old: bool
    storage: dict[str, Any]

    @property
    def is_objects(self) -> bool:
        """Whether the elements are Python objects: a chunk for each, which holds a pickle."""
        return self.disk_dtype.hasobject

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of an element in native byte order."""
        return self.disk_dtype.newbyteorder("=")

    @property
    def num_samples(self) -> int:
        """Samples of the array."""
        return self.shape[0]

    @property
    def sample_nbytes(self) -> int:
        """Bytes of a sample."""
        return self.disk_dtype.itemsize * math.prod(self.shape[1:])

    @property
    def chunk_length(self) -> int:
        """Samples in a chunk, at least 1, and not more than there are."""
        if self.is_objects:
            return 1
        return max(1, min(self.full_length, self.num_samples))

    @property
    def num_chunks(self) -> int:
        """Chunks that hold the samples."""
        return -(-self.num_samples // self.chunk_length) if self.sample_nbytes else 0

    @property
    def full_nbytes(self) -> int:
        """Bytes of a full chunk."""
        return self.full_length * self.sample_nbytes

    def resized(self, num_samples: int) -> CarrayMetadata:
        """Return the same with another number of samples."""
        return replace(self, shape=(num_samples, *self.shape[1:]))


def parse_carray(sizes: bytes, storage: bytes) -> CarrayMetadata:
    """Return what ``meta/sizes`` and ``meta/storage`` say.

    Raises
    ------
    FormatError
        One of them is damaged, or they cannot be true.
    """
    shape = _parse_shape(sizes)
    try:
        document = parse_json_object(storage)
        dtype, axes = parse_dtype(_required(document, "dtype"))
        full_length = _required(document, "chunklen")
    except FormatError as error:
        raise FormatError(f"{STORAGE}: {error.message}") from None
    if axes and shape[1:] != axes:
        raise FormatError(
            f"{STORAGE}: dtype adds the axes {axes}, {SIZES} has samples of shape {shape[1:]}"
        )
    if type(full_length) is not int or not 1 <= full_length < _MAX_SAMPLES:
        raise FormatError(f"{STORAGE}: chunklen must be at least 1, got {shown(full_length)}")
    if dtype.hasobject and len(shape) != 1:
        raise FormatError(f"{SIZES}: an array of objects has one axis, got shape {shape}")
    parameters = document.get("cparams")
    metadata = CarrayMetadata(
        shape=shape,
        disk_dtype=dtype,
        full_length=full_length,
        is_old=not (isinstance(parameters, dict) and "cname" in parameters),
        storage={key: document[key] for key in ("cparams", "expectedlen") if key in document},
    )
    chunk_nbytes = metadata.chunk_length * metadata.sample_nbytes
    if not dtype.hasobject and chunk_nbytes > MAX_FRAME_CONTENT_NBYTES:
        raise FormatError(
            f"chunks of {metadata.chunk_length} samples of shape {shape[1:]} and type {dtype} "
            f"take {chunk_nbytes} bytes; a Blosc frame holds {MAX_FRAME_CONTENT_NBYTES}"
        )
    return metadata


def _parse_shape(sizes: bytes) -> tuple[int, ...]:
    try:
        shape = _required(parse_json_object(sizes), "shape")
    except FormatError as error:
        raise FormatError(f"{SIZES}: {error.message}") from None
    if (
        not isinstance(shape, list)
        or not 1 <= len(shape) <= _MAX_AXES
        or any(type(n) is not int or not 0 <= n < _MAX_SAMPLES for n in shape)
    ):
        raise FormatError(
            f"{SIZES}: shape must be a list of 1 to {_MAX_AXES} lengths, got {shown(shape)}"
        )
    return tuple(shape)


def parse_columns(raw: bytes) -> tuple[str, ...]:
    """Return the names of a ctable's columns, in order.

    The paths that bcolz up to 0.7.1 wrote beside the names are those of the writing machine, and
    are not looked at.

    Raises
    ------
    FormatError
        The file is damaged, or a name is no name of a folder in the table.
    """
    names = _required(parse_json_object(raw), "names")
    if not isinstance(names, list) or len(names) > _MAX_COLUMNS:
        raise FormatError(f"names must be a list, got {shown(names)}")
    for name in names:
        check_folder_name(name)
    if len(set(names)) < len(names):
        raise FormatError(f"names lists a column twice: {shown(names)}")
    return tuple(names)


def check_folder_name(name: Any) -> None:
    """Raise FormatError unless a column's name is the name of a folder and cannot be more."""
    is_name = (
        isinstance(name, str)
        and name not in ("", ".", "..")
        and not set(name) & {"/", "\\", "\0"}
        # On Windows a colon leads to another drive or to a stream.
        and not (os.name == "nt" and ":" in name)
        # Half of a surrogate pair is in no file name.
        and not any(0xD800 <= ord(letter) <= 0xDFFF for letter in name)
    )
    if not is_name:
        raise FormatError(f"column {shown(name)} is no name of a folder inside the table")


def parse_attributes(raw: bytes | None) -> dict[str, Any]:
    """Return the user's attributes; none for a file that is absent or blank.

    Raises
    ------
    FormatError
        The file is no JSON object.
    """
    if raw is None or not raw.strip():
        return {}
    return parse_json_object(raw)


def _required(document: dict[str, Any], key: str) -> Any:
    if key not in document:
        raise FormatError(f"there is no {key!r} in it; there are {shown(sorted(document))}")
    return document[key]
