"""Which options do the commands that import have in common, and what do their texts mean?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from chunkstore.cli.command import SEED
from chunkstore.format.blosc import MAX_TYPESIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


_HEIGHT_WIDTH = re.compile(r"([0-9]+)[xX]([0-9]+)")


class Size(click.ParamType[tuple[int, int]]):
    """HEIGHTxWIDTH, or one number for both."""

    name = "HxW"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Return height and width."""
        if isinstance(value, tuple):
            return value
        found = _HEIGHT_WIDTH.fullmatch(value if "x" in value.lower() else f"{value}x{value}")
        if found:
            return int(found[1]), int(found[2])
        return self.fail(f"it is written HEIGHTxWIDTH, such as 224x224, got {value!r}", param, ctx)


size_options = (
    click.option("--size", type=Size(), help="Height and width of all samples."),
    click.option(
        "--fit",
        type=click.Choice(["stretch", "pad", "crop"]),
        default="stretch",
        show_default=True,
        help="How other proportions come to --size.",
    ),
    click.option(
        "--resample",
        type=click.Choice(["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]),
        default="bilinear",
        show_default=True,
        help="The filter that resizes.",
    ),
)


def storage_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that all imports have."""
    return with_options(
        command,
        click.option("--overwrite", is_flag=True, help="Replace an existing file."),
        click.option(
            "--resume/--no-resume",
            default=True,
            show_default=True,
            help="Go on with an import of the same that was killed, or begin anew.",
        ),
        click.option(
            "--verify/--no-verify",
            default=True,
            show_default=True,
            help="Read the new file and compare it before it gets its name.",
        ),
        click.option("--threads", type=click.IntRange(min=1), help="Default: all processors."),
        click.option(
            "--chunk", "--chunk-length", type=click.IntRange(min=1), help="Samples in a chunk."
        ),
        click.option(
            "--chunk-nbytes",
            type=click.IntRange(min=1),
            help="Or decoded bytes in one, default 1048576.",
        ),
        click.option("--level", type=click.IntRange(0, 9), help="0 to 9, default 1."),
        click.option(
            "--typesize",
            type=click.IntRange(1, MAX_TYPESIZE),
            help="Bytes that Blosc's shuffle moves, such as 3 for RGB; default: of the type.",
        ),
        click.option("--codec", help="zstd (default), lz4, lz4hc, blosclz, zlib, gzip, raw, auto."),
    )


def order_options(
    *, shuffle: bool | None, stratify: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what gives a command the options of imports that can mix and divide samples.

    Parameters
    ----------
    shuffle
        Whether samples are mixed where nobody says; None where that follows from the source.
    stratify
        The option that says by which classes parts are divided.
    """

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        return with_options(
            command,
            click.option(
                "--shuffle/--no-shuffle",
                default=shuffle,
                show_default=shuffle is not None,
                help="Put samples into a random order for good.",
            ),
            click.option(
                "--seed",
                type=SEED,
                default=0,
                show_default=True,
                help="Of the order and of the parts.",
            ),
            click.option(
                "--split",
                metavar="NAME=F,...",
                help="One file for each part, such as train=.8,val=.1,test=.1; OUT is a folder "
                "then.",
            ),
            stratify,
            click.option(
                "--dry-run",
                is_flag=True,
                help="Only say what is there and what would be done or refused.",
            ),
        )

    return add


on_error_option = click.option(
    "--on-error",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    show_default=True,
    help="A file that cannot be read ends the import, or is left out and listed.",
)


def with_options(
    command: Callable[..., Any], *options: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Callable[..., Any]:
    """Give a command options, which its help lists in this order."""
    for option in reversed(options):
        command = option(command)
    return command


def named_pairs(texts: Sequence[str], what: str) -> dict[str, str]:
    """Return NAME=VALUE texts as a dict; a name given twice would drop one of them.

    Parameters
    ----------
    texts
        As they were typed.
    what
        They are, for errors.

    Raises
    ------
    ValueError
        A text is no pair, or a name comes twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise ValueError(f"{what} is written NAME=VALUE, got {text!r}")
        if name in pairs:
            raise ValueError(f"{what} names {name!r} twice: {pairs[name]!r} and {value!r}")
        pairs[name] = value
    return pairs


def named_fractions(texts: Sequence[str]) -> dict[str, float]:
    """Return the parts of a split by name.

    Raises
    ------
    ValueError
        A text is no NAME=FRACTION, or a name comes twice.

    Examples
    --------
    >>> named_fractions(["train=.8", "val=.2"])
    {'train': 0.8, 'val': 0.2}
    """
    fractions: dict[str, float] = {}
    for text in texts:
        name, equals, number = text.strip().partition("=")
        if not (name and equals):
            raise ValueError(f"a part is NAME=FRACTION such as train=.8, got {text!r}")
        if name in fractions:
            raise ValueError(f"part {name!r} is given twice")
        try:
            fractions[name] = float(number)
        except ValueError:
            raise ValueError(f"the fraction of {name!r} must be a number, got {text!r}") from None
    return fractions
