"""How do image files become one file, or one for each part of a split?

All files are looked at first, and all that is wrong is said at once. Then images are decoded and
resized on all cores, and written in an order that is mixed for good.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from chunkstore.importers.images.checking import Checked, check_files, raise_problems
from chunkstore.importers.images.conversion import Conversion
from chunkstore.importers.images.geometry import Geometry
from chunkstore.importers.images.listing import list_images
from chunkstore.importers.images.manifest import check_manifest, list_manifest, write_manifest
from chunkstore.importers.images.pairing import pair_masks
from chunkstore.importers.images.pillow import quiet_pillow
from chunkstore.importers.images.samples import IMAGE, NAME, ImageSamples
from chunkstore.importing.parts import import_parts
from chunkstore.importing.run import ImportOptions, ImportReport
from chunkstore.store.store import open_store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from chunkstore.importers.images.conversion import Animated, Mode, SixteenBit
    from chunkstore.importers.images.geometry import Fit, Resample
    from chunkstore.importers.images.listing import Layout, Listing
    from chunkstore.importers.images.manifest import Header
    from chunkstore.importing.run import OnError


class ImageOptions(TypedDict, total=False):
    """What `import_images` and `import_csv` have in common, with their defaults there."""

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
    chunk_nbytes: int | None
    chunk_length: int | None
    attributes: Mapping[str, Any] | None
    threads: int | None
    verify: bool
    resume: bool
    overwrite: bool
    progress: bool | None


def import_images(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    layout: Layout = "auto",
    class_names: Sequence[str] | None = None,
    masks: str | os.PathLike[str] | None = None,
    mask_ending: str = "",
    **options: Unpack[ImageOptions],
) -> ImportReport | dict[str, ImportReport]:
    """Bring image files into one file, decoded and of one size.

    The file has the arrays ``x``, the images, shape ``(n, height, width, channels)``; ``name``, the
    path of each below the source, with ``/``; ``y`` where folders are classes, the number of the
    class; and ``mask`` where there are masks, shape ``(n, height, width)``.

    Parameters
    ----------
    source
        A folder, a pattern such as ``"photos/**/*.jpg"``, or files. Folders are searched to any
        depth; hidden files and those that are no images are left out, and noted.
    out
        The new file; with ``split`` a folder for ``NAME.zarr.zip`` of each part.
    layout
        ``"classes"``: the folders directly in the source are classes, in the order of their names;
        a file beside them is none. ``"flat"``: no labels. ``"auto"`` takes what a folder shows, and
        refuses one that has images both in itself and in folders.
    class_names
        The folders that are classes, in the order of their labels. They stand in the file's
        attribute ``class_names``.
    masks
        Folder of masks, for images of the same name up to the suffix. Their values, or palette
        indexes, stay as they are: they are resized without mixing.
    mask_ending
        What their names have more, such as ``"_mask"``.
    size
        Height and width of all samples in pixels. Without it, and without ``short_side`` and
        ``crop``, all images must have one size.
    fit
        How an image of other proportions comes to ``size``: ``"stretch"`` (default), ``"pad"`` with
        ``pad_value``, or ``"crop"`` in the middle.
    short_side, crop
        Length of the shorter side after resizing; height and width cut out of the middle then.
    resample
        ``"nearest"``, ``"box"``, ``"bilinear"`` (default), ``"hamming"``, ``"bicubic"`` or
        ``"lanczos"``, antialiased where an image shrinks.
    pad_value, mask_pad_value
        Of ``fit="pad"``, default 0.
    mode
        ``"rgb"`` (default), ``"gray"`` with one channel, ``"rgba"``.
    sixteen_bit
        Images of 16 bits a channel: ``"refuse"`` (default), ``"scale"`` takes the upper 8,
        ``"keep"`` with ``mode="gray"`` keeps them.
    animated
        Files of several frames or pages: ``"refuse"`` (default), or ``"first"``.
    scaled_decoding
        Let the JPEG decoder shrink images to no less than twice the wanted size, by 2, 4 or 8;
        False decodes every pixel.
    shuffle, seed
        Store samples in a random order, as is the default, so that neighbours in folders do not
        stay neighbours; False keeps the order of names. Recorded.
    split
        Parts and fractions, such as ``{"train": 0.8, "val": 0.1, "test": 0.1}``.
    stratify
        Divide each class in the same ratio; by the labels ``y``, or those named.
    write_manifest
        A CSV file that gets one line for each sample that was imported: path and labels. Paths are
        relative to the folder of the images, which is the ``root`` of `chunkstore.import_csv`.
    on_error
        ``"fail"`` (default), or ``"skip"`` leaves out what cannot be read, and lists it.
    codec, level, chunk_nbytes, chunk_length, attributes
        Of the new file.
    threads, verify, resume, overwrite, progress
        As in `chunkstore.import_bcolz`.

    Returns
    -------
    report
        What was done; with ``split`` one for each part, by name.

    Raises
    ------
    CorruptionError, UnsupportedError, FormatError, SystemCallError
        Files that cannot become samples. Those that their headers show are all listed before
        anything is written; of what only decoding shows, the first is named, and what was done
        stays in ``out + ".partial"``: the same call goes on with it.
    ValueError
        Options that exclude each other; images of several sizes.

    Notes
    -----
    The order of the samples and their bytes follow from the files, the options, the seed and the
    versions of the decoders, not from the number of threads. EXIF orientation is applied; colour
    profiles are not. Memory: some 64 MiB of decoded samples, as much that is written, and one whole
    image for each thread.

    Examples
    --------
    >>> import os, tempfile, numpy as np, chunkstore as cs
    >>> from PIL import Image
    >>> folder = tempfile.mkdtemp()
    >>> for name in ("cat", "dog"):
    ...     os.mkdir(os.path.join(folder, name))
    ...     Image.new("RGB", (40, 30), name == "cat" and "red" or "blue").save(
    ...         os.path.join(folder, name, "1.png")
    ...     )
    >>> report = cs.import_images(folder, folder + ".zarr.zip", size=(8, 8), shuffle=False)
    >>> with cs.open(report.path) as store:
    ...     store["x"].shape, store["y"][...].tolist(), store.attributes["class_names"]
    ((2, 8, 8, 3), [0, 1], ['cat', 'dog'])
    """
    check_options(options)
    with quiet_pillow():
        listing = list_images_with_masks(
            source, layout=layout, class_names=class_names, masks=masks, mask_ending=mask_ending
        )
        return _import(prepare(listing, kind="images", **options), out)


def import_csv(
    manifest: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    delimiter: str | None = None,
    header: Header = "auto",
    path_column: str | int = 0,
    labels: Mapping[str, str | int] | None = None,
    class_names: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    **options: Unpack[ImageOptions],
) -> ImportReport | dict[str, ImportReport]:
    r"""Bring the images that a CSV or TSV file lists into one file, with their labels.

    The file has the arrays ``x``, the images; ``name``, the path as the manifest has it; and the
    labels.

    Parameters
    ----------
    manifest
        UTF-8, also compressed by gzip. One line is one sample; blank lines and those that begin
        with ``#`` are none. Cells are stripped; one with a delimiter is quoted.
    out
        The new file; with ``split`` a folder for ``NAME.zarr.zip`` of each part.
    root
        Folder that paths are relative to; by default the manifest's own.
    delimiter
        Between cells; None takes the tab, comma or semicolon that the first line has.
    header
        ``"yes"``, ``"no"``, or ``"auto"``: the first line names columns if its path is neither
        called as images are nor a file; the report says so.
    path_column
        Of the images: a name of the header, or a number from 0.
    labels
        Columns by the name of the array: ``{"y": "species"}``, ``{"box": "x0,y0,x1,y1:float"}``.
        Behind a colon stands what they hold: ``int`` (stored as int64), ``float`` (float64),
        ``name`` of a class, ``path`` of a mask; without it the first line shows it, and the others
        must hold the same. By default the only other column is ``y``; a header may say as much:
        ``path,y:name,weight:float``.
    class_names
        Names of classes in the order of their labels, by default sorted; with several labels by
        the name of the array.
    **options
        See `chunkstore.import_images`.

    Returns
    -------
    report
        What was done; with ``split`` one for each part, by name.

    Raises
    ------
    FormatError
        Lines that are wrong: each is named by its number. With ``on_error="skip"`` they are left
        out, and listed.
    ValueError, KeyError
        Columns that are not there, or too many to choose from.
    ChunkStoreError
        See `chunkstore.import_images`.

    Examples
    --------
    >>> import os, tempfile, numpy as np, chunkstore as cs
    >>> from PIL import Image
    >>> folder = tempfile.mkdtemp()
    >>> Image.new("L", (8, 8), 200).save(os.path.join(folder, "1.png"))
    >>> with open(os.path.join(folder, "list.csv"), "w") as file:
    ...     _ = file.write("1.png,0.5\n1.png,0.25\n")
    >>> out = os.path.join(folder, "list.zarr.zip")
    >>> report = cs.import_csv(os.path.join(folder, "list.csv"), out, shuffle=False, mode="gray")
    >>> cs.load(out)["y"].tolist()
    [0.5, 0.25]
    """
    check_options(options)
    with quiet_pillow():
        listing = list_manifest(
            manifest,
            root=root,
            delimiter=delimiter,
            header=header,
            path_column=path_column,
            labels=labels,
            class_names=class_names,
        )
        return _import(prepare(listing, kind="csv", **options), out)


def check_options(options: Mapping[str, Any]) -> None:
    """Raise TypeError for an option that does not exist."""
    known = ImageOptions.__annotations__
    if unknown := [name for name in options if name not in known]:
        raise TypeError(
            f"importing images has no option {unknown[0]!r}; there are {', '.join(sorted(known))}"
        )


def list_images_with_masks(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    layout: Layout,
    class_names: Sequence[str] | None,
    masks: str | os.PathLike[str] | None,
    mask_ending: str,
) -> Listing:
    """Return the listing of `import_images`."""
    if masks is None and mask_ending:
        raise ValueError(f"mask_ending={mask_ending!r} goes with masks=")
    is_beside = bool(mask_ending) and _is_same(source, masks)
    listing = list_images(
        source,
        layout=layout,
        class_names=class_names,
        # Masks that lie beside their images are no images.
        is_image=lambda name: not (is_beside and os.path.splitext(name)[0].endswith(mask_ending)),
    )
    if masks is not None:
        pair_masks(listing, masks, ending=mask_ending)
    return listing


def _is_same(source: Any, masks: Any) -> bool:
    return (
        isinstance(source, str | os.PathLike)
        and os.path.isdir(source)
        and os.path.isdir(masks)
        and os.path.samefile(source, masks)
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
        See `import_images`.
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
    name = "y" if stratify is True else stratify
    label = listing.labels.get(name)
    if label is None or label.values.ndim != 1 or label.values.dtype.kind != "i":
        good = [
            other
            for other, label in listing.labels.items()
            if label.values.ndim == 1 and label.values.dtype.kind == "i"
        ]
        raise ValueError(f"stratify= needs labels that are classes, got {name!r}; there are {good}")
    return label.values


def _import(
    prepared: Prepared, out: str | os.PathLike[str]
) -> ImportReport | dict[str, ImportReport]:
    """Write what was prepared."""
    listing, checked, options = prepared.listing, prepared.checked, prepared.options
    if options.on_error == "fail" or len(checked.problems) == len(listing.names):
        raise_problems(listing, checked.problems)
    check_written_manifest(prepared)
    reports = import_parts(
        prepared.samples,
        out,
        options,
        shuffle=prepared.shuffle,
        seed=prepared.seed,
        split=prepared.split,
        stratify=prepared.classes,
        # What was left out is known before the first sample, and of no part of a split alone.
        notes=listing.notes,
    )
    if prepared.manifest is not None:
        numbers = _imported(listing, [report.path for report in reports.values()])
        write_manifest(prepared.manifest, listing, numbers, overwrite=options.overwrite)
    return reports[""] if prepared.split is None else reports


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


def _imported(listing: Listing, paths: Sequence[str | os.PathLike[str]]) -> list[int]:
    """Return the numbers of the samples that came into files: as often as their names stand there.

    What was left out, in this run or in one that was killed, and what no part of a split took, is
    not among them.
    """
    left: Counter[str] = Counter()
    for path in paths:
        with open_store(path) as store:
            for names in store[NAME].iter_chunks():
                left.update(names.tolist())
    numbers: list[int] = []
    for number, name in enumerate(listing.names):
        if left[name]:
            left[name] -= 1
            numbers.append(number)
    return numbers
