"""How does the command line parse, call the library and print?

Results go to standard output, words about the work to standard error. The exit code is 0 if all is
well, 1 if a file has a defect or the work failed, 2 if the command line asks for what cannot be.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

import click

import chunkstore as cs
from chunkstore.upper import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from chunkstore.store.report import Problem

EXIT_DEFECT = 1
EXIT_USAGE = 2

# What the person asked for cannot be, whatever the file holds.
_USAGE_ERRORS = (FileNotFoundError, FileExistsError, IsADirectoryError, ValueError)


def _print_warning(message: Warning | str, *_: object, **__: object) -> None:
    click.echo(f"warning: {message}", err=True)


def _report_errors(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of all commands, and print errors as one line."""

    @click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @functools.wraps(function)
    def command(*, debug: bool, **arguments: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always", cs.ChunkStoreWarning)
            warnings.showwarning = _print_warning
            try:
                function(**arguments)
            except BrokenPipeError:
                # Whoever read the output has seen enough; what is left of it goes nowhere.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                sys.exit(EXIT_DEFECT)
            except (cs.ChunkStoreError, OSError, ValueError) as error:
                if debug:
                    raise
                click.echo(f"error: {' '.join(str(error).split())}", err=True)
                sys.exit(EXIT_USAGE if isinstance(error, _USAGE_ERRORS) else EXIT_DEFECT)

    return command


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 all is well, 1 a defect was found, 2 wrong usage.",
)
@click.version_option(cs.__version__, prog_name="chunkstore")
def main() -> None:
    """Look at and maintain the compressed array files of chunkstore.

    Each command has an example: chunkstore COMMAND --help.
    """


@main.command(epilog="Example: chunkstore info train.zarr.zip")
@click.argument("file", type=click.Path())
@_report_errors
def info(*, file: str, as_json: bool) -> None:
    """Show the arrays of FILE: shapes, data types, codecs, sizes."""
    with cs.open(file) as store:
        facts = _describe_store(store)
    if as_json:
        _print_json(facts)
        return
    version = facts["format_version"]
    writer = "another writer's file" if version is None else f"format {version}"
    click.echo(f"{facts['path']}: {writer}, {facts['num_samples']:,} samples")
    click.echo(
        f"{format_nbytes(facts['file_nbytes'])} on disk, "
        f"{format_nbytes(facts['nbytes'])} decoded, "
        f"{format_nbytes(facts['dead_nbytes'])} dead"
        + (" (chunkstore compact frees them)" if facts["dead_nbytes"] else "")
    )
    rows = [
        (
            array["name"] or "(root)",
            _format_shape(array["shape"]),
            array["dtype"],
            _format_shape(array["chunk_shape"]),
            f"{array['num_chunks']:,}",
            array["codec"],
            format_nbytes(array["nbytes"]),
            format_nbytes(array["encoded_nbytes"]),
            "-" if array["ratio"] is None else f"{array['ratio']:.2f}",
        )
        for array in facts["arrays"]
    ]
    heading = ("array", "shape", "dtype", "chunk", "chunks", "codec", "decoded", "stored", "ratio")
    click.echo()
    for line in format_table(heading, rows):
        click.echo(line)
    if facts["attributes"]:
        click.echo("\nattributes: " + json.dumps(facts["attributes"]))


@main.command(epilog="Example: chunkstore verify train.zarr.zip")
@click.argument("file", type=click.Path())
@_report_errors
def verify(*, file: str, as_json: bool) -> None:
    """Check every entry of FILE.

    Headers, CRC-32, frames and metadata must be right, and no chunk may be missing. Ends with
    exit code 1 if anything is damaged, and says which samples are lost.
    """
    report = cs.verify(file)
    if as_json:
        _print_json(report.to_json())
    else:
        for problem in report.problems:
            click.echo(_format_problem(problem))
        _print_lost(report.lost_samples)
        count = len(report.problems)
        state = "all is well" if report.ok else f"{count} problem{'s' if count > 1 else ''}"
        click.echo(
            f"{report.path}: {report.num_entries:,} entries, "
            f"{format_nbytes(report.num_bytes)}: {state}"
        )
    if not report.ok:
        sys.exit(EXIT_DEFECT)


