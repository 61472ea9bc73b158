"""Which commands look at a file and keep it in order?"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import chunkstore as cs
from chunkstore.cli.command import EXIT_DEFECT, SEED, report_errors
from chunkstore.cli.printing import describe_store, format_shape, format_table, print_json
from chunkstore.cli.statistics import print_survey
from chunkstore.viewing.text import format_nbytes

if TYPE_CHECKING:
    from chunkstore.store.report import Problem

# From here on dead bytes are worth a word: both must be reached.
_LEAST_DEAD_NBYTES = 64 << 10
_LEAST_DEAD_SHARE = 0.01
# Of one attribute.
_MOST_CHARACTERS = 200


@click.command(
    epilog="Example: chunkstore info train.zarr.zip\n\n"
    "Example: chunkstore info train.zarr.zip --stats --all"
)
@click.argument("file", type=click.Path())
@click.option("--stats", "has_stats", is_flag=True, help="Also values: ranges, NaN, classes.")
@click.option(
    "--all", "is_whole", is_flag=True, help="With --stats: read every sample, not 64 MiB an array."
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Which chunks --stats reads.")
@report_errors
def info(*, file: str, has_stats: bool, is_whole: bool, seed: int, as_json: bool) -> None:
    """Show the arrays of FILE: shapes, data types, codecs, sizes.

    With --stats, part of FILE is read, spread over all of it. Ends with exit code 1 if something
    that was read is damaged.
    """
    if is_whole and not has_stats:
        raise ValueError("--all goes with --stats")
    found = None
    with cs.open(file) as store:
        facts = describe_store(store)
        if has_stats:
            # Not before: it takes the loader along, which other commands need not wait for.
            from chunkstore.viewing.surveying import survey

            found = survey(store, is_whole=is_whole, seed=seed)
    if found is not None:
        for array in facts["arrays"]:
            array["stats"] = found.arrays[array["name"]].to_json()
        facts["damage"] = [damage.to_json() for damage in found.damage]
        facts["notes"] = list(found.notes)
    if as_json:
        print_json(facts)
    else:
        _print_facts(facts)
        if found is not None:
            click.echo()
            print_survey(found)
    if found is not None and found.damage:
        sys.exit(EXIT_DEFECT)


def _print_facts(facts: dict[str, Any]) -> None:
    version = facts["format_version"]
    writer = "another writer's file" if version is None else f"format {version}"
    click.echo(f"{facts['path']}: {writer}, {facts['num_samples']:,} samples")
    click.echo(
        f"{format_nbytes(facts['file_nbytes'])} on disk, "
        f"{format_nbytes(facts['nbytes'])} decoded"
        + _dead_words(facts["dead_nbytes"], facts["file_nbytes"])
    )
    rows = [
        (
            array["name"] or "(root)",
            format_shape(array["shape"]),
            array["dtype"],
            format_shape(array["chunk_shape"]),
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
        click.echo("\nattributes:")
        for name, value in facts["attributes"].items():
            click.echo(f"  {name}: {_attribute_words(name, value)}")


def _dead_words(dead_nbytes: int, file_nbytes: int) -> str:
    """Return what is said of bytes that nothing uses; every checkpoint leaves a few behind."""
    if dead_nbytes < _LEAST_DEAD_NBYTES or dead_nbytes < _LEAST_DEAD_SHARE * file_nbytes:
        return ""
    return f", {format_nbytes(dead_nbytes)} not used any more (chunkstore compact frees them)"


def _attribute_words(name: str, value: Any) -> str:
    """Return an attribute on one line: where a file came from in short, others cut where long."""
    if name == "import" and isinstance(value, dict) and "kind" in value:
        words = str(value["kind"])
        if "source" in value:
            words += f" of {json.dumps(value['source'])}"
        if "tool" in value:
            words += f" by {value['tool']}"
        return _cut(words) + " (--json shows all)"
    text = json.dumps(value)
    return text if len(text) <= _MOST_CHARACTERS else _cut(text) + " (--json shows all)"


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "..."


@click.command(epilog="Example: chunkstore verify train.zarr.zip")
@click.argument("file", type=click.Path())
@report_errors
def verify(*, file: str, as_json: bool) -> None:
    """Check every entry of FILE.

    Headers, CRC-32, frames and metadata must be right, and no chunk may be missing. Ends with
    exit code 1 if anything is damaged, and says which samples are lost; also if bytes lie behind
    the last checkpoint, as an interrupted append and a copy that was cut short leave them.
    """
    report = cs.verify(file)
    if as_json:
        print_json(report.to_json())
    else:
        for problem in report.problems:
            click.echo(_format_problem(problem))
        _print_lost(report.lost_samples)
        count = len(report.problems)
        state = "all is well" if report.ok else f"{count} problem{'s' if count > 1 else ''}"
        if report.torn_nbytes:
            click.echo(
                f"{report.torn_nbytes:,} bytes behind the last checkpoint were not checked: an "
                "append was interrupted or is still running, or the file was cut short"
            )
            state = "all is well before them" if report.ok else state
        click.echo(
            f"{report.path}: {report.num_entries:,} entries, "
            f"{format_nbytes(report.num_bytes)}: {state}"
        )
    if not report.ok or report.torn_nbytes:
        sys.exit(EXIT_DEFECT)


@click.command(
    epilog="Example: chunkstore repair train.zarr.zip\n\n"
    "Example: chunkstore repair train.zarr.zip --out images.zarr.zip --array x"
)
@click.argument("file", type=click.Path())
@click.option(
    "--out",
    type=click.Path(),
    help="The new file; by default NAME.repaired.zarr.zip, or NAME of NAME.partial.",
)
@click.option("--array", "arrays", multiple=True, help="Save this array alone; may be repeated.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@report_errors
def repair(
    *, file: str, out: str | None, arrays: tuple[str, ...], overwrite: bool, as_json: bool
) -> None:
    """Save what is left of FILE: every chunk that is complete survives.

    FILE is not changed, and goes only if it is a partial file of which all is saved. Ends with exit
    code 1 if samples are lost, and says which, or if an array alone has more of them.
    """
    report = cs.repair(file, out, arrays=arrays or None, overwrite=overwrite)
    if as_json:
        print_json(report.to_json())
    else:
        for message in report.messages:
            click.echo(message)
        for name in report.dropped_arrays:
            click.echo(f"{name}: dropped")
        _print_lost(report.lost)
        click.echo(f"{report.out}: {report.recovered_samples:,} of {report.num_samples:,} samples")
    if report.lost or report.dropped_arrays or report.alone:
        sys.exit(EXIT_DEFECT)


@click.command(epilog="Example: chunkstore compact train.zarr.zip")
@click.argument("file", type=click.Path())
@click.option("--out", type=click.Path(), help="The new file; by default FILE itself is replaced.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@click.option(
    "--verify/--no-verify",
    default=True,
    show_default=True,
    help="Read the new file before it gets its name.",
)
@report_errors
def compact(*, file: str, out: str | None, overwrite: bool, verify: bool, as_json: bool) -> None:
    """Free the dead bytes of FILE.

    Appends and replaced arrays leave entries and directories behind that nothing uses any more.
    Stored chunks are copied as they are. Without --out, a FILE with bytes behind its last
    checkpoint is refused: they may be all that is left of samples.
    """
    report = cs.compact(file, out, overwrite=overwrite, verify=verify)
    if as_json:
        print_json(report.to_json())
        return
    click.echo(
        f"{report.out}: {format_nbytes(report.nbytes_before)} before, "
        f"{format_nbytes(report.nbytes_after)} now"
    )


@click.command(epilog="Example: chunkstore merge all.zarr.zip part-0.zarr.zip part-1.zarr.zip")
@click.argument("out", type=click.Path())
@click.argument("parts", type=click.Path(), nargs=-1, required=True)
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@report_errors
def merge(*, out: str, parts: tuple[str, ...], overwrite: bool, as_json: bool) -> None:
    """Join PARTS, one behind the other, into the new file OUT, which is named first.

    Stored chunks are copied as they are where every part but the last holds whole chunks.
    """
    if Path(out).is_file() and not Path(parts[-1]).exists():
        raise ValueError(
            f"the new file comes first, merge OUT PARTS...: got the file {out!r} as OUT, and "
            f"{parts[-1]!r} as a part, which is not there"
        )
    report = cs.merge(parts, out, overwrite=overwrite)
    if as_json:
        print_json(report.to_json())
        return
    click.echo(
        f"{report.out}: {report.num_samples:,} samples of {len(report.parts)} files; "
        f"{report.copied_chunks:,} chunks copied, {report.encoded_chunks:,} encoded again"
    )


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
