"""How does torch code that insists on a sampler read single samples?"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from chunkstore.adapters.torch_tensors import tensor_conversion
from chunkstore.pipeline.structure import INDEX, VALID, Structure
from chunkstore.pipeline.transforming import DrawOrigin, SampleTransform
from chunkstore.pipeline.view import as_view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from chunkstore.mixing import Mix
    from chunkstore.pipeline.loader import Loader


class TorchSamples(torch.utils.data.Dataset):  # type: ignore[misc]  # not typed here
    """The samples of a loader's arrays by number, for a DataLoader with a sampler.

    Made by ``loader.torch(by="sample")``. Whoever asks decides the order: order, batch size and
    weights of the loader play no part; names, types and transforms do.

    Parameters
    ----------
    loader
        Says what is read.

    Raises
    ------
    TypeError
        If torch has no type for the elements of an array, or the loader is a mixture.

    Notes
    -----
    Slower than ``loader.torch()``: a random sampler meets another chunk with nearly every sample,
    and decodes it for that sample alone. A batch is read chunk by chunk, each once, so let the
    DataLoader ask for batches (``batch_size=64``, which uses ``__getitems__``). Random transforms
    draw by the number of the sample and the loader's epoch: call ``set_epoch``.

    Threads: as safe as the arrays.
    """

    def __init__(self, loader: Loader | Mix) -> None:
        arrays: Any = getattr(loader, "arrays", None)
        if arrays is None:
            raise TypeError(
                "a mixture has no samples with numbers; make torch(by='sample') of its loaders"
            )
        self._loader: Loader = loader  # type: ignore[assignment]  # no mixture has arrays
        names = self._loader.names
        available = getattr(arrays, "sample_arrays", arrays) if names is None else arrays
        self._structure = Structure(names, available)
        self._view = as_view(arrays)
        form = self._loader.empty_batch
        self._convert = tensor_conversion(form)
        dtypes = dict(zip(_leaves(self._structure), _flat(form), strict=True))
        self._arrays = {
            name: self._view[name] for name in self._structure.names if name in self._view
        }
        self._dtypes = {name: dtypes[name].dtype for name in self._arrays}
        self._transforms = {
            name: SampleTransform(
                name,
                function,
                sample_shape=self._arrays[name].shape[1:],
                dtype=self._arrays[name].dtype,
            )
            for name, function in self._loader.transform.items()
        }

    def __len__(self) -> int:
        """Return the number of samples."""
        return self._view.num_samples

    def __getitem__(self, index: int) -> Any:
        """Return one sample as tensors; its chunks are decoded for it alone."""
        # Whatever is no number raises TypeError here; a boolean is one for Python.
        if isinstance(index, bool | np.bool_):
            raise TypeError(f"a sample has an integer number, got {index!r}")
        return self.__getitems__([operator.index(index)])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return samples as tensors, each chunk decoded once.

        Parameters
        ----------
        indices
            Integers in ``[0, len(dataset))``, in any order.

        Raises
        ------
        TypeError
            If they are not integers; a mask is none.
        IndexError
            If there is no such sample.
        """
        given = np.asarray(indices)
        if len(given) and given.dtype.kind not in "iu":
            raise TypeError(f"samples have integer numbers, got {indices!r}")
        places, inverse = np.unique(given, return_inverse=True)
        if len(places) and not 0 <= places[0] <= places[-1] < len(self):
            bad = places[0] if places[0] < 0 else places[-1]
            raise IndexError(f"sample {bad} is outside [0, {len(self)})")
        # Not before: huge ones would become negative.
        places = places.astype(np.int64)
        batch = self._convert(
            self._structure.build([self._read(n, places)[inverse] for n in self._structure.names])
        )
        return [_sample(batch, i) for i in range(len(given))]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that random transforms draw for."""
        self._loader.set_epoch(epoch)

    def __getstate__(self) -> dict[str, Any]:
        return {"loader": self._loader}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["loader"])  # type: ignore[misc]

    def _read(self, name: str, places: NDArray[np.int64]) -> NDArray[Any]:
        """Return one array's samples at ascending places."""
        if name not in self._arrays:
            is_index = {INDEX: True, VALID: False}[name]
            return self._view.numbers[places] if is_index else np.ones(len(places), np.bool_)
        samples: NDArray[Any] = self._arrays[name][places]
        transform = self._transforms.get(name)
        if transform is not None:
            numbers = self._view.numbers[places]
            origin = DrawOrigin(self._loader.state_dict()["seed"], self._loader.epoch, 0)
            samples = transform(samples, numbers=numbers, positions=numbers, origin=origin)
        return samples.astype(self._dtypes[name], copy=False)


def _leaves(structure: Structure) -> list[str]:
    """Return the names in the order in which they stand in a batch."""
    return _flat(structure.build(structure.names))


def _flat(batch: Any) -> list[Any]:
    if isinstance(batch, dict):
        batch = list(batch.values())
    if isinstance(batch, tuple | list):
        return [leaf for part in batch for leaf in _flat(part)]
    return [batch]


def _sample(batch: Any, i: int) -> Any:
    """Return one sample of a batch in the same structure."""
    if isinstance(batch, dict):
        return {key: _sample(part, i) for key, part in batch.items()}
    if isinstance(batch, tuple):
        return tuple([_sample(part, i) for part in batch])
    return batch[i]
