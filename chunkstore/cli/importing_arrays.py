"""How are arrays of other formats brought over from the command line?"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import chunkstore as cs
from chunkstore.cli.command import report_errors
from chunkstore.cli.importing import import_group
from chunkstore.cli.importing_options import (
    named_pairs,
    on_error_option,
    order_options,
    size_options,
    storage_options,
    with_options,
)
from chunkstore.cli.importing_output import run_import
from chunkstore.cli.printing import format_shape, format_table
from chunkstore.upper import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chunkstore.importers.arrays.options import ArrayPlan

_TAKE_SEVERAL = frozenset({"hdf5", "npy", "parquet"})

_order_options = order_options(
    shuffle=None,
    stratify=click.option("--stratify", metavar="ARRAY", help="Divide each class of it alike."),
)
_beside_option = click.option(
    "--beside", multiple=True, metavar="NAME", help="An array that is no samples; repeatable."
)


def _size_options(command: Callable[..., Any]) -> Callable[..., Any]:
    return with_options(command, *size_options)


def _array_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that all imports of arrays have."""
    return _order_options(storage_options(command))


@import_group.command(
    epilog="Examples: chunkstore import hdf5 train.h5 train.zarr.zip; "
    "chunkstore import hdf5 train.h5 set x=/images y=/labels --split train=0.9,val=0.1"
)
@click.argument(
    "arguments", type=click.Path(), nargs=-1, required=True, metavar="SOURCE... OUT [NAME=PATH]..."
)
@_beside_option
@click.option(
    "--layout",
    type=click.Choice(["auto", "plain", "neon", "matlab"]),
    default="auto",
    show_default=True,
    help="What the datasets mean.",
)
@click.option(
    "--sample-axis",
    type=click.Choice(["auto", "first", "last"]),
    default="auto",
    show_default=True,
    help="Of MATLAB's arrays, which axis counts samples.",
)
@_array_options
@report_errors
def hdf5(**options: Any) -> None:
    """Bring datasets of HDF5 files, also neon's and MATLAB 7.3's, into the file OUT.

    Without NAME=PATH all datasets come over. Several files of equal layout come one behind the
    other.
    """
    _run("hdf5", "hdf5", options)


@import_group.command(
    epilog="Examples: chunkstore import npy x=images.npy y=labels.npy train.zarr.zip; "
    "chunkstore import npy scans/ scans.zarr.zip --stack --size 224x224; "
    "chunkstore import npy data.npz data.zarr.zip x=arr_0 y=arr_1"
)
@click.argument(
    "arguments", type=click.Path(), nargs=-1, required=True, metavar="SOURCE... OUT [NAME=ARRAY]..."
)
@_beside_option
@click.option("--stack", is_flag=True, help="Each file is one sample.")
@_size_options
@on_error_option
@_array_options
@report_errors
def npy(**options: Any) -> None:
    """Bring npy and npz files, or folders of them, into the file OUT.

    NAME=FILE as a source names the new array; behind OUT, NAME=ARRAY chooses arrays of an npz file.
    Files of a folder follow each other, or are one sample each with --stack, which are then
    shuffled unless --no-shuffle is given. --size resizes them where they are images.
    """
    arguments = options.pop("arguments")
    pairs = tuple(a for a in arguments if "=" in a and not Path(a).exists())
    places = [a for a in arguments if a not in pairs]
    if len(places) == 1 and pairs:
        _import("npy", "npy", named_pairs(pairs, "a source"), places[0], options)
    else:
        _run("npy", "npy", {"arguments": arguments, **options})


@import_group.command(
    "zarr",
    epilog="Examples: chunkstore import zarr train.zarr train.zarr.zip; "
    "chunkstore import zarr all.zarr set x=train/images y=train/labels --split train=0.9,val=0.1",
)
@click.argument(
    "arguments", type=click.Path(), nargs=-1, required=True, metavar="SOURCE OUT [NAME=PATH]..."
)
@_beside_option
@_array_options
@report_errors
def zarr_store(**options: Any) -> None:
    """Bring the arrays of a zarr folder or zip, of format 2 or 3, into the file OUT.

    Without NAME=PATH all arrays come over.
    """
    _run("zarr_store", "zarr", options)


@import_group.command(
    "pickle",
    epilog="Examples: chunkstore import pickle train.pkl train.zarr.zip; "
    "chunkstore import pickle mnist.pkl.gz mnist.zarr.zip x=0/0 y=0/1",
)
@click.argument(
    "arguments", type=click.Path(), nargs=-1, required=True, metavar="SOURCE OUT [NAME=PATH]..."
)
@_beside_option
@_array_options
@report_errors
def pickles(**options: Any) -> None:
    """Bring the arrays in a pickle into the file OUT; code in it is never run.

    PATH is keys of dicts and places in tuples, joined by slashes.
    """
    _run("pickles", "pickle", options)


