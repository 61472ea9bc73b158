"""How is a model run over a file from the command line?"""

from __future__ import annotations

import warnings
from typing import Any, Final

import click
import numpy as np

import chunkstore as cs
from chunkstore.cli.command import report_errors
from chunkstore.cli.printing import describe_store, format_shape, print_json
from chunkstore.upper import resolve
from chunkstore.viewing.text import format_nbytes

_BACKENDS: Final = ("jax", "torch", "tensorflow")


@click.command(
    epilog="Example: chunkstore predict model.keras train.zarr.zip out.zarr.zip --array x --keep y"
)
@click.argument("model", type=click.Path(exists=True, dir_okay=False))
@click.argument("file", type=click.Path())
@click.argument("out", type=click.Path())
@click.option(
    "--array",
    "--arrays",
    "arrays",
    multiple=True,
    help="An input of the model; repeat for several.",
)
@click.option(
    "--output", "outputs", multiple=True, help="Name of an output, or of a layer; repeatable."
)
@click.option("--keep", multiple=True, help="An array of FILE to copy along; repeatable.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Samples at a time, default 256.")
@click.option("--dtype", help="Type of the stored outputs, such as float16.")
@click.option("--codec", help="How OUT is compressed, such as zstd; default lz4.")
@click.option("--level", type=click.IntRange(0, 9), help="Of the codec, default 5.")
@click.option("--tag", help="Your name for the model, if what it computes cannot be seen.")
@click.option("--no-resume", is_flag=True, help="Do not go on with an unfinished OUT.")
@click.option("--overwrite", is_flag=True, help="Replace OUT, or an unfinished one of another run.")
@report_errors
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
    codec: str | None,
    level: int | None,
    tag: str | None,
    no_resume: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write the outputs of a Keras MODEL for the samples of FILE into OUT.

    A run that was killed goes on where it was when it is started again. The environment variable
    KERAS_BACKEND chooses what computes: jax, torch or tensorflow.
    """
    loaded = _load_model(model)
    _tell_new_names(loaded, outputs)
    cs.predict(
        loaded,
        file,
        out,
        arrays=arrays[0] if len(arrays) == 1 else arrays or None,
        batch_size=batch_size,
        outputs=outputs or None,
        dtype=_type_of(dtype),
        keep=keep,
        codec=codec,
        level=level,
        tag=tag,
        resume=not no_resume,
        overwrite=overwrite,
    )
    with cs.open(out) as store:
        facts = describe_store(store)
    if as_json:
        print_json(facts)
        return
    for array in facts["arrays"]:
        click.echo(f"{array['name']}: {format_shape(array['shape'])} {array['dtype']}")
    click.echo(f"{facts['path']}: {format_nbytes(facts['file_nbytes'])}")


def _load_model(path: str) -> Any:
    try:
        load = resolve("chunkstore.adapters.keras_models", "load_model")
    except ModuleNotFoundError as error:
        if error.name not in _BACKENDS:
            raise
        raise ModuleNotFoundError(
            f"Keras computes with {error.name}, which is not installed; set the environment "
            f"variable KERAS_BACKEND to another one: {', '.join(_BACKENDS)}"
        ) from error
    return load(path)


def _tell_new_names(model: Any, outputs: tuple[str, ...]) -> None:
    """Warn of names that no layer has: they are given to the model's own outputs."""
    layers = [layer.name for layer in getattr(model, "layers", ())]
    own = getattr(model, "output", None)
    known = {*layers, *(own if isinstance(own, dict) else ())}
    if layers and outputs and not known & set(outputs):
        warnings.warn(
            f"no layer is called {' or '.join(map(repr, outputs))}: that is what the model's own "
            f"output is called now; the layers are {', '.join(layers)}",
            cs.ChunkStoreWarning,
            stacklevel=2,
        )


def _type_of(name: str | None) -> np.dtype[Any] | None:
    try:
        return None if name is None else np.dtype(name)
    except TypeError:
        raise ValueError(f"--dtype: {name!r} is no type; one is float16") from None