@main.command(epilog="Example: chunkstore repair train.zarr.zip")
@click.argument("file", type=click.Path())
@click.option(
    "--out",
    type=click.Path(),
    help="The new file; by default NAME.repaired.zarr.zip, or NAME of NAME.partial.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@_report_errors
def repair(*, file: str, out: str | None, overwrite: bool, as_json: bool) -> None:
    """Save what is left of FILE: every chunk that is complete survives.

    FILE is not changed, and goes only if it is a partial file of which nothing is lost. Ends with
    exit code 1 if samples are lost, and says which.
    """
    report = cs.repair(file, out, overwrite=overwrite)
    if as_json:
        _print_json(report.to_json())
    else:
        for message in report.messages:
            click.echo(message)
        for name in report.dropped_arrays:
            click.echo(f"{name}: dropped")
        _print_lost(report.lost)
        click.echo(f"{report.out}: {report.recovered_samples:,} of {report.num_samples:,} samples")
    if report.lost or report.dropped_arrays:
        sys.exit(EXIT_DEFECT)


@main.command(epilog="Example: chunkstore compact train.zarr.zip")
@click.argument("file", type=click.Path())
@click.option("--out", type=click.Path(), help="The new file; by default FILE itself is replaced.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@_report_errors
def compact(*, file: str, out: str | None, overwrite: bool, as_json: bool) -> None:
    """Free the dead bytes of FILE.

    Appends and replaced arrays leave entries and directories behind that nothing uses any more.
    Stored chunks are copied as they are.
    """
    report = cs.compact(file, out, overwrite=overwrite)
    if as_json:
        _print_json(report.to_json())
        return
    click.echo(
        f"{report.out}: {format_nbytes(report.nbytes_before)} before, "
        f"{format_nbytes(report.nbytes_after)} now"
    )


@main.command(
    epilog="Example: chunkstore predict model.keras train.zarr.zip out.zarr.zip --array x --keep y"
)
@click.argument("model", type=click.Path(exists=True, dir_okay=False))
@click.argument("file", type=click.Path())
@click.argument("out", type=click.Path())
@click.option("--array", "arrays", multiple=True, help="An input of the model; repeat for several.")
@click.option(
    "--output", "outputs", multiple=True, help="Name of an output, or of a layer; repeatable."
)
@click.option("--keep", multiple=True, help="An array of FILE to copy along; repeatable.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Samples at a time, default 256.")
@click.option("--dtype", help="Type of the stored outputs, such as float16.")
@click.option("--overwrite", is_flag=True, help="Replace OUT, or an unfinished one of another run.")
@_report_errors
def predict(
    *,
    model: str,
    file: str,
    out: str,
    arrays: tuple[str, ...],
    outputs: tuple[str, ...],
    keep: tuple[str, ...],
    batch_size: int | None,
    dtype: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write the outputs of a Keras MODEL for the samples of FILE into OUT.

    A run that was killed goes on where it was when it is started again. The environment variable
    KERAS_BACKEND chooses what computes: jax, torch or tensorflow.
    """
    loaded = resolve("chunkstore.adapters.keras", "load_model")(model)
    with cs.open(file) as store:
        cs.predict(
            loaded,
            store,
            out,
            arrays=arrays[0] if len(arrays) == 1 else arrays or None,
            batch_size=batch_size,
            outputs=outputs or None,
            dtype=dtype,
            keep=keep,
            overwrite=overwrite,
        )
    with cs.open(out) as store:
        facts = _describe_store(store)
    if as_json:
        _print_json(facts)
        return
    for array in facts["arrays"]:
        click.echo(f"{array['name']}: {_format_shape(array['shape'])} {array['dtype']}")
    click.echo(f"{facts['path']}: {format_nbytes(facts['file_nbytes'])}")


def _describe_store(store: cs.Store) -> dict[str, Any]:
    """Return what `info` prints, as JSON values."""
    arrays = [
        {
            "name": name,
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "chunk_shape": list(array.chunk_shape),
            "num_chunks": array.num_chunks,
            "codec": array.codec,
            "nbytes": array.nbytes,
            "encoded_nbytes": array.encoded_nbytes,
            "ratio": array.nbytes / array.encoded_nbytes if array.encoded_nbytes else None,
            "dimension_names": array.dimension_names and list(array.dimension_names),
            "attributes": dict(array.attributes),
        }
        for name, array in store.items()
    ]
    return {
        "path": str(store.path),
        "format_version": store.format_version,
        "num_samples": store.num_samples,
        "file_nbytes": store.file_nbytes,
        "dead_nbytes": store.dead_nbytes,
        "nbytes": sum(array.nbytes for array in store.values()),
        "attributes": dict(store.attributes),
        "arrays": arrays,
    }


def _print_json(value: dict[str, Any]) -> None:
    click.echo(json.dumps(value, indent=2))


def _print_lost(lost: dict[str, list[tuple[int, int]]]) -> None:
    for name, ranges in lost.items():
        if ranges:
            num_samples = sum(stop - start for start, stop in ranges)
            spans = ", ".join(f"[{start}, {stop})" for start, stop in ranges)
            click.echo(f"{name or '(root)'}: {num_samples:,} samples lost: {spans}")


def _format_problem(problem: Problem) -> str:
    where = []
    if problem.array is not None:
        where.append(f"array {problem.array!r}")
    if problem.samples is not None:
        where.append("samples [{}, {})".format(*problem.samples))
    if problem.key is not None:
        where.append(f"{problem.key!r}")
    if problem.offset is not None:
        where.append(f"at byte {problem.offset}")
    return ", ".join(where) + ": " * bool(where) + problem.message


def format_nbytes(nbytes: int) -> str:
    """Return a size for people.

    Examples
    --------
    >>> format_nbytes(999), format_nbytes(1536), format_nbytes(5 << 30)
    ('999 B', '1.5 KiB', '5.0 GiB')
    """
    if nbytes < 1024:
        return f"{nbytes} B"
    size = float(nbytes)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} PiB"


def _format_shape(shape: Sequence[int]) -> str:
    return "x".join(str(length) for length in shape) or "scalar"


def format_table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table, each column as wide as its widest cell.

    Examples
    --------
    >>> format_table(("array", "chunks"), [("x", "12"), ("labels", "1")])
    ['array   chunks', 'x       12', 'labels  1']
    """
    table = [tuple(heading), *(tuple(row) for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
