"""How do the archives of CIFAR-10 and CIFAR-100 become files of images and labels?"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np

from chunkstore.errors import ChunkStoreError, FormatError
from chunkstore.importers.arrays.column import MappedColumn, MemoryColumn
from chunkstore.importers.arrays.options import import_arrays, options_of, plan_arrays
from chunkstore.importers.arrays.samples import ArraySamples
from chunkstore.importers.arrays.text import checked_text
from chunkstore.importers.cifar_archive import archive_identity, read_members
from chunkstore.importing.parts import are_finished, check_parts
from chunkstore.importing.run import read_report

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from numpy.typing import NDArray

    from chunkstore.importers.arrays.options import ArrayPlan, ImportArguments, Imported
    from chunkstore.importing.run import ImportReport

Part = Literal["train", "test"]
Layout = Literal["hwc", "chw"]
Pad = Literal["channel-mean", "line-mean", "zero", "reflect"]
_SIDE: Final = 32
_ROW_NBYTES: Final = 3 * _SIDE * _SIDE


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
        How the files are stored and the import done, see `chunkstore.import_pickle`. ``split``
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
    if part is not None:
        with open_cifar(source, part, layout=layout, size=size, pad=pad) as samples:
            return import_arrays(samples, out, options)
    folder = Path(out)
    with ExitStack() as resources:
        sources = _both(source, layout, size, pad, resources)
        finished = _check_both(sources, folder, options)
        folder.mkdir(parents=True, exist_ok=True)
        reports: dict[str, ImportReport] = {}
        for name, samples in sources.items():
            target, given = _of_part(name, folder, options)
            if name in finished:
                split = given.get("split")
                for made in [name] if split is None else list(split):
                    reports[made] = read_report(
                        folder / f"{made}.zarr.zip",
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
    if part is not None:
        with open_cifar(source, part, layout=layout, size=size, pad=pad) as samples:
            return plan_arrays(samples, out, options)
    folder = Path(out)
    with ExitStack() as resources:
        sources = _both(source, layout, size, pad, resources)
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
    source: str | os.PathLike[str],
    layout: Layout,
    size: int | None,
    pad: Pad,
    resources: ExitStack,
) -> dict[Part, ArraySamples]:
    names: tuple[Part, ...] = get_args(Part)
    return {
        name: resources.enter_context(open_cifar(source, name, layout=layout, size=size, pad=pad))
        for name in names
    }


def _of_part(name: Part, folder: Path, options: ImportArguments) -> tuple[Path, ImportArguments]:
    """Return where a part goes, and what is asked of it: only the training images are divided."""
    given = options.copy()
    if name == "test":
        given.pop("split", None)
        given.pop("stratify", None)
    is_divided = given.get("split") is not None
    return folder if is_divided else folder / f"{name}.zarr.zip", given


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
        stratify = given.get("stratify")
        asked[name] = {
            "source": samples,
            "out": target,
            "options": checked,
            "shuffle": bool(given.get("shuffle")),
            "seed": given.get("seed", 0),
            "split": given.get("split"),
            "stratify": samples.classes(stratify) if isinstance(stratify, str) else stratify,
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


def open_cifar(
    source: str | os.PathLike[str],
    part: Part,
    *,
    layout: Layout = "hwc",
    size: int | None = None,
    pad: Pad = "channel-mean",
) -> ArraySamples:
    """Return one part as samples; see `import_cifar`."""
    for name, value, allowed in (
        ("part", part, get_args(Part)),
        ("layout", layout, get_args(Layout)),
        ("pad", pad, get_args(Pad)),
    ):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")
    side = _SIDE if size is None else size
    if side < _SIDE:
        raise ValueError(f"size must be at least {_SIDE}, to which images are padded, got {size}")
    if pad == "reflect" and side > 3 * _SIDE - 2:
        raise ValueError(f"pad='reflect' goes to size {3 * _SIDE - 2} at most, got {size}")
    place = os.fspath(source)
    identity = archive_identity(place)
    kind, members = read_members(place, part)
    class_names = {
        name: _names(members[kind.meta], key, f"{place}: {kind.meta}")
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
        images.append(_images(batch, where))
        for name, key in kind.labels.items():
            labels[name].append(_labels(batch, key, where, len(images[-1]), len(class_names[name])))
        files += (found := _file_names(batch, where, len(images[-1])))
        if not found:
            nameless.append(member)
    flat = np.concatenate(images)
    pixels = MemoryColumn(f"{place}: {part} images", flat)
    shape = (side, side, 3) if layout == "hwc" else (3, side, side)
    columns: dict[str, Any] = {
        "x": MappedColumn(
            pixels, _change(layout, side, pad), sample_shape=shape, dtype=np.dtype(np.uint8)
        ),
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
        provenance={"part": part, "layout": layout, "size": side, "pad": pad},
        notes=notes,
        identity=identity,
    )


def _images(batch: dict[str, Any], where: str) -> NDArray[Any]:
    data = batch.get("data")
    if (
        not isinstance(data, np.ndarray)
        or data.dtype != np.uint8
        or data.ndim != 2
        or data.shape[1] != _ROW_NBYTES
    ):
        shape = data.shape if isinstance(data, np.ndarray) else type(data).__name__
        raise FormatError(f"{where}: 'data' must be uint8 of shape (n, {_ROW_NBYTES}), got {shape}")
    return data


def _labels(
    batch: dict[str, Any], key: str, where: str, num_images: int, num_classes: int
) -> NDArray[Any]:
    values = batch.get(key)
    if not isinstance(values, list) or len(values) != num_images:
        got = len(values) if isinstance(values, list) else type(values).__name__
        raise FormatError(f"{where}: {key!r} must be {num_images} labels, got {got}")
    for i, label in enumerate(values):
        if type(label) is not int or not 0 <= label < num_classes:
            raise FormatError(
                f"{where}: image {i}: the label must be a class in [0, {num_classes}), got "
                f"{label!r}"
            )
    return np.array(values, np.int64)


def _file_names(batch: dict[str, Any], where: str, num_images: int) -> list[str]:
    """Return the names of the files, none where the batch has none."""
    values = batch.get("filenames")
    if values is None:
        return []
    if not isinstance(values, list) or len(values) != num_images:
        got = len(values) if isinstance(values, list) else type(values).__name__
        raise FormatError(f"{where}: 'filenames' must be {num_images} names, got {got}")
    return [checked_text(name, f"{where}: 'filenames'", i) for i, name in enumerate(values)]


def _names(meta: dict[str, Any], key: str, where: str) -> list[str]:
    names = meta.get(key)
    if not isinstance(names, list) or not names:
        raise FormatError(f"{where}: {key!r} must be names of classes, got {names!r:.60}")
    return [checked_text(name, f"{where}: {key!r}", i) for i, name in enumerate(names)]


def _change(layout: Layout, side: int, pad: Pad) -> Callable[[NDArray[Any], int], NDArray[Any]]:
    """Return what makes images of rows."""
    before = (side - _SIDE) // 2
    widths = ((0, 0), (0, 0), (before, side - _SIDE - before), (before, side - _SIDE - before))

    def change(rows: NDArray[Any], _: int) -> NDArray[Any]:
        # Axes: sample, channel, row, column.
        planes = rows.reshape(-1, 3, _SIDE, _SIDE)
        if side > _SIDE:
            planes = _padded(planes, widths, pad)
        return planes if layout == "chw" else planes.transpose(0, 2, 3, 1)

    return change


def _padded(planes: NDArray[Any], widths: tuple[tuple[int, int], ...], pad: Pad) -> NDArray[Any]:
    if pad == "zero":
        return np.pad(planes, widths)
    if pad == "reflect":
        return np.pad(planes, widths, mode="reflect")
    if pad == "line-mean":
        return np.pad(planes, widths, mode="mean")
    (top, _), (left, _) = widths[2:]
    means = np.rint(planes.mean(axis=(2, 3), keepdims=True)).astype(np.uint8)
    size = planes.shape[2] + sum(widths[2])
    padded = np.broadcast_to(means, (*planes.shape[:2], size, size)).copy()
    padded[:, :, top : top + _SIDE, left : left + _SIDE] = planes
    return padded
