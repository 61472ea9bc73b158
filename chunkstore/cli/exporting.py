"""Which commands bring samples out of a file, or into parts?"""

from __future__ import annotations

import os
from typing import Any, get_args

import click

import chunkstore as cs
from chunkstore.cli.command import SEED, report_errors
from chunkstore.cli.importing_options import named_fractions
from chunkstore.cli.importing_output import FILE_ENDING
from chunkstore.cli.printing import print_json
from chunkstore.exporting.parts import write_parts
from chunkstore.exporting.run import Format


@click.command(
    epilog="Example: chunkstore export train.zarr.zip train.h5\n\n"
    "Example: chunkstore export train.zarr.zip pictures --format images --array x"
)
@click.argument("file", type=click.Path())
@click.argument("out", type=click.Path())
@click.option(
    "--format",
    "kind",
    type=click.Choice(get_args(Format)),
    help="By default as the suffix of OUT says.",
)
@click.option(
    "--array", "--arrays", "arrays", multiple=True, help="An array to export; again for more."
)
@click.option("--compression", help="Of hdf5 lzf, gzip or none; of parquet zstd, snappy, gzip, ...")
@click.option("--overwrite", is_flag=True, help="Replace an existing OUT.")
@report_errors
def export(
    *,
    file: str,
    out: str,
    kind: Any,
    arrays: tuple[str, ...],
    compression: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write the arrays of FILE as npy, npz, HDF5, zarr, parquet, arrow or a folder of images."""
    with cs.open(file) as store:
        names = list(arrays or store)
        cs.export(
            store,
            out,
            format=kind,
            arrays=arrays or None,
            compression=compression,
            overwrite=overwrite,
        )
    if as_json:
        print_json({"path": out, "arrays": names})
    else:
        click.echo(f"{out}: {', '.join(names)}")


@click.command(
    epilog="Example: chunkstore split all.zarr.zip parts train=.8 val=.1 test=.1 --stratify y"
)
@click.argument("file", type=click.Path())
@click.argument("out", type=click.Path())
@click.argument("parts", nargs=-1, required=True, metavar="NAME=FRACTION...")
@click.option("--stratify", help="Array of classes: every class is divided in the same ratio.")
@click.option("--group", "groups", help="Array of groups: the samples of one stay together.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the division.")
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@report_errors
def split(
    *,
    file: str,
    out: str,
    parts: tuple[str, ...],
    stratify: str | None,
    groups: str | None,
    seed: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Divide the samples of FILE between files OUT/NAME.zarr.zip.

    Which part a sample goes to follows from its number and the seed. The parts keep the order,
    chunks and codecs of FILE.
    """
    if out.endswith(FILE_ENDING):
        raise ValueError(f"OUT is the folder of the parts, got {out!r}, which looks like a file")
    with cs.open(file) as store:
        written = write_parts(
            store,
            out,
            named_fractions(parts),
            seed=seed,
            stratify=stratify,
            groups=groups,
            overwrite=overwrite,
        )
    if as_json:
        print_json(
            {
                "path": out,
                "parts": {
                    name: {"path": str(path), "num_samples": n}
                    for name, (path, n) in written.items()
                },
            }
        )
        return
    for path, num_samples in written.values():
        click.echo(f"{os.fspath(path)}: {num_samples:,} samples")
