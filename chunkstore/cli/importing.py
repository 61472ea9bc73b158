"""How are foreign data brought over from the command line?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import chunkstore as cs
from chunkstore.cli.command import report_errors
from chunkstore.cli.importing_options import named_pairs, storage_options
from chunkstore.cli.importing_output import planned, print_plan, print_report, shown_lines
from chunkstore.cli.printing import format_shape, format_table
from chunkstore.upper import resolve
from chunkstore.viewing.text import format_nbytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chunkstore.importers.bcolz.importing import ImportPlan
    from chunkstore.importers.bcolz.report import BcolzReport


@click.group("import")
def import_group() -> None:
    """Bring data of other formats into one file."""


@import_group.command(
    epilog="Examples: chunkstore import bcolz trn.bc train.zarr.zip; "
    "chunkstore import bcolz x=images.bc y=labels.bc train.zarr.zip --codec lz4 --level 5"
)
@click.argument("sources", type=click.Path(), nargs=-1, required=True)
@click.argument("out", type=click.Path())
@storage_options
@click.option(
    "--array", "--arrays", "arrays", multiple=True, help="Only this array or table; repeatable."
)
@click.option("--rename", multiple=True, metavar="OLD=NEW", help="Another name; repeatable.")
@click.option("--allow-pickle", is_flag=True, help="Read plain values of arrays of objects.")
@click.option("--recover-unflushed", is_flag=True, help="Read samples that were never flushed.")
@click.option("--salvage", is_flag=True, help="Write what can be read of a damaged source.")
@click.option("--dry-run", is_flag=True, help="Only say what is there and what would be refused.")
@report_errors
def bcolz(
    *,
    sources: tuple[str, ...],
    out: str,
    arrays: tuple[str, ...],
    rename: tuple[str, ...],
    chunk: int | None,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Bring SOURCES, folders or archives that bcolz wrote, into the file OUT.

    A source is a carray, a ctable, a tree of such, or a tar, tar.gz or zip of one; or NAME=SOURCE,
    for several carrays in one file. bcolz is not needed. Every chunk is checked before the first
    sample is written, and the new file is compared with what was read. The exit code is 1 if
    something of the source is lost, or, with --dry-run, if something would be refused.
    """
    arguments: dict[str, Any] = {
        "source": _places(sources),
        "out": out,
        "arrays": arrays or None,
        "rename": named_pairs(rename, "--rename"),
        "chunk_length": chunk,
        **options,
    }
    if dry_run:
        plan_import = resolve("chunkstore.importers.bcolz.importing", "plan_import")
        print_plan(planned(plan_import, **arguments), _lines_of, as_json=as_json)
    else:
        print_report(cs.import_bcolz(**arguments), as_json=as_json)


def _places(sources: tuple[str, ...]) -> Any:
    """Return the only source, or sources by name."""
    if len(sources) == 1 and ("=" not in sources[0] or Path(sources[0]).exists()):
        return sources[0]
    return named_pairs(sources, "a source beside others")


def _lines_of(plan: ImportPlan) -> Iterator[str]:
    """Yield how a plan is shown."""
    for name, report in plan.reports.items():
        yield from _source_lines(report, plan.names[name])
    for lost in shown_lines(plan.lost):
        yield f"lost: {lost}"


def _source_lines(report: BcolzReport, names: dict[str, str]) -> Iterator[str]:
    rows = [
        (
            array.name or "(root)",
            names.get(array.name, "-"),
            format_shape(array.shape),
            array.dtype,
            f"{array.num_chunks:,}",
            ", ".join(f"{method} ({count:,})" for method, count in array.methods.items()) or "-",
            format_nbytes(array.encoded_nbytes),
        )
        for array in report.arrays
    ]
    yield report.path
    heading = ("array", "new name", "shape", "dtype", "chunks", "codecs", "stored")
    for line in format_table(heading, rows):
        yield f"  {line}"
