"""How does the command line parse, call the library and print?

Results go to standard output, words about the work to standard error. The exit code is 0 if all is
well, 1 if a file has a defect or the work failed, 2 if the command line asks for what cannot be,
130 after Ctrl-C, 141 if whoever read the output went away, 143 where SIGTERM ended it.
"""

from __future__ import annotations

import click

import chunkstore as cs
from chunkstore.cli import importing_arrays as _  # noqa: F401 - its commands join the group
from chunkstore.cli.command import Commands
from chunkstore.cli.completion import completion
from chunkstore.cli.exporting import export, split
from chunkstore.cli.importing import import_group
from chunkstore.cli.importing_images import csv, images
from chunkstore.cli.maintaining import compact, info, merge, repair, verify
from chunkstore.cli.predicting import predict
from chunkstore.cli.rewriting import recompress, shuffle
from chunkstore.cli.tuning import bench, tune
from chunkstore.cli.viewing import view

__all__ = ["main"]


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 all is well, 1 a defect was found or the work failed, 2 wrong usage, "
    "130 Ctrl-C, 141 nobody reads the output any more, 143 ended by SIGTERM.",
)
@click.version_option(cs.__version__, prog_name="chunkstore")
def main() -> None:
    """Look at and maintain the compressed array files of chunkstore.

    Each command has an example: chunkstore COMMAND --help.
    """


for _command in (info, verify, repair, compact, merge, split, export, predict, import_group):
    main.add_command(_command)
for _command in (recompress, shuffle):
    main.add_command(_command)
main.add_command(completion)
for _command in (tune, bench):
    main.add_command(_command)
main.add_command(view)
for _command in (images, csv):
    import_group.add_command(_command)
