"""Which unfinished file may a prediction go on with, and where does it make checkpoints?

A checkpoint stands at a batch's end that follows from the sizes alone, and a resumed run goes on
from one: so its file equals that of a run that nothing interrupted, byte for byte.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore import settings
from chunkstore.container.checksum import crc32
from chunkstore.errors import (
    ChunkStoreWarning,
    ExistingFileError,
    FormatError,
    IncompleteError,
)
from chunkstore.pipeline.fitting import known_array
from chunkstore.store.creating import append, create
from chunkstore.store.replay import Entry, iter_events
from chunkstore.store.spec import ArraySpec
from chunkstore.store.store import PARTIAL_SUFFIX, open_store
from chunkstore.system import ReadFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from chunkstore.store.writer import Writer

# The attribute of a file that says what was predicted, from what, by which model.
STATE = "predict"
# In it: samples with NaN by output, up to a checkpoint.
_NAN_COUNTS = "nan_samples"
_ROOT = b"zarr.json"
# A killed run loses about a twentieth of the work.
_NUM_CHECKPOINTS = 20
# Or so many batches of a small one: a checkpoint waits for the device.
_LEAST_BATCHES = 16
_DIGEST_BLOCK_NBYTES = 1 << 20


def source_digest(arrays: Mapping[str, Any], names: Iterable[str]) -> str:
    """Return a digest of the data that a model gets.

    Parameters
    ----------
    arrays
        Arrays of stores, whose chunks' checksums are taken, or numpy arrays, which are read whole
        for theirs.
    names
        Those that are used.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name in names:
        array = arrays.get(name)
        if array is not None:
            array = known_array(name, array)
        if isinstance(array, np.ndarray):
            digest.update(f"{name} {array.shape} {array.dtype.str} ".encode())
            raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
            # Checksums, as of stored chunks: a digest of all bytes would take longer than a model.
            for start in range(0, len(raw), _DIGEST_BLOCK_NBYTES):
                checksum = crc32(raw[start : start + _DIGEST_BLOCK_NBYTES])
                digest.update(checksum.to_bytes(4, "little"))
        elif array is not None:
            digest.update(f"{name} {array.fingerprint} ".encode())
    return digest.hexdigest()