@import_group.command(
    "cifar10",
    epilog="Examples: chunkstore import cifar10 cifar-10-python.tar.gz cifar; "
    "chunkstore import cifar10 cifar-100-python.tar.gz set --split train=0.9,val=0.1 --stratify y",
)
@click.argument("source", type=click.Path())
@click.argument("out", type=click.Path())
@click.option("--part", type=click.Choice(["train", "test"]), help="Only this, into the file OUT.")
@click.option(
    "--layout",
    type=click.Choice(["hwc", "chw"]),
    default="hwc",
    show_default=True,
    help="Order of the axes.",
)
@click.option("--size", type=click.IntRange(min=32), help="Pad images to this height and width.")
@click.option(
    "--pad",
    type=click.Choice(["channel-mean", "line-mean", "zero", "reflect"]),
    default="channel-mean",
    show_default=True,
    help="What with.",
)
@_array_options
@report_errors
def cifar10(*, source: str, out: str, **options: Any) -> None:
    """Bring CIFAR-10 or CIFAR-100, SOURCE as it is downloaded, into files in the folder OUT."""
    plan_cifar = resolve("chunkstore.importers.cifar", "plan_cifar")
    run_import(cs.import_cifar, plan_cifar, _lines_of, source, out, options)


@import_group.command(
    epilog="Examples: chunkstore import parquet train.parquet train.zarr.zip; "
    "chunkstore import parquet parts/ train.zarr.zip x=pixels y=label"
)
@click.argument(
    "arguments",
    type=click.Path(),
    nargs=-1,
    required=True,
    metavar="SOURCE... OUT [NAME=COLUMN]...",
)
@_array_options
@report_errors
def parquet(**options: Any) -> None:
    """Bring columns of parquet and arrow files, or folders of them, into the file OUT.

    Without NAME=COLUMN all columns come over.
    """
    _run("parquet", "parquet", options)


@import_group.command(
    epilog="Example: chunkstore import raw features.bin features.zarr.zip --dtype '<f4' --shape 512"
)
@click.argument("source", type=click.Path())
@click.argument("out", type=click.Path())
@click.option("--dtype", required=True, help="Of the elements, such as <f4 or uint8.")
@click.option("--shape", default="", metavar="N,N,...", help="Of one sample; default: one number.")
@click.option("--offset", type=click.IntRange(min=0), default=0, help="Bytes before the first.")
@click.option("--name", help="Of the new array; default: as the file is called.")
@_array_options
@report_errors
def raw(*, source: str, out: str, shape: str, **options: Any) -> None:
    """Bring SOURCE, a binary file without a header such as a memmap, into the file OUT."""
    try:
        options["sample_shape"] = tuple(int(n) for n in shape.replace("x", ",").split(",") if n)
    except ValueError:
        raise ValueError(f"--shape is whole numbers such as 32,32,3, got {shape!r}") from None
    _import("raw", "raw", source, out, options)


def _run(module: str, name: str, options: dict[str, Any]) -> None:
    """Import or plan with the arguments of a command that names SOURCE, OUT and NAME=PATH."""
    sources, out, pairs = _places(options.pop("arguments"))
    if len(sources) > 1 and name not in _TAKE_SEVERAL:
        raise click.UsageError(f"there is one SOURCE and one OUT, got {len(sources) + 1} places")
    options["arrays"] = named_pairs(pairs, "an array") if pairs else None
    source: Any = sources[0] if len(sources) == 1 else list(sources)
    _import(module, name, source, out, options)


def _import(module: str, name: str, source: Any, out: str, options: dict[str, Any]) -> None:
    """Import or plan; ``chunkstore.importers.MODULE`` has ``open_NAME``."""
    opener = resolve(f"chunkstore.importers.{module}", f"open_{name}")
    plan = resolve("chunkstore.importers.arrays.options", "plan_source")
    run_import(
        getattr(cs, f"import_{name}"), partial(plan, opener), _lines_of, source, out, options
    )


def _places(arguments: tuple[str, ...]) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    """Return sources, the new file, and NAME=PATH texts."""
    pairs = tuple(a for a in arguments if "=" in a and not Path(a).exists())
    places = tuple(a for a in arguments if a not in pairs)
    if len(places) < 2:
        raise click.UsageError("say what to read and the new file: SOURCE... OUT")
    return places[:-1], places[-1], pairs


def _lines_of(plan: ArrayPlan) -> Iterator[str]:
    """Yield how a plan is shown."""
    yield f"{plan.source}: {plan.num_samples:,} samples"
    rows = [
        (name, format_shape(shape), dtype, place)
        for name, (place, shape, dtype) in plan.arrays.items()
    ]
    for line in format_table(("array", "shape", "dtype", "from"), rows):
        yield f"  {line}"
    for name in plan.unaligned:
        yield f"beside: {name}"
    for problem in plan.problems:
        yield f"{'refused' if plan.is_refused else 'skipped'}: {problem}"
