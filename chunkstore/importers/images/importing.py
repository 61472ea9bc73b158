"""How do image files become one file, or one for each part of a split?

All files are looked at first, and all that is wrong is said at once. Then images are decoded and
resized on all cores, and written in an order that is mixed for good.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Unpack

from chunkstore.importers.images.checking import raise_problems
from chunkstore.importers.images.manifest import list_manifest, write_manifest
from chunkstore.importers.images.pairing import list_images_with_masks
from chunkstore.importers.images.pillow import quiet_pillow
from chunkstore.importers.images.preparing import (
    ImageOptions,
    Prepared,
    check_options,
    check_written_manifest,
    prepare,
)
from chunkstore.importers.images.samples import NAME
from chunkstore.importing.parts import import_parts
from chunkstore.store.store import open_store

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from chunkstore.importers.images.listing import Layout, Listing
    from chunkstore.importers.images.manifest import Header
    from chunkstore.importing.run import ImportReport


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
    codec, level, typesize, chunk_nbytes, chunk_length, attributes
        Of the new file, see `chunkstore.create`.
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
