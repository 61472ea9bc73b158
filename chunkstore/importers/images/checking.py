"""Can all files of a listing become samples, and of which shape?

All headers are read before a sample is written, by several threads, so that a person learns of all
that is wrong at once; it takes a hundredth of the time of decoding.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.container.checksum import crc32
from chunkstore.errors import ChunkStoreError, FormatError, UnsupportedError, system_call_error
from chunkstore.importers.images.conversion import check_mask
from chunkstore.importers.images.header import open_image
from chunkstore.importers.images.walking import is_special
from chunkstore.importers.machine import is_of_machine
from chunkstore.importing.ahead import iter_ahead
from chunkstore.importing.losses import listed
from chunkstore.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from chunkstore.importers.images.conversion import Animated, Conversion
    from chunkstore.importers.images.geometry import Geometry
    from chunkstore.importers.images.header import Header
    from chunkstore.importers.images.listing import Listing

# Files of one task, so that handing them to a thread costs little.
_FILES_A_TASK: Final = 64
# What of a file says that it is the same when an import is continued.
_HEAD_NBYTES: Final = 4096
_MAX_SHAPES: Final = 5


@dataclass
class Files:
    """What the headers of some files say.

    Attributes
    ----------
    sizes
        Height and width in pixels of the upright images, shape ``(n, 2)``; zeros where there is a
        problem.
    bits
        Of a channel, shape ``(n,)``.
    identity
        Size and first bytes of each file as one number, shape ``(n, 2)``.
    counts
        Of formats.
    problems
        What is wrong with a file, by number.
    """

    sizes: NDArray[np.int64]
    bits: NDArray[np.int64]
    identity: NDArray[np.int64]
    counts: Counter[str] = field(default_factory=Counter)
    problems: dict[int, ChunkStoreError] = field(default_factory=dict)


@dataclass(frozen=True)
class Checked:
    """A listing whose files were looked at.

    Attributes
    ----------
    images
        What their headers say.
    masks
        The same of masks, by array.
    shape
        Height and width of all samples.
    problems
        All that is wrong, by sample.
    fingerprint
        Digest of what samples follow from, but for pixels behind the first bytes of files.
    """

    images: Files
    masks: Mapping[str, Files]
    shape: tuple[int, int]
    problems: Mapping[int, ChunkStoreError]
    fingerprint: str


def check_files(
    listing: Listing,
    *,
    conversion: Conversion,
    geometry: Geometry,
    threads: int,
    progress: bool | None,
) -> Checked:
    """Read the headers of all files.

    Parameters
    ----------
    listing
        What to look at.
    conversion, geometry
        What shall become of images.
    threads
        That read.
    progress
        Show a bar; None shows it on a terminal when it takes over a second.

    Raises
    ------
    ValueError
        Images are of different shapes, and the geometry does not make them equal.
    """
    num_files = len(listing.paths) * (1 + len(listing.masks))
    with progress_bar(num_files, what="checking", unit="files", show=progress) as move:
        looked = partial(_look_at, threads=threads, move=move)
        images = looked(listing.paths, conversion.check, skip=listing.problems)
        masks = {
            name: looked(
                paths, partial(_check_mask, animated=conversion.animated), skip=listing.problems
            )
            for name, paths in listing.masks.items()
        }
    problems = dict(listing.problems)
    for files in (images, *masks.values()):
        for number, error in files.problems.items():
            problems.setdefault(number, error)
    for name, files in masks.items():
        for number in np.flatnonzero((files.sizes != images.sizes).any(axis=1)).tolist():
            problems.setdefault(
                number,
                FormatError(
                    f"the mask {listing.masks[name][number]} has {_size(files.sizes[number])} "
                    f"pixels, its image {_size(images.sizes[number])}",
                    listing.paths[number],
                ),
            )
    _place(listing, images.sizes, geometry, problems)
    shape = _common_shape(listing, images.sizes, geometry, problems)
    return Checked(
        images, masks, shape, dict(sorted(problems.items())), _fingerprint(listing, images, masks)
    )


def raise_problems(listing: Listing, problems: Mapping[int, ChunkStoreError]) -> None:
    """Raise one error that lists all that is wrong with files and lines.

    Raises
    ------
    ChunkStoreError
        Of the class of the first problem.
    """
    if not problems:
        return
    lines = describe_problems(listing, problems)
    first = next(iter(problems.values()))
    if len(lines) == 1:
        text = lines[0]
    else:
        text = (
            f"{len(problems)} of {len(listing.names)} samples cannot be imported:\n  "
            + ";\n  ".join(lines)
        )
    raise type(first)(f"{text}.\non_error='skip' (--on-error skip) leaves such samples out")


def describe_problems(
    listing: Listing, problems: Mapping[int, ChunkStoreError], *, most: int = 20
) -> list[str]:
    """Return lines that name what is wrong and where."""
    return listed(
        (problem_text(listing, number, error) for number, error in problems.items()), most=most
    )


def problem_text(listing: Listing, number: int, error: ChunkStoreError) -> str:
    """Return what is wrong with a sample: its file, and the line that lists it."""
    if listing.places is None or number in listing.problems:
        return str(error)
    return f"{listing.places[number]}: {error}"


def _look_at(
    paths: Sequence[str],
    check: Callable[[Header, str], None],
    *,
    skip: Mapping[int, Any],
    threads: int,
    move: Callable[[int], None],
) -> Files:
    count = len(paths)
    files = Files(
        np.zeros((count, 2), np.int64), np.zeros(count, np.int64), np.zeros((count, 2), np.int64)
    )

    def look(numbers: range) -> int:
        for number in numbers:
            if number not in skip:
                try:
                    _look_at_one(files, number, paths[number], check)
                except ChunkStoreError as error:
                    if is_of_machine(error):
                        raise
                    files.problems[number] = error
        return len(numbers)

    starts = [*range(0, count, _FILES_A_TASK), count]
    tasks = [range(start, stop) for start, stop in pairwise(starts)]
    with closing(iter_ahead(look, tasks, threads=threads, depth=4 * threads)) as done:
        for number in done:
            move(number)
    files.problems = dict(sorted(files.problems.items()))
    return files


def _look_at_one(
    files: Files, number: int, path: str, check: Callable[[Header, str], None]
) -> None:
    if is_special(path):
        raise FormatError("this is a pipe, a socket or a device, and no image file", path)
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD_NBYTES)
            files.identity[number] = os.fstat(file.fileno()).st_size, crc32(head)
            file.seek(0)
            image, header = open_image(file, path)
            # Pillow would keep the file for the pixels.
            image.close()
    except OSError as error:
        if isinstance(error, ChunkStoreError):
            raise
        raise system_call_error(error, "the image cannot be read", path) from error
    check(header, path)
    files.sizes[number] = header.height, header.width
    files.bits[number] = header.bits


def _check_mask(header: Header, path: str, animated: Animated) -> None:
    check_mask(header, path, animated)


def _place(
    listing: Listing,
    sizes: NDArray[np.int64],
    geometry: Geometry,
    problems: dict[int, ChunkStoreError],
) -> None:
    """Note the images that are too small for what shall be cut out of them."""
    for size in np.unique(sizes, axis=0).tolist():
        if 0 in size:
            continue
        try:
            geometry.placement(*size)
        except ValueError as error:
            for number in np.flatnonzero((sizes == size).all(axis=1)).tolist():
                problems.setdefault(number, UnsupportedError(str(error), listing.paths[number]))


def _common_shape(
    listing: Listing,
    sizes: NDArray[np.int64],
    geometry: Geometry,
    problems: Mapping[int, ChunkStoreError],
) -> tuple[int, int]:
    """Return the height and width of all samples."""
    if geometry.shape is not None:
        return geometry.shape
    good = np.array([i for i in range(len(sizes)) if i not in problems], np.int64)
    shapes: Counter[tuple[int, int]] = Counter()
    for size, count in zip(*np.unique(sizes[good], axis=0, return_counts=True), strict=True):
        shapes[geometry.placement(*size.tolist()).shape] += int(count)
    if len(shapes) == 1:
        return next(iter(shapes))
    if not shapes:
        # Nothing can be read: what is wrong is raised, or listed.
        return (0, 0)
    found = listed(
        (f"{_size(shape)} ({count:,})" for shape, count in shapes.most_common()), most=_MAX_SHAPES
    )
    raise ValueError(
        f"{listing.source}: the images have {len(shapes)} different sizes, height x width: "
        f"{', '.join(found)}. Samples of one array have one: size= (--size HxW) with fit= stretch, "
        "pad or crop makes them equal, or short_side= with crop="
    )


def _fingerprint(listing: Listing, images: Files, masks: Mapping[str, Files]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    texts: Iterable[Any] = (listing.names, *listing.masks.values(), list(listing.problems))
    for text in texts:
        digest.update(json.dumps(text).encode())
    for name, label in listing.labels.items():
        digest.update(json.dumps([name, label.class_names]).encode())
        values = label.values.astype(label.values.dtype.newbyteorder("<"))
        digest.update(values.tobytes())
    for files in (images, *masks.values()):
        digest.update(files.identity.astype("<i8").tobytes())
    return digest.hexdigest()


def _size(size: Any) -> str:
    return f"{size[0]}x{size[1]}"
