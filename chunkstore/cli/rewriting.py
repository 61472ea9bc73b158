"""Which commands write a file anew: with other codecs and chunks, or in another order?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

import chunkstore as cs
from chunkstore.cli.command import report_errors
from chunkstore.cli.printing import print_json
from chunkstore.format.blosc import MAX_TYPESIZE
from chunkstore.format.codecs import CODEC_NAMES, LEVELS
from chunkstore.store.spec import AUTO, SHUFFLES
from chunkstore.viewing.text import format_nbytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from chunkstore.rewriting.report import RewriteReport


def _storage_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that all of these have."""
    options = (
        click.option(
            "--codec", type=click.Choice((AUTO, *CODEC_NAMES)), help="By default that of FILE."
        ),
        click.option(
            "--level", type=click.IntRange(LEVELS[0], LEVELS[-1]), help="Of the codec: 0 to 9."
        ),
        click.option("--chunk-length", type=click.IntRange(min=1), help="Samples in a chunk."),
        click.option("--chunk-nbytes", type=click.IntRange(min=1), help="Or decoded bytes in one."),
        click.option("--threads", type=click.IntRange(min=1), help="That read and decode."),
        click.option(
            "--verify/--no-verify", default=True, help="Read OUT and compare; by default on."
        ),
        click.option("--no-resume", is_flag=True, help="Do not go on with an unfinished OUT."),
        click.option("--overwrite", is_flag=True, help="Replace OUT, or an unfinished one."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.command(
    epilog="Example: chunkstore recompress train.zarr.zip small.zarr.zip --codec zstd --level 9"
)
@click.argument("file", type=click.Path())
@click.argument("out", type=click.Path())
@click.option("--shuffle", type=click.Choice(SHUFFLES), help="Of bytes or bits, inside Blosc.")
@click.option("--typesize", type=click.IntRange(1, MAX_TYPESIZE), help="Bytes that it moves.")
@click.option("--array", "arrays", multiple=True, help="An array to take, by default all; again.")
@_storage_options
@report_errors
def recompress(
    *,
    file: str,
    out: str,
    shuffle: str | None,
    typesize: int | None,
    arrays: tuple[str, ...],
    no_resume: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Write FILE anew as OUT with other codecs or chunks, and check that all values are the same.

    What is not named stays as it is. FILE may be any zarr zip that chunkstore reads. After a kill
    the same command goes on where it was.
    """
    report = cs.recompress(
        file,
        out,
        shuffle=shuffle,
        typesize=typesize,
        arrays=arrays or None,
        resume=not no_resume,
        **options,
    )
    _print(report, as_json=as_json)


@click.command(
    epilog="Example: chunkstore shuffle train.zarr.zip mixed.zarr.zip --seed 1\n\n"
    "Example: chunkstore shuffle mixed.zarr.zip train.zarr.zip --undo"
)
@click.argument("file", type=click.Path())
@click.argument("out", type=click.Path())
@click.option("--seed", type=click.IntRange(min=0), help="Of the order, default 0.")
@click.option(
    "--memory", default="512MiB", show_default=True, help="What may be taken, such as 2GiB."
)
@click.option("--quick", is_flag=True, help="Mix in windows of chunks that fit in the memory.")
@click.option("--undo", is_flag=True, help="Bring a shuffled FILE into the order that it had.")
@click.option("--index", help="Array of the samples' numbers in FILE, default source_index.")
@click.option("--no-index", is_flag=True, help="Leave that array out.")
@_storage_options
@report_errors
def shuffle(
    *,
    file: str,
    out: str,
    seed: int | None,
    memory: str,
    quick: bool,
    undo: bool,
    index: str | None,
    no_index: bool,
    no_resume: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Write the samples of FILE in a random order into OUT, for good.

    Every order is equally likely. What does not fit in the memory takes its decoded size on the
    disk of OUT meanwhile. With --quick neighbours are mixed in windows only, in half the time.
    After a kill the same command goes on where it was.
    """
    options |= {"memory": memory, "resume": not no_resume}
    if undo:
        given = {"--seed": seed is not None, "--quick": quick, "--no-index": no_index}
        for name, is_given in given.items():
            if is_given:
                raise click.UsageError(f"{name} does not go with --undo")
        report = cs.unshuffle(file, out, index=index, **options)
    else:
        if index is not None and no_index:
            raise click.UsageError("--index does not go with --no-index")
        if index is not None:
            options["index"] = index
        elif no_index:
            options["index"] = None
        report = cs.shuffle(file, out, seed=seed or 0, quick=quick, **options)
    _print(report, as_json=as_json)


_DONE = {
    "recompress": "written anew",
    "copy": "copied: nothing was to change",
    "exact": "in random order",
    "quick": "mixed in windows",
    "undo": "in the order that they had",
}


def _print(report: RewriteReport, *, as_json: bool) -> None:
    if as_json:
        print_json(report.to_json())
        return
    for note in report.notes:
        click.echo(f"note: {note}", err=True)
    checked = ", compared with what was read" if report.is_verified else ""
    click.echo(
        f"{report.path}: {report.num_samples:,} samples {_DONE[report.method]}; "
        f"{format_nbytes(report.source_nbytes)} before, {format_nbytes(report.file_nbytes)} now"
        f"{checked}"
    )
