"""What do all commands have in common: their options, their errors, their exit codes?"""

from __future__ import annotations

import functools
import os
import re
import sys
import warnings
from typing import TYPE_CHECKING, Any, NoReturn

import click

import chunkstore as cs
from chunkstore.cli.interrupts import interrupts_arrive
from chunkstore.cli.printing import print_document, taken_result
from chunkstore.progress import progress_shown
from chunkstore.store.store import PARTIAL_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXIT_DEFECT = 1
EXIT_USAGE = 2
# What a shell says of a program that a signal ended: 128 and the number of SIGINT, SIGPIPE or
# SIGTERM.
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
EXIT_TERMINATED = 143

# What all seeds may be.
SEED = click.IntRange(0, 2**64 - 1)

# What the person asked for cannot be, whatever the file holds.
_USAGE_ERRORS = (FileNotFoundError, FileExistsError, IsADirectoryError, KeyError, ValueError)
# Errors whose text was written for the person who reads it.
_WORDED_ERRORS = (cs.ChunkStoreError, OSError, KeyError, ValueError, ImportError)
# A parameter of the library in a message: overwrite=True, animated='first', arrays=.
_PARAMETER = re.compile(
    r"\b(?P<name>[a-z_]+)=(?:True|'(?P<text>[\w-]+)'|\.{3})?(?![\w'\"\[({./<-])"
)
_WANTS_JSON = "chunkstore.cli.wants_json"


class Commands(click.Group):
    """A group whose wrong usage is a JSON document too, where one was asked for."""

    def main(self, args: Sequence[str] | None = None, *others: Any, **extra: Any) -> Any:
        """Run what the command line says; a full disk under help or a script is one line, too."""
        try:
            return super().main(args, *others, **extra)
        except OSError as error:
            # Commands tell their own errors; with --debug they come here.
            if "--debug" in (sys.argv if args is None else args):
                raise
            _end_full_output(error, is_told=False)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Note what is asked for, before an error can end the parsing."""
        ctx.meta.setdefault(_WANTS_JSON, "--json" in args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; click itself puts the words of an error on stderr."""
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            if ctx.parent is None and ctx.meta[_WANTS_JSON]:
                _tell_usage_error(error)
            raise


