"""How are arrays of other formats brought over from the command line?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import chunkstore as cs
from chunkstore.cli.command import EXIT_DEFECT, report_errors
from chunkstore.cli.importing import (
    import_group,
    named_pairs,
    print_report,
    shown_lines,
    storage_options,
)
from chunkstore.cli.printing import format_shape, format_table, print_json
from chunkstore.upper import resolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from chunkstore.importers.arrays.options import ArrayPlan


def array_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that all imports of arrays have."""
    for option in (
        click.option("--dry-run", is_flag=True, help="Only say what is there and would be done."),
        click.option("--stratify", metavar="ARRAY", help="Divide each class of it alike."),
        click.option(
            "--split",
            metavar="NAME=PART,...",
            help="Divide into files in the folder OUT, such as train=0.8,val=0.2.",
        ),
        click.option(
            "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the order."
        ),
        click.option(
            "--shuffle/--no-shuffle", default=None, help="Put samples into a random order for good."
        ),
    ):
        command = option(command)
    return storage_options(command)


_TAKE_SEVERAL = frozenset({"hdf5", "npy", "parquet"})

beside_option = click.option(
    "--beside", multiple=True, metavar="NAME", help="An array that is no samples; repeatable."
)

on_error_option = click.option(
    "--on-error",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    show_default=True,
    help="What to do with a file that cannot be read.",
)


@import_group.command(
    epilog="Examples: chunkstore import hdf5 train.h5 train.zarr.zip; "
    "chunkstore import hdf5 train.h5 set x=/images y=/labels --split train=0.9,val=0.1"
)
@click.argument(
    "arguments", type=click.Path(), nargs=-1, required=True, metavar="SOURCE... OUT [NAME=PATH]..."
)
@beside_option
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
@array_options
@report_errors
def hdf5(**options: Any) -> None:
    """Bring datasets of HDF5 files, also neon's and MATLAB 7.3's, into the file OUT.

    Without NAME=PATH all datasets come over. Several files of equal layout come one behind the
    other.
    """
    _run("hdf5", "hdf5", options)


@import_group.command(
    epilog="Examples: chunkstore import npy x=images.npy y=labels.npy train.zarr.zip; "
    "chunkstore import npy scans/ scans.zarr.zip --stack; "
    "chunkstore import npy data.npz data.zarr.zip x=arr_0 y=arr_1"
)
@click.argument(
    "arguments", type=click.Path(), nargs=-1, required=True, metavar="SOURCE... OUT [NAME=ARRAY]..."
)
@beside_option
@click.option("--stack", is_flag=True, help="Each file is one sample.")
@on_error_option
@array_options
@report_errors
def npy(**options: Any) -> None:
    """Bring npy and npz files, or folders of them, into the file OUT.

    NAME=FILE as a source names the new array; behind OUT, NAME=ARRAY chooses arrays of an npz file.
    Files of a folder follow each other, or are one sample each with --stack, which are then
    shuffled unless --no-shuffle is given.
    """
    arguments = options.pop("arguments")
    pairs = tuple(a for a in arguments if "=" in a and not Path(a).exists())
    places = [a for a in arguments if a not in pairs]
    if len(places) == 1 and pairs:
        run_import("npy", "npy", named_pairs(pairs, "a source"), places[0], options)
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
@beside_option
@array_options
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
@beside_option
@array_options
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
@array_options
@report_errors
def cifar10(*, source: str, out: str, **options: Any) -> None:
    """Bring CIFAR-10 or CIFAR-100, SOURCE as it is downloaded, into files in the folder OUT."""
    run_import("cifar", "cifar", source, out, options)


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
@array_options
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
@array_options
@report_errors
def raw(*, source: str, out: str, shape: str, **options: Any) -> None:
    """Bring SOURCE, a binary file without a header such as a memmap, into the file OUT."""
    try:
        options["sample_shape"] = tuple(int(n) for n in shape.replace("x", ",").split(",") if n)
    except ValueError:
        raise ValueError(f"--shape is whole numbers such as 32,32,3, got {shape!r}") from None
    run_import("raw", "raw", source, out, options)


def _run(module: str, name: str, options: dict[str, Any]) -> None:
    """Import or plan with the arguments of a command that names SOURCE, OUT and NAME=PATH."""
    sources, out, pairs = _places(options.pop("arguments"))
    if len(sources) > 1 and name not in _TAKE_SEVERAL:
        raise click.UsageError(f"there is one SOURCE and one OUT, got {len(sources) + 1} places")
    options["arrays"] = named_pairs(pairs, "an array") if pairs else None
    source: Any = sources[0] if len(sources) == 1 else list(sources)
    run_import(module, name, source, out, options)


def run_import(module: str, name: str, source: Any, out: str, options: dict[str, Any]) -> None:
    """Call an importer, or what plans for it, and print.

    Parameters
    ----------
    module, name
        ``chunkstore.importers.MODULE`` has ``import_NAME`` and ``plan_NAME``.
    source, out
        Given to either.
    options
        As the command line has them.
    """
    as_json, dry_run = options.pop("as_json"), options.pop("dry_run")
    options["chunk_length"] = options.pop("chunk")
    options["split"] = _fractions(options.pop("split"))
    if dry_run:
        plan = resolve(f"chunkstore.importers.{module}", f"plan_{name}")
        print_plan(plan(source, out, **options), as_json=as_json)
        return
    result = getattr(cs, f"import_{name}")(source, out, **options)
    if not isinstance(result, dict):
        print_report(result, as_json=as_json)
    elif as_json:
        print_json(
            {"path": out, "parts": {part: report.to_json() for part, report in result.items()}}
        )
    else:
        for report in result.values():
            print_report(report, as_json=False)


def _places(arguments: tuple[str, ...]) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    """Return sources, the new file, and NAME=PATH texts."""
    pairs = tuple(a for a in arguments if "=" in a and not Path(a).exists())
    places = tuple(a for a in arguments if a not in pairs)
    if len(places) < 2:
        raise click.UsageError("say what to read and the new file: SOURCE... OUT")
    return places[:-1], places[-1], pairs


def _fractions(text: str | None) -> dict[str, float] | None:
    """Return the parts of ``--split``."""
    if text is None:
        return None
    parts = named_pairs(tuple(text.split(",")), "a part of --split")
    fractions = {}
    for name, value in parts.items():
        try:
            fractions[name] = float(value)
        except ValueError:
            raise ValueError(
                f"--split: the fraction of {name!r} must be a number, got {value!r}"
            ) from None
    return fractions


def print_plan(plan: ArrayPlan, *, as_json: bool) -> None:
    """Print what would be done; the exit code is 1 where it would be refused."""
    if as_json:
        print_json(plan.to_json())
    else:
        rows = [
            (name, format_shape(shape), dtype, place)
            for name, (place, shape, dtype) in plan.arrays.items()
        ]
        click.echo(f"{plan.source}: {plan.num_samples:,} samples")
        for line in format_table(("array", "shape", "dtype", "from"), rows):
            click.echo(f"  {line}")
        for name in plan.unaligned:
            click.echo(f"beside: {name}")
        for note in shown_lines(plan.notes):
            click.echo(f"note: {note}")
        for reason in plan.refused:
            click.echo(f"refused: {reason}")
    if plan.refused:
        sys.exit(EXIT_DEFECT)
