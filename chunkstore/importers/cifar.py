"""How do the archives of CIFAR-10 and CIFAR-100 become files of images and labels?"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from chunkstore.errors import ChunkStoreError
from chunkstore.importers.arrays.column import MemoryColumn
from chunkstore.importers.arrays.options import import_arrays, options_of, order_of, plan_arrays
from chunkstore.importers.arrays.samples import ArraySamples
from chunkstore.importers.cifar_archive import archive_identity, read_members
from chunkstore.importers.cifar_images import (
    ImageForm,
    class_names_of,
    file_names_of,
    images_of,
    labels_of,
)
from chunkstore.importing.parts import are_finished, check_parts
from chunkstore.importing.run import read_report
from chunkstore.store.part_file import part_path

if TYPE_CHECKING:
    from typing import Unpack

    from numpy.typing import NDArray

    from chunkstore.importers.arrays.column import Column
    from chunkstore.importers.arrays.options import ArrayPlan, ImportArguments, Imported
    from chunkstore.importers.cifar_images import Layout, Pad
    from chunkstore.importing.run import ImportReport

Part = Literal["train", "test"]


def import_cifar(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    part: Part | None = None,
    layout: Layout = "hwc",
    size: int | None = None,
    pad: Pad = "channel-mean",
    **options: Unpack[ImportArguments],
) -> Imported:
    """Bring CIFAR-10 or CIFAR-100 into files, from the Python version of the archive.

    Parameters
    ----------
    source
        ``cifar-10-python.tar.gz``, ``cifar-100-python.tar.gz``, or the folder that one was unpacked
        to.
    out
        Folder of the new files ``train.zarr.zip`` and ``test.zarr.zip``, which is made if it does
        not exist; with ``part`` the new file.
    part
        Only this one.
    layout
        ``"hwc"`` for images of shape (height, width, 3), ``"chw"`` for (3, height, width).
    size
        Height and width that smaller images are padded to, from 32; where that is odd, the pixel
        more is below and on the right.
    pad
        What with: the mean of each channel of the image, rounded; the mean of the row or column
        that a border pixel continues, as neon did; zeros; or the image mirrored.
    options
        How the files are stored and the import done, see `chunkstore.import_npy`. ``split``
        divides the training images, and the test images stay a file of their own;
        ``stratify="y"`` divides each class.

    Returns
    -------
    reports
        By part; with ``part`` and no ``split`` one report.

    Raises
    ------
    FormatError
        Members that are not what CIFAR has, labels that are no class; says where.
    MissingFileError
        A member is not there.
    UnsupportedError, CorruptionError
        A pickle asks for anything but arrays, or is damaged. Nothing of it is run.
    ChunkStoreError
        See `chunkstore.create`.

    Notes
    -----
    Arrays: ``x`` uint8, ``y`` int64, of CIFAR-100 also ``coarse``; ``name`` with the names of the
    files, where the archive has them. The names of the classes are the attribute ``class_names``,
    of CIFAR-100 also ``coarse_names``.
    """
    form = ImageForm(layout=layout, size=size, pad=pad)
    if part is not None:
        with open_cifar(source, part, form) as samples:
            return import_arrays(samples, out, options)
    folder = Path(out)
    with ExitStack() as resources:
        sources = _both(source, form, resources)
        finished = _check_both(sources, folder, options)
        folder.mkdir(parents=True, exist_ok=True)
        reports: dict[str, ImportReport] = {}
        for name, samples in sources.items():
            target, given = _of_part(name, folder, options)
            if name in finished:
                split = given.get("split")
                for made in [name] if split is None else list(split):
                    reports[made] = read_report(
                        part_path(folder, made),
                        seconds=0.0,
                        is_verified=given.get("verify", True),
                    )
                continue
            done = import_arrays(samples, target, given)
            reports |= done if isinstance(done, dict) else {name: done}
    return reports


def plan_cifar(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    part: Part | None = None,
    layout: Layout = "hwc",
    size: int | None = None,
    pad: Pad = "channel-mean",
    **options: Unpack[ImportArguments],
) -> ArrayPlan:
    """Return what `import_cifar` would do with the training images; nothing is written.

    What would be refused of the test images is told too.
    """
    form = ImageForm(layout=layout, size=size, pad=pad)
    if part is not None:
        with open_cifar(source, part, form) as samples:
            return plan_arrays(samples, out, options)
    folder = Path(out)
    with ExitStack() as resources:
        sources = _both(source, form, resources)
        target, given = _of_part("train", folder, options)
        plan = plan_arrays(sources["train"], target, given, makes_folder=True)
        try:
            _check_both(sources, folder, options)
        except (ValueError, TypeError, KeyError, ChunkStoreError) as error:
            text = str(error.args[0] if isinstance(error, KeyError) else error)
            return replace(plan, refused=(text,))
        # What is there already was made by the same import, which was killed.
        return replace(plan, refused=()) if folder.is_dir() else plan


def _both(
    source: str | os.PathLike[str], form: ImageForm, resources: ExitStack
) -> dict[Part, ArraySamples]:
    names: tuple[Part, ...] = get_args(Part)
    return {name: resources.enter_context(open_cifar(source, name, form)) for name in names}


def _of_part(name: Part, folder: Path, options: ImportArguments) -> tuple[Path, ImportArguments]:
    """Return where a part goes, and what is asked of it: only the training images are divided."""
    given = options.copy()
    if name == "test":
        given.pop("split", None)
        given.pop("stratify", None)
    is_divided = given.get("split") is not None
    return folder if is_divided else part_path(folder, name), given


def _check_both(
    sources: dict[Part, ArraySamples], folder: Path, options: ImportArguments
) -> set[Part]:
    """Return the parts that an import which was killed had finished; nothing is changed.

    Raises
    ------
    ValueError, TypeError, KeyError, ChunkStoreError
        What the import of either part would raise before it reads a sample.
    """
    split = options.get("split")
    if split is not None and "test" in split:
        raise ValueError("the test images are a part of their own; call yours other than 'test'")
    checked = options_of(options)
    asked: dict[Part, dict[str, Any]] = {}
    for name, samples in sources.items():
        target, given = _of_part(name, folder, options)
        asked[name] = {
            "source": samples,
            "out": target,
            "options": checked,
            **order_of(samples, given, checked),
        }
    finished = {name for name in sources if are_finished(**asked[name])}
    if len(finished) == len(sources):
        # Of an import that was not killed: they are there already.
        finished = set()
    for name, arguments in asked.items():
        # In a folder that is not there nothing is in the way.
        if name not in finished and (folder.is_dir() or arguments["split"] is not None):
            check_parts(**arguments)
    return finished


def open_cifar(source: str | os.PathLike[str], part: Part, form: ImageForm) -> ArraySamples:
    """Return one part as samples; see `import_cifar`."""
    if part not in get_args(Part):
        raise ValueError(f"part must be one of {', '.join(get_args(Part))}; got {part!r}")
    place = os.fspath(source)
    identity = archive_identity(place)
    kind, members = read_members(place, part)
    class_names = {
        name: class_names_of(members[kind.meta], key, f"{place}: {kind.meta}")
        for name, key in kind.class_names.items()
    }
    images: list[NDArray[Any]] = []
    labels: dict[str, list[NDArray[Any]]] = {name: [] for name in kind.labels}
    files: list[str] = []
    nameless: list[str] = []
    notes: list[str] = []
    for member in kind.parts[part]:
        where = f"{place}: {member}"
        batch = members[member]
        images.append(images_of(batch, where))
        for name, key in kind.labels.items():
            labels[name].append(
                labels_of(batch, key, where, len(images[-1]), len(class_names[name]))
            )
        files += (found := file_names_of(batch, where, len(images[-1])))
        if not found:
            nameless.append(member)
    columns: dict[str, Column] = {
        "x": form.applied_to(MemoryColumn(f"{place}: {part} images", np.concatenate(images))),
        **{
            name: MemoryColumn(f"{place}: {part} {kind.labels[name]}", np.concatenate(values))
            for name, values in labels.items()
        },
    }
    if nameless:
        notes.append(f"there is no array 'name': no file names in {', '.join(nameless)}")
    else:
        columns["name"] = MemoryColumn(f"{place}: {part} file names", np.array(files))
    attributes: dict[str, Any] = {"class_names": class_names["y"]}
    if "coarse" in class_names:
        attributes["coarse_names"] = class_names["coarse"]
    return ArraySamples(
        "cifar",
        place,
        columns,
        attributes=attributes,
        provenance={"part": part, **form.to_json()},
        notes=notes,
        identity=identity,
    )
