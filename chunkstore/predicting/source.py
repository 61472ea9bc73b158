"""What does a model get: which arrays of which data, in file order, in batches of which size?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from chunkstore.pipeline.loader import Loader

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEFAULT_BATCH_SIZE: Final = 256


def file_order_loader(
    source: Any, arrays: Any, batch_size: int | None, keep: tuple[str, ...]
) -> Loader:
    """Return a loader of ``(inputs, kept arrays)`` in file order.

    Parameters
    ----------
    source, arrays, batch_size, keep
        See `chunkstore.predict`; the source is open.
    """
    if not isinstance(source, Loader | Mapping):
        raise TypeError(
            "source must be a store or its path, a mapping of arrays, or a Loader, got "
            f"{type(source).__name__}; a mixture has no file order: predict its parts one by one"
        )
    options: dict[str, Any] = {}
    types: dict[str, Any] = {}
    if isinstance(source, Loader):
        form = source.names
        if form is None:
            form = {name: name for name in getattr(source.arrays, "sample_arrays", source.arrays)}
        delivered = zip(leaves(form), leaves(source.empty_batch), strict=True)
        types = {name: array.dtype for name, array in delivered if name in source.arrays}
        if arrays is None:
            arrays = form[0] if isinstance(form, tuple | list) else form
        batch_size = source.batch_size if batch_size is None else batch_size
        options["memory"] = source.memory
        # The model was trained on what the loader delivers.
        taken = set(leaves(arrays))
        options["transform"] = {name: f for name, f in source.transform.items() if name in taken}
        source = source.arrays
    if arrays is None:
        names = list(getattr(source, "sample_arrays", source))
        others = [name for name in names if name not in keep]
        if len(others) != 1:
            raise ValueError(
                f"the source has the arrays {', '.join(names)}; say by arrays= which of them the "
                "model takes"
            )
        arrays = others[0]
    return Loader(
        source,
        (arrays, {name: name for name in keep}),
        batch_size=_DEFAULT_BATCH_SIZE if batch_size is None else batch_size,
        dtype={name: types[name] for name in leaves(arrays) if name in types},
        shuffle=False,
        last="keep",
        rank=0,
        world_size=1,
        **options,
    )


def leaves(form: Any) -> Iterator[Any]:
    """Yield what stands in the tuples, lists and dicts of a structure."""
    if isinstance(form, Mapping):
        form = list(form.values())
    if isinstance(form, tuple | list):
        for part in form:
            yield from leaves(part)
    else:
        yield form
