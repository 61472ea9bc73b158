"""How are foreign data brought over from the command line?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import chunkstore as cs
from chunkstore.cli.command import EXIT_DEFECT, report_errors
from chunkstore.cli.printing import format_nbytes, format_shape, format_table, print_json
from chunkstore.upper import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chunkstore.importers.bcolz.importing import ImportPlan
    from chunkstore.importers.bcolz.report import BcolzReport
    from chunkstore.importing.run import ImportReport

_MAX_LINES = 20


@click.group("import")
def import_group() -> None:
    """Bring data of other formats into one file."""


def storage_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that all imports have."""
    for option in (
        click.option("--codec", help="zstd (default), lz4, lz4hc, blosclz, zlib, gzip or raw."),
        click.option("--level", type=click.IntRange(0, 9), help="0 to 9, default 1."),
        click.option("--chunk", type=click.IntRange(min=1), help="Samples in a chunk."),
        click.option("--threads", type=click.IntRange(min=1), help="Default: all processors."),
        click.option(
            "--verify/--no-verify",
            default=True,
            show_default=True,
            help="Read the new file and compare it before it gets its name.",
        ),
        click.option(
            "--resume/--no-resume",
            default=True,
            show_default=True,
            help="Go on with an import of the same that was killed, or begin anew.",
        ),
        click.option("--overwrite", is_flag=True, help="Replace an existing file."),
    ):
        command = option(command)
    return command


@import_group.command(
    epilog="Examples: chunkstore import bcolz trn.bc train.zarr.zip; "
    "chunkstore import bcolz x=images.bc y=labels.bc train.zarr.zip --codec lz4 --level 5"
)
@click.argument("sources", type=click.Path(), nargs=-1, required=True)
@click.argument("out", type=click.Path())
@storage_options
@click.option("--array", "arrays", multiple=True, help="Only this array or table; repeatable.")
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
        _print_plan(plan_import(**arguments), as_json=as_json)
    else:
        print_report(cs.import_bcolz(**arguments), as_json=as_json)


def _places(sources: tuple[str, ...]) -> Any:
    """Return the only source, or sources by name."""
    if len(sources) == 1 and ("=" not in sources[0] or Path(sources[0]).exists()):
        return sources[0]
    return named_pairs(sources, "a source beside others")


def named_pairs(texts: tuple[str, ...], what: str) -> dict[str, str]:
    """Return NAME=VALUE texts as a dict; a name given twice would drop one of them."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, value = _pair(text, what)
        if name in pairs:
            raise ValueError(f"{what} names {name!r} twice: {pairs[name]!r} and {value!r}")
        pairs[name] = value
    return pairs


def _pair(text: str, what: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise ValueError(f"{what} is written NAME=VALUE, got {text!r}")
    return name, value


def _print_plan(plan: ImportPlan, *, as_json: bool) -> None:
    if as_json:
        print_json(plan.to_json())
    else:
        for name, report in plan.reports.items():
            _print_source(report, plan.names[name])
        for lost in shown_lines(plan.lost):
            click.echo(f"lost: {lost}")
        for reason in plan.refused:
            click.echo(f"refused: {reason}")
        for note in shown_lines(plan.notes):
            click.echo(f"note: {note}")
    if plan.refused:
        sys.exit(EXIT_DEFECT)


def _print_source(report: BcolzReport, names: dict[str, str]) -> None:
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
    click.echo(report.path)
    heading = ("array", "new name", "shape", "dtype", "chunks", "codecs", "stored")
    for line in format_table(heading, rows):
        click.echo(f"  {line}")


def shown_lines(entries: Sequence[object], *, num_more: int = 0) -> list[str]:
    """Return the first lines of a list, and how many more there are."""
    lines: list[str] = resolve("chunkstore.importing.losses", "listed")(
        entries, num_more=num_more, most=_MAX_LINES
    )
    return lines


def print_report(report: ImportReport, *, as_json: bool) -> None:
    """Print what an import did; the exit code is 1 where something is lost."""
    if as_json:
        print_json(report.to_json())
    else:
        for lost in shown_lines(report.lost, num_more=report.num_more_lost):
            click.echo(f"lost: {lost}")
        for entry in report.skipped:
            click.echo(f"skipped: {entry.name}: {entry.reason}")
        if report.num_more_skipped:
            click.echo(f"skipped: {report.num_more_skipped:,} more")
        for note in shown_lines(report.notes):
            click.echo(f"note: {note}")
        for what, count in report.counts.items():
            click.echo(f"{what}: {count:,}")
        click.echo(
            f"{report.path}: {report.num_samples:,} samples, {format_nbytes(report.nbytes)} in "
            f"{format_nbytes(report.file_nbytes)}, {report.seconds:.1f} s, "
            + ("verified" if report.is_verified else "not verified")
        )
    if report.lost:
        sys.exit(EXIT_DEFECT)
