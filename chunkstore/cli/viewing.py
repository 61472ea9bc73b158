"""How is the page of a file made from the command line?"""

from __future__ import annotations

import sys

import click

import chunkstore as cs
from chunkstore.cli.command import EXIT_DEFECT, report_errors
from chunkstore.cli.printing import print_json
from chunkstore.errors import ExistingFileError
from chunkstore.viewing.text import format_nbytes


@click.command(
    epilog="Example: chunkstore view train.zarr.zip\n\n"
    "Example: chunkstore view train.zarr.zip -o train.png --labels y"
)
@click.argument("file", type=click.Path())
@click.option(
    "-o",
    "--out",
    type=click.Path(),
    help="The page (.html) or picture (.png); by default train.html beside train.zarr.zip.",
)
@click.option("--labels", metavar="NAME", help="Array of labels; by default the one called y, ...")
@click.option(
    "--samples", type=int, default=64, show_default=True, help="Pictures of samples, 1 to 1000."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Which samples are taken.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is no page of chunkstore's.")
@report_errors
def view(
    *,
    file: str,
    out: str | None,
    labels: str | None,
    samples: int,
    seed: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Show what is in FILE: write one page with pictures, labels, values and chunks.

    The page needs no network and no server. A part of FILE is read, spread over all of it. Prints
    the path of the page. Ends with exit code 1 if something that was read is damaged: the page is
    there and names it.
    """
    try:
        report = cs.view(file, out, labels=labels, samples=samples, seed=seed, overwrite=overwrite)
    except ExistingFileError as error:
        text = error.message.replace("overwrite=True", "--overwrite")
        raise ExistingFileError(text, error.path, errno=error.errno) from error
    if as_json:
        print_json(report.to_json())
    else:
        click.echo(report.path)
        advice = "" if report.path.lower().endswith(".png") else "; open it in a browser"
        click.echo(f"{format_nbytes(report.nbytes)}{advice}", err=True)
    if not report.ok:
        for damage in report.damage:
            click.echo(f"damaged: {damage.message}", err=True)
        sys.exit(EXIT_DEFECT)
