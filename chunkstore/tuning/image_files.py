"""How is a folder of images sampled without looking at all its files?"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.errors import ChunkStoreError
from chunkstore.importers.images.listing import list_images
from chunkstore.importers.images.pillow import quiet_pillow
from chunkstore.importers.images.preparing import prepare
from chunkstore.importers.images.samples import IMAGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from chunkstore.importers.images.samples import ImageSamples
    from chunkstore.tuning.results import Notes

# Files that are tried for the first that can be read.
_MOST_TRIED = 20


class ImageFiles:
    """Image files as samples, decoded as `chunkstore.import_images` decodes them.

    Parameters
    ----------
    folder
        What the person gave.
    paths
        Of the files, in the order of an import that does not shuffle.
    size
        Height and width that they are brought to, or None where all have one size.
    notes
        Told of files that cannot be read.

    Raises
    ------
    ChunkStoreError
        None of the first files can be read.
    """

    def __init__(
        self, folder: str, paths: Sequence[str], *, size: tuple[int, int] | None, notes: Notes
    ) -> None:
        self._paths = paths
        self._size = size
        self._notes = notes
        self.name = folder
        self.folder: str | None = str(Path(folder).absolute())
        spec = self._first().specs[IMAGE]
        self.shape: tuple[int, ...] = (len(paths), *spec.sample_shape)
        self.dtype: np.dtype[Any] = spec.dtype

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return the images ``[start, stop)`` that can be read.

        Raises
        ------
        ValueError
            They are of different sizes and none was given.
        """
        with self._prepared(start, stop) as samples:
            block = samples.read(np.arange(stop - start, dtype=np.int64), skips=True)
        for skipped in block.skipped:
            self._notes.add(f"left out of the sample: {skipped.name}: {skipped.reason}")
        images = block.arrays[IMAGE]
        if len(images) and images.shape[1:] != self.shape[1:]:
            raise ValueError(
                f"{self.name}: images have different sizes, {images.shape[1:3]} behind "
                f"{self.shape[1:3]}; size= (--size) brings them to one"
            )
        return images

    def _first(self) -> ImageSamples:
        """Return the first file that can be read, as samples."""
        problem: ChunkStoreError | None = None
        for number in range(min(_MOST_TRIED, len(self._paths))):
            with self._prepared(number, number + 1) as samples:
                try:
                    samples.read(np.zeros(1, np.int64), skips=False)
                except ChunkStoreError as error:
                    problem = problem or error
                else:
                    return samples
        raise problem or ValueError(f"{self.name}: there are no images")

    @contextmanager
    def _prepared(self, start: int, stop: int) -> Iterator[ImageSamples]:
        with quiet_pillow():
            listing = list_images(self._paths[start:stop])
            yield prepare(listing, kind="images", size=self._size, progress=False).samples


def open_images(folder: str, *, size: tuple[int, int] | None, notes: Notes) -> ImageFiles:
    """Return the images of a folder as samples; their headers are read with them, not before.

    Parameters
    ----------
    folder
        Of images, or of folders of images.
    size
        Height and width, where images have several.
    notes
        Told what was left out.
    """
    listing = list_images(folder)
    for note in listing.notes:
        notes.add(note)
    return ImageFiles(folder, listing.paths, size=size, notes=notes)