def report_errors(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of all commands; print errors as one line, results as JSON.

    The function is given ``as_json`` and hands its result to `printing.print_json`, which keeps it
    until the exit code is known.
    """

    @click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
    @click.option(
        "--progress/--no-progress",
        default=None,
        help="Show bars on stderr, or none; default: in a terminal.",
    )
    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @functools.wraps(function)
    def command(*, as_json: bool, progress: bool | None, debug: bool, **arguments: Any) -> None:
        run = functools.partial(function, as_json=as_json, **arguments)
        try:
            with interrupts_arrive(), progress_shown(progress):
                exit_code, document = _run(run, as_json=as_json, debug=debug)
            _finish_output(document, is_told=exit_code != 0)
        except BrokenPipeError:
            _end_broken_pipe()
        except KeyboardInterrupt:
            if sys.stderr.isatty():
                # The prompt comes below the bar, or what the terminal shows of the key.
                click.echo(err=True)
            sys.exit(EXIT_INTERRUPTED)
        if exit_code:
            sys.exit(exit_code)

    return command


def _run(
    run: Callable[[], None], *, as_json: bool, debug: bool
) -> tuple[int, Callable[[], None] | None]:
    """Run a command and print its errors; return the exit code and what prints its document."""
    told: list[str] = []

    def show_warning(message: Warning | str, *_: object, **__: object) -> None:
        told.append(str(message))
        click.echo(f"warning: {message}", err=True)

    exit_code, error = 0, None
    with warnings.catch_warnings():
        warnings.simplefilter("always", cs.ChunkStoreWarning)
        warnings.showwarning = show_warning
        try:
            run()
        except SystemExit as ended:
            exit_code = ended.code if isinstance(ended.code, int) else EXIT_DEFECT
        except (BrokenPipeError, click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        # Nothing is above this but the terminal.
        except Exception as caught:
            if debug:
                raise
            exit_code, error = _exit_code_of(caught), _described(caught)
            click.echo(f"error: {error['message']}", err=True)
    if not as_json:
        return exit_code, None
    head = {
        "command": _command_name(click.get_current_context()),
        "ok": exit_code == 0,
        "exit_code": exit_code,
    }
    return exit_code, functools.partial(
        print_document, head, taken_result(), warnings=told, error=error
    )


def _finish_output(document: Callable[[], None] | None, *, is_told: bool) -> None:
    """Print the document and what is still buffered, which must not fail as the interpreter ends.

    Parameters
    ----------
    document
        Prints it; None where words were printed.
    is_told
        Whether an error stands on stderr: a full disk ends a command that prints words itself.
    """
    try:
        if document is not None:
            document()
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _end_full_output(error, is_told=is_told and document is None)


def _exit_code_of(error: Exception) -> int:
    return EXIT_USAGE if isinstance(error, _USAGE_ERRORS) else EXIT_DEFECT


def _described(error: Exception) -> dict[str, Any]:
    """Return what a document says of an error; ``message`` is one line."""
    # A KeyError's own text is the repr of its message.
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    message = in_command_words(_in_one_line(str(text)))
    if isinstance(error, cs.CorruptionError) and "repair" not in message and _is_ours(error.path):
        message += "; `chunkstore repair` saves what is whole"
    # A lone key is no sentence: nobody meant it for the person who reads it.
    is_lone_key = isinstance(error, KeyError) and " " not in message
    if is_lone_key or not isinstance(error, _WORDED_ERRORS):
        message = f"{type(error).__name__}: {message} (--debug shows where)"
    described: dict[str, Any] = {"type": type(error).__name__, "message": message}
    for name in ("path", "key", "offset", "errno"):
        value = getattr(error, name, None)
        # Other libraries' errors may carry objects under these names.
        if isinstance(value, int | str):
            described[name] = value
    return described


def _in_one_line(text: str) -> str:
    """Return the lines of a message one behind the other; each item of a list has its own."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    joined = "".join(line + (" " if line[-1] in ".:;," else "; ") for line in lines)
    return joined.rstrip(" ").removesuffix(";")


def _is_ours(path: str | None) -> bool:
    return path is not None and path.removesuffix(PARTIAL_SUFFIX).endswith(".zip")


def in_command_words(message: str) -> str:
    """Return a message of the library with options in place of its parameters.

    ``overwrite=True`` becomes ``--overwrite``, ``animated='first'`` ``--animated first``, and
    ``arrays=`` the option of that name or, in imports, what stands behind OUT.
    """
    ctx = click.get_current_context()
    options = {p.name: p.opts[0] for p in ctx.command.params if isinstance(p, click.Option)}
    words = {p.name: p.make_metavar(ctx) for p in ctx.command.params}

    def in_words(match: re.Match[str]) -> str:
        name, value = match["name"], match["text"]
        option = options.get(name)
        if option is None and name == "arrays" and "NAME=" in words.get("arguments", ""):
            return words["arguments"].split()[-1].strip("[].") + " behind OUT"
        if option is None or option in message:
            return match[0]
        return option if value is None else f"{option} {value}"

    return _PARAMETER.sub(in_words, message)


def _tell_usage_error(error: click.ClickException) -> None:
    ctx = getattr(error, "ctx", None)
    print_document(
        {
            "command": "" if ctx is None else _command_name(ctx),
            "ok": False,
            "exit_code": error.exit_code,
        },
        {},
        warnings=[],
        error={"type": type(error).__name__, "message": error.format_message()},
    )


def _command_name(ctx: click.Context) -> str:
    """Return a command as it is called behind ``chunkstore``, such as ``"import hdf5"``."""
    names: list[str] = []
    while ctx.parent is not None:
        names.insert(0, ctx.info_name or "")
        ctx = ctx.parent
    return " ".join(names)


def _end_broken_pipe() -> NoReturn:
    """End quietly: whoever read the output has seen enough."""
    _drop_output()
    sys.exit(EXIT_BROKEN_PIPE)


def _end_full_output(error: OSError, *, is_told: bool) -> NoReturn:
    """End where the output cannot be written, with a line about it unless there is one."""
    if not is_told:
        click.echo(f"error: standard output: {error}", err=True)
    _drop_output()
    sys.exit(EXIT_DEFECT)


def _drop_output() -> None:
    """Let what is left of the output go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
