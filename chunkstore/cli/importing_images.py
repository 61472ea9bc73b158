"""How are image folders and lists of images brought over from the command line?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

import chunkstore as cs
from chunkstore.cli.command import report_errors
from chunkstore.cli.importing_options import (
    Size,
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
from chunkstore.viewing.text import format_nbytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chunkstore.importers.images.planning import ImagePlan


def _image_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of all imports of images."""
    choice = click.Choice
    return with_options(
        _order_options(storage_options(command)),
        *size_options,
        click.option("--short-side", type=click.IntRange(min=1), help="Resize to it, then --crop."),
        click.option("--crop", type=Size(), help="Cut this out of the middle."),
        click.option("--pad-value", type=click.IntRange(0, 255), default=0, help="Of --fit pad."),
        click.option(
            "--mask-pad-value", type=click.IntRange(0, 255), default=0, help="The same of masks."
        ),
        click.option(
            "--mode",
            type=choice(["rgb", "gray", "rgba"]),
            default="rgb",
            show_default=True,
            help="Channels of a sample.",
        ),
        click.option(
            "--sixteen-bit",
            type=choice(["refuse", "scale", "keep"]),
            default="refuse",
            show_default=True,
            help="Images of 16 bits a channel.",
        ),
        click.option(
            "--animated",
            type=choice(["refuse", "first"]),
            default="refuse",
            show_default=True,
            help="Files of several frames or pages.",
        ),
        click.option(
            "--scaled-decoding/--no-scaled-decoding",
            default=True,
            show_default=True,
            help="Let the JPEG decoder shrink large images.",
        ),
        click.option("--write-manifest", type=click.Path(), help="Leave a CSV of what came over."),
        on_error_option,
    )


_order_options = order_options(
    shuffle=True,
    stratify=click.option("--stratify", is_flag=True, help="Divide each class of y alike."),
)


@click.command(
    epilog="Examples: chunkstore import images photos train.zarr.zip --size 224x224; "
    "chunkstore import images photos parts --short-side 256 --crop 224 "
    "--split train=.8,val=.1,test=.1 --stratify"
)
@click.argument("sources", type=click.Path(), nargs=-1, required=True)
@click.argument("out", type=click.Path())
@click.option(
    "--layout",
    type=click.Choice(["auto", "classes", "flat"]),
    default="auto",
    show_default=True,
    help="Whether the folders in the source are classes.",
)
@click.option("--class", "classes", multiple=True, help="A class folder, in order; repeatable.")
@click.option("--masks", type=click.Path(), help="Folder of masks of the same names.")
@click.option("--mask-ending", default="", help="What names of masks have more, such as _mask.")
@_image_options
@report_errors
def images(
    *,
    sources: tuple[str, ...],
    out: str,
    layout: str,
    classes: tuple[str, ...],
    masks: str | None,
    mask_ending: str,
    **others: Any,
) -> None:
    """Bring the images of SOURCES, a folder, a pattern or files, into the file OUT.

    A folder of folders is taken as classes: y numbers them in the order of their names, which
    stand in the attribute class_names. All headers are read first, and everything that is wrong is
    listed before anything is written. With --dry-run the exit code is 1 if something is wrong.
    """
    arguments = {
        "layout": layout,
        "class_names": classes or None,
        "masks": masks,
        "mask_ending": mask_ending,
    }
    source: Any = sources[0] if len(sources) == 1 else list(sources)
    _run("images", source, out, arguments, others)


@click.command(
    epilog="Examples: chunkstore import csv train.csv train.zarr.zip --size 224x224; "
    "chunkstore import csv list.tsv boxes.zarr.zip --path-column file "
    "--label y=species:name --label box=x0,y0,x1,y1:float"
)
@click.argument("manifest", type=click.Path())
@click.argument("out", type=click.Path())
@click.option("--root", type=click.Path(), help="Folder of the paths; default: the manifest's.")
@click.option("--delimiter", help="Default: a tab, comma or semicolon that is there.")
@click.option(
    "--header", type=click.Choice(["auto", "yes", "no"]), default="auto", show_default=True
)
@click.option("--path-column", default="0", show_default=True, help="By name, or number from 0.")
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME=COL[,COL][:KIND]",
    help="Columns of one array, int, float, name or path; repeatable. Default: y, the only other.",
)
@click.option("--class", "classes", multiple=True, help="A class name, in order; repeatable.")
@click.option("--stratify-by", metavar="NAME", help="As --stratify, of other labels than y.")
@_image_options
@report_errors
def csv(
    *,
    manifest: str,
    out: str,
    root: str | None,
    delimiter: str | None,
    header: str,
    path_column: str,
    labels: tuple[str, ...],
    classes: tuple[str, ...],
    stratify_by: str | None,
    **others: Any,
) -> None:
    """Bring the images that MANIFEST lists, a CSV or TSV file, into the file OUT.

    One line is one sample, and a line that is wrong is named by its number. The manifest may be
    compressed by gzip; blank lines and those that begin with # are passed over.
    """
    arguments = {
        "root": root,
        "delimiter": "\t" if delimiter == "\\t" else delimiter,
        "header": header,
        "path_column": path_column,
        "labels": named_pairs(labels, "--label") or None,
        "class_names": classes or None,
    }
    if stratify_by is not None:
        others["stratify"] = stratify_by
    _run("csv", manifest, out, arguments, others)


def _run(kind: str, source: Any, out: str, arguments: dict[str, Any], options: Any) -> None:
    import_source = getattr(cs, f"import_{kind}")
    plan_source = resolve("chunkstore.importers.images.planning", f"plan_{kind}")
    run_import(import_source, plan_source, _lines_of, source, out, arguments | options)


def _lines_of(plan: ImagePlan) -> Iterator[str]:
    """Yield how a plan is shown."""
    yield f"{plan.source}: {plan.num_samples:,} images"
    sizes = ", ".join(f"{size} ({count:,})" for size, count in plan.sizes.items())
    yield f"  height x width: {sizes or 'none'}"
    for name, counts in plan.class_counts.items():
        found = ", ".join(f"{class_name} ({count:,})" for class_name, count in counts.items())
        yield f"  classes of {name}: {found}"
    rows = [(name, format_shape(shape), dtype) for name, (shape, dtype) in plan.arrays.items()]
    for line in format_table(("array", "shape", "dtype"), rows):
        yield f"  {line}"
    yield f"  {format_nbytes(plan.nbytes)} before compression"
    for part, count in plan.parts.items():
        yield f"  part {part}: {count:,} images"
    for problem in plan.problems:
        yield f"{'refused' if plan.is_refused else 'skipped'}: {problem}"