def declare_outputs(
    writer: Writer, arrays: Mapping[str, NDArray[Any]], *, num_samples: int, batch_size: int
) -> None:
    """Fix the arrays of a new file so that batches and chunks end together where they can.

    Parameters
    ----------
    writer
        Of a new file.
    arrays
        The first batch.
    num_samples, batch_size
        Of the whole run.
    """
    specs = {name: ArraySpec(array.dtype, array.shape[1:]) for name, array in arrays.items()}
    widest = max(specs, key=lambda name: specs[name].sample_nbytes)
    nbytes = max(1, specs[widest].sample_nbytes)
    # Not fewer chunks than checkpoints, or each would leave a short chunk behind as dead bytes.
    share = max(num_samples // _NUM_CHECKPOINTS, _LEAST_BATCHES * batch_size)
    share = max(share * nbytes, settings.LEAST_CHUNK_NBYTES)
    length = max(1, min(share, settings.current().chunk_nbytes) // nbytes)
    if length >= batch_size:
        length -= length % batch_size
    else:
        # The fewest chunks of a batch that are no longer, unless they are much shorter.
        parts = next(
            n for n in range(-(-batch_size // length), batch_size + 1) if not batch_size % n
        )
        length = batch_size // parts if 2 * batch_size // parts >= length else length
    spec = specs[widest]
    specs[widest] = ArraySpec(spec.dtype, spec.sample_shape, chunk_length=length)
    writer.declare(specs)


def is_checkpoint(
    num_done: int, chunk_lengths: Iterable[int], *, num_samples: int, batch_size: int
) -> bool:
    """Say whether a run makes what it has durable behind so many samples.

    Parameters
    ----------
    num_done
        Samples, whole batches.
    chunk_lengths
        Of the arrays of the file.
    num_samples, batch_size
        Of the whole run.
    """
    if not 0 < num_done < num_samples or num_done % batch_size:
        return False
    share = max(-(-num_samples // _NUM_CHECKPOINTS), _LEAST_BATCHES * batch_size)
    unit = math.lcm(batch_size, *chunk_lengths)
    if unit > share:
        unit = batch_size
    # The first batch as well: from then on the file says what it is.
    return num_done == batch_size or num_done % (-(-share // unit) * unit) == 0


def storage_state(*, codec: str | None, level: int | None) -> dict[str, Any]:
    """Return what decides how samples become bytes: arguments, else the defaults in force."""
    defaults = settings.current()
    return {
        "codec": defaults.codec if codec is None else codec,
        "level": defaults.level if level is None else level,
        "shuffle": defaults.shuffle,
        "chunk_nbytes": defaults.chunk_nbytes,
    }


def nan_counts_of(writer: Writer) -> dict[str, int]:
    """Return the samples with NaN of each output in a file that is gone on with."""
    return dict(writer.attributes.get(STATE, {}).get(_NAN_COUNTS, {}))


def note_nan_counts(writer: Writer, counts: Mapping[str, int]) -> None:
    """Let the next checkpoint hold the samples with NaN of each output that has some."""
    if counts:
        writer.attributes[STATE] = {**writer.attributes[STATE], _NAN_COUNTS: dict(counts)}


def open_writer(
    out: str | os.PathLike[str],
    state: dict[str, Any] | None,
    *,
    num_samples: int,
    attributes: Mapping[str, Any],
    overwrite: bool,
    is_unseen: bool = False,
    **storage: Any,
) -> Writer:
    """Return the writer of a new file, or of an unfinished one that this run began.

    Parameters
    ----------
    out
        The file.
    state
        What the outputs follow from, JSON values; None starts anew.
    num_samples
        Of the whole run.
    attributes, overwrite, storage
        See `chunkstore.create`.
    is_unseen
        Whether there is no state because what the outputs follow from cannot be seen.

    Raises
    ------
    ExistingFileError
        The file exists, or an unfinished one of another run, and ``overwrite`` is False.
    """
    if STATE in attributes:
        raise ValueError(f"the attribute {STATE!r} says what was predicted; choose another name")
    attributes = dict(attributes) if state is None else {**attributes, STATE: state}
    partial = os.fspath(out) + PARTIAL_SUFFIX
    # A finished file stands in the way of both.
    is_free = overwrite or not Path(out).exists()
    is_begun = is_free and Path(partial).exists()
    if is_begun and is_unseen and not overwrite:
        raise ExistingFileError(
            f"{partial} was begun by a run that did not finish. What this model or a transform "
            "computes cannot be seen, so nobody knows whether it is the same. overwrite=True "
            "starts anew; with tag= in each run, your name for the model, a run goes on",
            os.fspath(out),
            errno=errno.EEXIST,
        )
    if is_begun and state is not None:
        found, is_whole = _read_partial(partial, num_samples, state["batch_size"])
        nan_counts = found.pop(_NAN_COUNTS, {}) if isinstance(found, dict) else {}
        if found == state and is_whole:
            with warnings.catch_warnings():
                # What a killed run had begun to write behind its checkpoint is computed again.
                warnings.simplefilter("ignore", ChunkStoreWarning)
                writer = append(out, resume=True, overwrite=overwrite)
            writer.attributes = attributes
            note_nan_counts(writer, nan_counts)
            return writer
        if isinstance(found, dict) and found != state and not overwrite:
            fields = [name for name in state if name not in found or found[name] != state[name]]
            raise ExistingFileError(
                f"{partial} was begun with another {', '.join(fields)}; overwrite=True starts anew",
                os.fspath(out),
                errno=errno.EEXIST,
            )
        # Killed before its first checkpoint, a run leaves no sample that counts.
        overwrite = overwrite or found == state or not Path(partial).stat().st_size
    return create(out, attributes=attributes, overwrite=overwrite, **storage)


def _read_partial(partial: str, num_samples: int, batch_size: int) -> tuple[Any, bool]:
    """Return the state of an unfinished file, and whether it ends at a checkpoint of its run."""
    try:
        with warnings.catch_warnings():
            # What a killed run had begun to write behind its checkpoint is cut off.
            warnings.simplefilter("ignore", ChunkStoreWarning)
            store = open_store(partial)
        with store:
            return store.attributes.get(STATE), is_checkpoint(
                store.num_samples,
                [array.chunk_shape[0] for array in store.values()],
                num_samples=num_samples,
                batch_size=batch_size,
            )
    except IncompleteError:
        return _first_state(partial), False
    except FormatError:
        return None, False


def _first_state(partial: str) -> Any:
    """Return the state in the metadata at the front of a file that has no directory yet."""
    file = ReadFile(partial)
    try:
        entry = next(iter_events(file, 0, []), None)
        if not isinstance(entry, Entry) or entry.name != _ROOT or entry.place.offset:
            return None
        document = json.loads(file.read(entry.place.nbytes, entry.place.data_offset))
        return document.get("attributes", {}).get(STATE)
    except (ValueError, AttributeError):
        return None
    finally:
        file.close()
