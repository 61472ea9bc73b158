"""How are image folders and lists of images brought over from the command line?"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import click

import chunkstore as cs
from chunkstore.cli.command import EXIT_DEFECT, report_errors
from chunkstore.cli.importing import named_pairs, print_report, shown_lines, storage_options
from chunkstore.cli.printing import format_nbytes, format_shape, format_table, print_json
from chunkstore.upper import resolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from chunkstore.importers.images.planning import ImagePlan

_HEIGHT_WIDTH = re.compile(r"([0-9]+)[xX]([0-9]+)")


class _Size(click.ParamType[tuple[int, int]]):
    """HEIGHTxWIDTH, or one number for both."""

    name = "HxW"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        found = _HEIGHT_WIDTH.fullmatch(value if "x" in value.lower() else f"{value}x{value}")
        if found:
            return int(found[1]), int(found[2])
        return self.fail(f"it is written HEIGHTxWIDTH, such as 224x224, got {value!r}", param, ctx)


def _image_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of all imports of images."""
    choice = click.Choice
    options = (
        click.option("--size", type=_Size(), help="Height and width of all samples."),
        click.option(
            "--fit",
            type=choice(["stretch", "pad", "crop"]),
            default="stretch",
            show_default=True,
            help="How other proportions come to --size.",
        ),
        click.option("--short-side", type=click.IntRange(min=1), help="Resize to it, then --crop."),
        click.option("--crop", type=_Size(), help="Cut this out of the middle."),
        click.option(
            "--resample",
            type=choice(["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]),
            default="bilinear",
            show_default=True,
        ),
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
        click.option(
            "--shuffle/--no-shuffle", default=True, show_default=True, help="Mix the samples."
        ),
        click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True),
        click.option(
            "--split",
            metavar="NAME=F,...",
            help="One file for each part, such as train=.8,val=.1,test=.1; OUT is a folder then.",
        ),
        click.option("--stratify", is_flag=True, help="Divide each class in the same ratio."),
        click.option("--write-manifest", type=click.Path(), help="Leave a CSV of what is there."),
        click.option(
            "--on-error",
            type=choice(["fail", "skip"]),
            default="fail",
            show_default=True,
            help="What cannot be read ends the import, or is left out and listed.",
        ),
        click.option("--dry-run", is_flag=True, help="Only say what is there and what is wrong."),
    )
    for option in reversed(options):
        command = option(command)
    return storage_options(command)


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
    _run("images", source, out, arguments, **others)


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
    _run("csv", manifest, out, arguments, **others)


def _run(
    kind: str,
    source: Any,
    out: str,
    arguments: dict[str, Any],
    *,
    split: str | None,
    chunk: int | None,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    arguments |= {"split": _fractions(split), "chunk_length": chunk, **options}
    if dry_run:
        plan = resolve("chunkstore.importers.images.planning", f"plan_{kind}")
        _print_plan(plan(source, out, **arguments), as_json=as_json)
        return
    function: Callable[..., Any] = cs.import_images if kind == "images" else cs.import_csv
    found = function(source, out, **arguments)
    if not isinstance(found, dict):
        print_report(found, as_json=as_json)
    elif as_json:
        print_json(
            {"path": out, "parts": {name: report.to_json() for name, report in found.items()}}
        )
    else:
        for report in found.values():
            print_report(report, as_json=False)


def _fractions(text: str | None) -> dict[str, float] | None:
    if text is None:
        return None
    fractions = {}
    for name, value in named_pairs(tuple(text.split(",")), "a part of --split").items():
        try:
            fractions[name.strip()] = float(value)
        except ValueError:
            raise ValueError(
                f"--split: the fraction of {name!r} must be a number, got {value!r}"
            ) from None
    return fractions


def _print_plan(plan: ImagePlan, *, as_json: bool) -> None:
    if as_json:
        print_json(plan.to_json())
    else:
        click.echo(f"{plan.source}: {plan.num_samples:,} images")
        sizes = ", ".join(f"{size} ({count:,})" for size, count in plan.sizes.items())
        click.echo(f"  height x width: {sizes or 'none'}")
        for name, counts in plan.class_counts.items():
            found = ", ".join(f"{class_name} ({count:,})" for class_name, count in counts.items())
            click.echo(f"  classes of {name}: {found}")
        rows = [(name, format_shape(shape), dtype) for name, (shape, dtype) in plan.arrays.items()]
        for line in format_table(("array", "shape", "dtype"), rows):
            click.echo(f"  {line}")
        click.echo(f"  {format_nbytes(plan.nbytes)} before compression")
        for note in shown_lines(plan.notes):
            click.echo(f"note: {note}")
        for part, count in plan.parts.items():
            click.echo(f"  part {part}: {count:,} images")
        for problem in plan.problems:
            click.echo(f"{'refused' if plan.is_refused else 'skipped'}: {problem}")
        for reason in plan.refused:
            click.echo(f"refused: {reason}")
    if plan.is_refused:
        sys.exit(EXIT_DEFECT)
