"""How does a loader become a tf.data.Dataset?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    import tensorflow as tf
except ImportError as error:
    raise ImportError(
        "loader.tf() needs tensorflow: pip install 'chunkstore[tensorflow]'"
    ) from error

from chunkstore.adapters.leaves import compile_conversion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from chunkstore.mixing import Mix
    from chunkstore.pipeline.loader import Loader

# Batches that tf.data takes ahead of the model.
_PREFETCHED_BATCHES = 2


def tf_dataset(loader: Loader | Mix) -> Any:
    """Return the epochs of a loader as a dataset of tensorflow; see `chunkstore.Loader.tf`.

    Parameters
    ----------
    loader
        Its structure, types and shapes become the dataset's ``element_spec``. The batch axis has a
        fixed length unless the last batch may be short.

    Raises
    ------
    TypeError
        If tensorflow has no type for the elements of an array.
    """
    length = None if loader.last == "keep" else loader.batch_size // loader.world_size
    signature = compile_conversion(loader.empty_batch, _spec_maker(length))(loader.empty_batch)
    num_batches = _count_batches(loader)
    # A cardinality is a promise for every iteration: none where the first one may have fewer.
    is_resumed = loader.step > 0

    def iter_epoch() -> Iterator[Any]:
        batches = iter(loader)
        if num_batches is not None and not is_resumed and loader.step:
            raise ValueError(
                f"the loader stands at step {loader.step} of {num_batches}, and this dataset has "
                "whole epochs only: make it behind load_state_dict"
            )
        return batches

    dataset = tf.data.Dataset.from_generator(iter_epoch, output_signature=signature)
    if num_batches is None:
        dataset = dataset.apply(
            tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
        )
    elif not is_resumed:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(num_batches))
    return dataset.prefetch(_PREFETCHED_BATCHES)


def _count_batches(loader: Loader | Mix) -> int | None:
    """Return the batches of an epoch, None without end."""
    try:
        return len(loader)
    except TypeError:
        return None


def _spec_maker(length: int | None) -> Any:
    def make(array: NDArray[Any], where: str) -> Any:
        dtype = array.dtype
        kind = tf.string if dtype.kind in "SU" else None
        if kind is None and dtype.names is None and dtype.kind not in "mM":
            try:
                kind = tf.dtypes.as_dtype(dtype)
            except TypeError:
                kind = None
        if kind is None:
            raise TypeError(
                f"{where} has dtype {dtype}, for which tensorflow has no type; it takes booleans, "
                "integers, floats, complex numbers and strings. Leave the array out of names, or "
                "turn it into numbers with transform="
            )
        spec = tf.TensorSpec((length, *array.shape[1:]), kind)
        return lambda empty: spec

    return make
