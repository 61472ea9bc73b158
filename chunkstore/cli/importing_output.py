"""What does the command line print of an import, and of one that was only planned?"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Protocol

import click

from chunkstore.cli.command import EXIT_DEFECT, in_command_words
from chunkstore.cli.importing_options import named_fractions
from chunkstore.cli.printing import print_json
from chunkstore.errors import ChunkStoreError
from chunkstore.upper import resolve
from chunkstore.viewing.text import format_nbytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from chunkstore.importing.run import ImportReport

_MAX_LINES = 20
# What looks like the name of a file, where a folder is wanted.
FILE_ENDING = ".zarr.zip"


class Plan(Protocol):
    """What an import would do, whatever the format."""

    @property
    def notes(self) -> Sequence[str]:
        """What was found that stops nothing."""

    @property
    def refused(self) -> Sequence[str]:
        """Why nothing would be imported."""

    @property
    def is_refused(self) -> bool:
        """Whether nothing would be imported."""

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""


def run_import(
    import_source: Callable[..., Any],
    plan_source: Callable[..., Any],
    lines_of: Callable[[Any], Iterable[str]],
    source: Any,
    out: str,
    options: dict[str, Any],
) -> None:
    """Call an importer, or what plans for it, and print.

    Parameters
    ----------
    import_source, plan_source
        Take the source, the new file and the options.
    lines_of
        Returns how a plan is shown.
    source, out
        Given to either.
    options
        As the command line has them.
    """
    as_json, dry_run = options.pop("as_json"), options.pop("dry_run")
    options["chunk_length"] = options.pop("chunk")
    if (split := options.pop("split")) is not None:
        options["split"] = named_fractions(split.split(","))
        if out.endswith(FILE_ENDING):
            raise ValueError(
                f"with --split OUT is the folder of the parts, got {out!r}, which looks like a file"
            )
    if dry_run:
        print_plan(planned(plan_source, source, out, **options), lines_of, as_json=as_json)
        return
    result = import_source(source, out, **options)
    if isinstance(result, dict):
        _print_parts(result, out, as_json=as_json)
    else:
        print_report(result, as_json=as_json)


def planned(plan_source: Callable[..., Plan], *places: Any, **options: Any) -> Plan:
    """Return a plan; what would be refused before there is one ends with the same exit code.

    Raises
    ------
    ChunkStoreError
        The source is there, and cannot be imported so.
    """
    try:
        return plan_source(*places, **options)
    except (KeyError, ValueError) as error:
        message = error.args[0] if isinstance(error, KeyError) and error.args else error
        raise ChunkStoreError(f"refused: {message}") from error


def print_plan(plan: Plan, lines_of: Callable[[Any], Iterable[str]], *, as_json: bool) -> None:
    """Print what would be done; the exit code is 1 where it would be refused."""
    if as_json:
        print_json(plan.to_json())
    else:
        for line in lines_of(plan):
            click.echo(line)
        for note in shown_lines(plan.notes):
            click.echo(f"note: {in_command_words(note)}")
        for reason in plan.refused:
            click.echo(f"refused: {in_command_words(reason)}")
    if plan.is_refused:
        sys.exit(EXIT_DEFECT)


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
            click.echo(f"note: {in_command_words(note)}")
        for what, count in report.counts.items():
            click.echo(f"{what}: {count:,}")
        click.echo(
            f"{report.path}: {report.num_samples:,} samples, {format_nbytes(report.nbytes)} in "
            f"{format_nbytes(report.file_nbytes)}, {report.seconds:.1f} s, "
            + ("verified" if report.is_verified else "not verified")
        )
    if report.lost:
        sys.exit(EXIT_DEFECT)


def _print_parts(reports: Mapping[str, ImportReport], out: str, *, as_json: bool) -> None:
    if as_json:
        parts = {name: report.to_json() for name, report in reports.items()}
        print_json({"path": out, "parts": parts})
        return
    for report in reports.values():
        print_report(report, as_json=False)


def shown_lines(entries: Sequence[object], *, num_more: int = 0) -> list[str]:
    """Return the first lines of a list, and how many more there are."""
    lines: list[str] = resolve("chunkstore.importing.losses", "listed")(
        entries, num_more=num_more, most=_MAX_LINES
    )
    return lines
