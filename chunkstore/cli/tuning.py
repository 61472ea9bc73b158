"""Which commands measure a person's data and files?"""

from __future__ import annotations

import contextlib
import importlib.util
import re
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import chunkstore as cs
from chunkstore.cli.command import report_errors
from chunkstore.cli.printing import print_json
from chunkstore.format.codecs import BLOSC_CODECS
from chunkstore.tuning.interrupts import heeded_interrupts
from chunkstore.tuning.paths import import_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chunkstore.tuning.report import Recommendation, TuneReport

_SIZE = re.compile(r"(\d+)x(\d+)")
# An hour; no sleep can last for ever.
_MOST_STEP_MS = 3_600_000


@click.command(epilog="Example: chunkstore tune train.zarr.zip --array x --plot codecs.png")
@click.argument("source", type=click.Path())
@click.option("--array", help="Which array of several; default: the one with most bytes.")
@click.option(
    "--seconds", type=float, default=30.0, show_default=True, help="Time that it may take."
)
@click.option("--plot", type=click.Path(dir_okay=False), help="Draw sizes and speeds to this PNG.")
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False),
    help="On the disk where the file shall lie; default: where SOURCE lies.",
)
@click.option(
    "--in-memory/--from-disk",
    "in_memory",
    default=None,
    help="Whether the file will stay in memory while training; default: if it fits there now.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Samples in a batch of the Loader whose speed is predicted.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="That encode, decode and read; default: the processors.",
)
@click.option("--size", help="Height and width of the images of a folder, such as 224x224.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the places that pieces are taken from.",
)
@report_errors
def tune(*, source: str, plot: str | None, size: str | None, as_json: bool, **options: Any) -> None:
    """Measure which codec suits SOURCE on this machine.

    SOURCE is a store, an npy, npz or HDF5 file, or a folder of bcolz, zarr, npy files or images.
    Pieces from all over it are encoded and decoded with every sensible codec, level and shuffle,
    and the disk is measured; nothing is kept. Says what to give `create` for the fastest training,
    the smallest file and the fastest write, and how fast a Loader will be.
    """
    _check_picture(plot)
    with heeded_interrupts(), _tidy_when_terminated():
        report = cs.tune(source, size=None if size is None else _parse_size(size), **options)
        if plot is not None:
            report.plot().savefig(Path(plot), format="png", dpi=120)
            click.echo(f"wrote {plot}", err=True)
        commands = _commands(source, report, array=options["array"], size=size)
        if as_json:
            print_json(report.to_json() | {"commands": commands})
        else:
            click.echo(str(report))
            click.echo("\nto have it, at the command line:")
            for goal, command in commands.items():
                click.echo(f"{goal.replace('_', ' ')}: {command}")


@click.command(epilog="Example: chunkstore bench train.zarr.zip --arrays x --arrays y")
@click.argument("file", type=click.Path())
@click.option(
    "--arrays",
    "--array",
    multiple=True,
    help="An array of a batch; repeat for several. Default: all.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Samples in a batch of the Loader that is measured.",
)
@click.option("--memory", default="512MiB", show_default=True, help="Budget of the Loader.")
@click.option(
    "--threads", type=click.IntRange(min=1), help="Of the Loader; default: as it chooses."
)
@click.option(
    "--seconds", type=float, default=20.0, show_default=True, help="Time that it may take."
)
@click.option(
    "--step-ms",
    type=click.FloatRange(min=0, max=_MOST_STEP_MS),
    default=0.0,
    help="What a step of training takes on another device: to wait so long with each batch.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the order of shuffled passes.",
)
@report_errors
def bench(
    *, file: str, arrays: tuple[str, ...], step_ms: float, as_json: bool, **options: Any
) -> None:
    """Measure how fast FILE loads: in order, shuffled, and past the page cache.

    Says what limits: the disk, decoding, copying, or the consumer.
    """
    with heeded_interrupts():
        report = cs.bench(file, arrays or None, step=_step(step_ms), **options)
        if as_json:
            print_json(report.to_json())
        else:
            click.echo(str(report))


@contextlib.contextmanager
def _tidy_when_terminated() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that scratch files are removed."""

    def end(number: int, frame: object) -> None:
        # What a shell says of a program that a signal ended.
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _commands(
    source: str, report: TuneReport, *, array: str | None, size: str | None
) -> dict[str, str]:
    """Return by goal the command that gives a file as recommended, written for a shell.

    A store is written anew. Other data are imported, with the shuffle for each array that makes
    its first chunk smallest; an array that was chosen comes alone, as others may be no samples.
    """
    kind = import_kind(source)
    head = ["chunkstore", *(["recompress"] if kind is None else ["import", kind]), source, "OUT"]
    if size is not None:
        head += ["--size", size]
    if array is not None and kind == "bcolz":
        head += ["--array", array]
    elif array is not None and (kind in ("hdf5", "zarr") or source.lower().endswith(".npz")):
        head.append(f"{array}={array}")
    return {
        item.goal: shlex.join([*head, *_options_of(item, has_shuffle=kind is None)])
        for item in report.recommendations
        if item.goal != "default"
    }


def _options_of(item: Recommendation, *, has_shuffle: bool) -> list[str]:
    """Return a recommendation as options of a command."""
    words = ["--codec", item.codec]
    if item.codec != "raw":
        words += ["--level", str(item.level)]
    if item.codec in BLOSC_CODECS:
        if has_shuffle:
            words += ["--shuffle", item.shuffle]
        if item.typesize is not None:
            words += ["--typesize", str(item.typesize)]
    return [*words, "--chunk-nbytes", str(item.chunk_nbytes)]


def _parse_size(text: str) -> tuple[int, int]:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise click.BadParameter(
            f"height and width, such as 224x224; got {text!r}", param_hint="--size"
        )
    return int(match[1]), int(match[2])


def _check_picture(path: str | None) -> None:
    """Raise for a picture that could not be drawn, before a minute is spent on measuring."""
    if path is None:
        return
    if not path.lower().endswith(".png"):
        raise click.BadParameter(f"a name that ends in .png, got {path!r}", param_hint="--plot")
    if not Path(path).absolute().parent.is_dir():
        raise click.BadParameter(f"there is no folder for {path!r}", param_hint="--plot")
    if importlib.util.find_spec("matplotlib") is None:
        raise click.BadParameter(
            "pictures need matplotlib: pip install 'chunkstore[plot]'", param_hint="--plot"
        )


def _step(milliseconds: float) -> Callable[[Any], None] | None:
    """Return what stands for a step on another device: the processors are free meanwhile."""
    if milliseconds == 0:
        return None
    return lambda batch: time.sleep(milliseconds / 1000)
