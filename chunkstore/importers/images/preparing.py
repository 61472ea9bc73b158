"""What is asked of an import of images, and what do its files say before any is decoded?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from chunkstore.importers.images.checking import Checked, check_files
from chunkstore.importers.images.conversion import Conversion
from chunkstore.importers.images.geometry import Geometry
from chunkstore.importers.images.listing import Y
from chunkstore.importers.images.manifest import check_manifest
from chunkstore.importers.images.samples import IMAGE, NAME, ImageSamples
from chunkstore.importing.run import ImportOptions

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from chunkstore.importers.images.conversion import Animated, Mode, SixteenBit
    from chunkstore.importers.images.geometry import Fit, Resample
    from chunkstore.importers.images.listing import Listing
    from chunkstore.importing.run import OnError


class ImageOptions(TypedDict, total=False):
    """What `chunkstore.import_images` and `import_csv` have in common, with their defaults."""

    size: tuple[int, int] | None
    fit: Fit
    short_side: int | None
    crop: tuple[int, int] | None
    resample: Resample
    pad_value: int
    mask_pad_value: int
    mode: Mode
    sixteen_bit: SixteenBit
    animated: Animated
    scaled_decoding: bool
    shuffle: bool
    seed: int
    split: Mapping[str, float] | None
    stratify: bool | str
    write_manifest: str | os.PathLike[str] | None
    on_error: OnError
    codec: str | None
    level: int | None
    typesize: int | None
    chunk_nbytes: int | None
    chunk_length: int | None
    attributes: Mapping[str, Any] | None
    threads: int | None
    verify: bool
    resume: bool
    overwrite: bool
    progress: bool | None


def check_options(options: Mapping[str, Any]) -> None:
    """Raise TypeError for an option that does not exist."""
    known = ImageOptions.__annotations__
    if unknown := [name for name in options if name not in known]:
        raise TypeError(
            f"importing images has no option {unknown[0]!r}; there are {', '.join(sorted(known))}"
        )


@dataclass(frozen=True)
class Prepared:
    """An import whose files were looked at, and of which nothing is written.

    Attributes
    ----------
    listing, checked
        What is there.
    samples
        The source of samples.
    options
        How the file is written.
    shuffle, seed, split
        In which order and into which parts.
    classes
        Class of each sample, by which a split is stratified; None for none.
    manifest
        File that shall list the samples.
    """

    listing: Listing
    checked: Checked
    samples: ImageSamples
    options: ImportOptions
    shuffle: bool
    seed: int
    split: Mapping[str, float] | None
    classes: NDArray[Any] | None
    manifest: str | os.PathLike[str] | None


def prepare(
    listing: Listing,
    *,
    kind: str,
    size: tuple[int, int] | None = None,
    fit: Fit = "stretch",
    short_side: int | None = None,
    crop: tuple[int, int] | None = None,
    resample: Resample = "bilinear",
    pad_value: int = 0,
    mask_pad_value: int = 0,
    mode: Mode = "rgb",
    sixteen_bit: SixteenBit = "refuse",
    animated: Animated = "refuse",
    scaled_decoding: bool = True,
    shuffle: bool = True,
    seed: int = 0,
    split: Mapping[str, float] | None = None,
    stratify: bool | str = False,
    write_manifest: str | os.PathLike[str] | None = None,
    attributes: Mapping[str, Any] | None = None,
    **options: Any,
) -> Prepared:
    """Look at all files of a listing, and check the options.

    Raises
    ------
    ValueError
        See `chunkstore.import_images`.
    """
    conversion = Conversion(
        mode=mode, sixteen_bit=sixteen_bit, animated=animated, scaled_decoding=scaled_decoding
    )
    geometry = Geometry(
        size=size,
        fit=fit,
        short_side=short_side,
        crop=crop,
        resample=resample,
        pad_value=pad_value,
    )
    if not 0 <= mask_pad_value <= 255:
        raise ValueError(f"mask_pad_value must be 0 to 255, got {mask_pad_value}")
    import_options = ImportOptions(attributes=dict(attributes or {}), **options)
    _check_names(listing)
    classes = _classes(listing, stratify, split)
    checked = check_files(
        listing,
        conversion=conversion,
        geometry=geometry,
        threads=import_options.num_threads,
        progress=import_options.progress,
    )
    samples = ImageSamples(
        listing,
        checked,
        conversion=conversion,
        geometry=geometry,
        mask_pad_value=mask_pad_value,
        kind=kind,
    )
    return Prepared(
        listing, checked, samples, import_options, shuffle, seed, split, classes, write_manifest
    )


def _check_names(listing: Listing) -> None:
    taken = {IMAGE, NAME}
    for name in (*listing.masks, *listing.labels):
        if name in taken:
            raise ValueError(f"a label cannot be called {name!r}: that array is there already")
        taken.add(name)


def _classes(
    listing: Listing, stratify: bool | str, split: Mapping[str, float] | None
) -> NDArray[Any] | None:
    """Return the labels by which a split is stratified."""
    if stratify is False:
        return None
    if split is None:
        raise ValueError("stratify= goes with split=")
    name = Y if stratify is True else stratify
    label = listing.labels.get(name)
    if label is None or label.values.ndim != 1 or label.values.dtype.kind != "i":
        good = [
            other
            for other, label in listing.labels.items()
            if label.values.ndim == 1 and label.values.dtype.kind == "i"
        ]
        raise ValueError(
            f"stratify= needs labels that are classes, got {name!r}; there are {good or 'none'}"
        )
    return label.values


def check_written_manifest(prepared: Prepared) -> None:
    """Raise where the manifest that is asked for cannot be written; nothing is changed.

    Raises
    ------
    ExistingFileError, MissingFileError, ValueError
        See `chunkstore.importers.images.manifest.check_manifest`.
    """
    if prepared.manifest is None:
        return
    problems = prepared.checked.problems
    numbers = [i for i in range(len(prepared.listing.names)) if i not in problems]
    check_manifest(
        prepared.manifest, prepared.listing, numbers, overwrite=prepared.options.overwrite
    )
