"""What does an import see of checked image files: samples that are read by number."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.errors import ChunkStoreError
from chunkstore.importers.images.checking import problem_text
from chunkstore.importers.images.decoding import decode_image_into, decode_mask_into
from chunkstore.importers.images.pillow import decoder_versions
from chunkstore.importers.machine import is_of_machine
from chunkstore.importing.source import Block, Skipped
from chunkstore.store.spec import ArraySpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from chunkstore.importers.images.checking import Checked
    from chunkstore.importers.images.conversion import Conversion
    from chunkstore.importers.images.geometry import Geometry
    from chunkstore.importers.images.listing import Listing

IMAGE: Final = "x"
NAME: Final = "name"
CLASS_NAMES: Final = "class_names"


class ImageSamples:
    """Images, masks, labels and names as a `chunkstore.importing.source.SampleSource`.

    Parameters
    ----------
    listing
        Which files and labels.
    checked
        What their headers say. A sample with a problem is skipped, or an error.
    conversion, geometry
        What becomes of images.
    mask_pad_value
        Around masks whose images are padded.
    kind
        ``"images"`` or ``"csv"``.

    Notes
    -----
    Threads: `read` is safe, and decoding drops the interpreter lock.
    """

    def __init__(
        self,
        listing: Listing,
        checked: Checked,
        *,
        conversion: Conversion,
        geometry: Geometry,
        mask_pad_value: int,
        kind: str,
    ) -> None:
        self._listing = listing
        self._checked = checked
        self._conversion = conversion
        self._geometry = geometry
        self._mask_pad_value = mask_pad_value
        self._kind = kind
        # Characters of the longest name: the array holds strings of one length.
        longest = max(map(len, listing.names), default=1) or 1
        self._specs = self._described(np.dtype(f"U{longest}"))

    def _described(self, name_dtype: np.dtype[Any]) -> dict[str, ArraySpec]:
        shape = self._checked.shape
        conversion = self._conversion
        specs = {IMAGE: ArraySpec(conversion.dtype, (*shape, conversion.num_channels))}
        for name, files in self._checked.masks.items():
            specs[name] = ArraySpec(np.uint16 if (files.bits == 16).any() else np.uint8, shape)
        for name, label in self._listing.labels.items():
            known = {} if label.class_names is None else {CLASS_NAMES: list(label.class_names)}
            specs[name] = ArraySpec(label.values.dtype, label.values.shape[1:], attributes=known)
        specs[NAME] = ArraySpec(name_dtype)
        return specs

    @property
    def kind(self) -> str:
        """``"images"`` or ``"csv"``."""
        return self._kind

    @property
    def name(self) -> str:
        """What the person gave."""
        return self._listing.source

    @property
    def num_samples(self) -> int:
        """Images that are listed."""
        return len(self._listing.names)

    @property
    def specs(self) -> Mapping[str, ArraySpec]:
        """Images, masks, labels, names."""
        return self._specs

    @property
    def unaligned(self) -> Mapping[str, Any]:
        """None."""
        return {}

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The names of the classes, where one array of labels has them."""
        known = [
            list(label.class_names)
            for label in self._listing.labels.values()
            if label.class_names is not None
        ]
        return {CLASS_NAMES: known[0]} if len(known) == 1 else {}

    @property
    def provenance(self) -> Mapping[str, Any]:
        """How images were found, converted and resized, and by which decoders."""
        about: dict[str, Any] = {
            **self._listing.provenance,
            "images": {**self._conversion.to_json(), **self._geometry.to_json()},
            "decoders": decoder_versions(),
        }
        if self._listing.masks and self._geometry.fit == "pad":
            about["mask_pad_value"] = self._mask_pad_value
        return about

    @property
    def fingerprint(self) -> str:
        """Digest of names, labels, and size and first bytes of all files."""
        return self._checked.fingerprint

    @property
    def block_length(self) -> int | None:
        """None: images are read one by one."""
        return None

    def read(self, numbers: NDArray[np.int64], *, skips: bool) -> Block:
        """Decode images and masks; see `chunkstore.importing.source.SampleSource.read`.

        Raises
        ------
        ChunkStoreError
            An image cannot be read and ``skips`` is False; names the file, and the line of the
            manifest.
        """
        arrays = {
            name: np.empty((len(numbers), *spec.sample_shape), spec.dtype)
            for name, spec in self._specs.items()
            if name == IMAGE or name in self._listing.masks
        }
        good: list[int] = []
        skipped: list[Skipped] = []
        counts: Counter[str] = Counter()
        for number in numbers.tolist():
            problem = self._checked.problems.get(number)
            if problem is None:
                try:
                    counts.update(self._decode(number, arrays, len(good)))
                except ChunkStoreError as error:
                    if is_of_machine(error):
                        raise
                    problem = error
            if problem is None:
                good.append(number)
                continue
            if not skips:
                text = problem_text(self._listing, number, problem)
                raise type(problem)(text) from problem
            skipped.append(self._skipped(number, problem))
        for name in arrays:
            arrays[name] = arrays[name][: len(good)]
        for name, label in self._listing.labels.items():
            arrays[name] = label.values[good]
        arrays[NAME] = np.array(
            [self._listing.names[number] for number in good], self._specs[NAME].dtype
        )
        return Block({name: arrays[name] for name in self._specs}, skipped, counts=dict(counts))

    def _skipped(self, number: int, problem: ChunkStoreError) -> Skipped:
        listing = self._listing
        if number in listing.problems and listing.places is not None:
            # Its message has the line.
            return Skipped(number, listing.source, problem.message)
        is_of_image = problem.path in (None, listing.paths[number])
        return Skipped(
            number, listing.place(number), problem.message if is_of_image else str(problem)
        )

    def _decode(self, number: int, arrays: Mapping[str, NDArray[Any]], row: int) -> list[str]:
        """Decode one sample into a row of its arrays; return what to count of it."""
        size = tuple(self._checked.images.sizes[number].tolist())
        header = decode_image_into(
            self._listing.paths[number],
            arrays[IMAGE][row],
            conversion=self._conversion,
            geometry=self._geometry,
            size=size,
        )
        for name, paths in self._listing.masks.items():
            decode_mask_into(
                paths[number],
                arrays[name][row],
                geometry=self._geometry,
                size=size,
                pad_value=self._mask_pad_value,
            )
        return list(self._conversion.counts(header))
