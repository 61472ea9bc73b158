"""How does a torch DataLoader iterate over a loader?"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal, get_args

try:
    import torch
except ImportError as error:
    raise ImportError("loader.torch() needs torch: pip install 'chunkstore[torch]'") from error

from chunkstore.adapters.torch_epochs import SharedEpochs
from chunkstore.adapters.torch_samples import TorchSamples
from chunkstore.adapters.torch_tensors import tensor_conversion

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chunkstore.mixing import Mix
    from chunkstore.pipeline.loader import Loader

By = Literal["batch", "sample"]

_log = logging.getLogger(__name__)
# Fields of a state that say what a worker has of the epoch.
_WORKER, _NUM_WORKERS, _FIRST = "worker", "num_workers", "first"


def torch_dataset(loader: Loader | Mix, *, by: By = "batch") -> TorchBatches | TorchSamples:
    """Return a loader as a dataset of torch; see `chunkstore.Loader.torch`."""
    if by not in get_args(By):
        raise ValueError(f"by must be 'batch' or 'sample', got {by!r}")
    return TorchBatches(loader) if by == "batch" else TorchSamples(loader)


class TorchBatches(torch.utils.data.IterableDataset):  # type: ignore[misc]  # not typed here
    """The epochs of a loader as batches of tensors, for ``DataLoader(dataset, batch_size=None)``.

    Made by ``loader.torch()``. Each iteration is the loader's next epoch.

    Parameters
    ----------
    loader
        Its batches become tensors in the same structure and the same memory.

    Raises
    ------
    TypeError
        If torch has no type for the elements of an array.

    Notes
    -----
    Leave ``num_workers`` at 0: the loader has threads of its own, and a batch that comes from
    another process is copied twice. With more, each worker loads whole windows of the epoch with
    memory and threads of its own. The batches are the same and come once, their order depends on
    the number of workers. An epoch then counts as begun when its first worker starts.

    A DataLoader makes lists of tuples unless it gets ``collate_fn=lambda batch: batch``.

    `state_dict` is the position behind the last batch. With workers only torchdata's
    ``StatefulDataLoader``, which asks the workers, can tell it; by itself it is then the start of
    the epoch that comes next.

    Threads: one consumer at a time.
    """

    def __init__(self, loader: Loader | Mix) -> None:
        self._loader = loader
        self._convert = tensor_conversion(loader.empty_batch)
        self._epochs = SharedEpochs()
        # In a worker: how often it began, the state that was loaded, and where it stands.
        self._num_begun = 0
        self._loaded: Mapping[str, Any] | None = None
        self._share: dict[str, int] | None = None

    def __len__(self) -> int:
        """Return the batches of an epoch."""
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        """Return the next epoch's batches, or a worker's share of them."""
        worker = torch.utils.data.get_worker_info()
        if worker is not None:
            return self._iter_worker(worker)
        self._take_over()
        return map(self._convert, iter(self._loader))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration, also of workers that run already."""
        self._loader.set_epoch(epoch)
        self._epochs.set_next(None if self._epochs.next_epoch is None else epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return the position behind the last batch, as a small dict for JSON."""
        state = self._loader.state_dict()
        if self._share is not None:
            return state | self._share
        epoch = self._epochs.next_epoch
        return state if epoch is None else state | {"epoch": epoch, "step": 0}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue at a position that `state_dict` returned.

        Raises
        ------
        TypeError, ValueError
            If it is no state, or one of another order or of another number of workers.
        """
        worker = torch.utils.data.get_worker_info()
        found = (state[_WORKER], state[_NUM_WORKERS]) if _WORKER in state else None
        wanted = None if worker is None else (worker.id, worker.num_workers)
        if found is not None and found != wanted:
            place = "the main process" if wanted is None else "worker {} of {}".format(*wanted)
            raise ValueError(
                "the state is that of worker {} of {} of a DataLoader, ".format(*found)
                + f"this is {place}; resume with as many workers"
            )
        self._loader.load_state_dict(state)
        if worker is None:
            self._epochs.set_next(None)
        else:
            self._loaded = state

    # ---------------------------------------------------------------- inside

    def __getstate__(self) -> dict[str, Any]:
        return {"loader": self._loader, "epochs": self._epochs}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["loader"])  # type: ignore[misc]
        self._epochs = state["epochs"]

    def _take_over(self) -> None:
        """Go on behind the epochs that workers had."""
        epoch = self._epochs.next_epoch
        if epoch is not None:
            self._loader.set_epoch(epoch)
            self._epochs.set_next(None)

    def _iter_worker(self, worker: Any) -> Iterator[Any]:
        """Return a worker's share: whole windows, from the first step of the epoch on."""
        loader = self._loader
        try:
            num_batches = len(loader)
        except TypeError as error:
            raise ValueError(
                "a mixture that never stops cannot be divided among workers: use num_workers=0"
            ) from error
        loaded, self._loaded = self._loaded, None
        if self._num_begun:
            first_epoch, first = 0, 0
        else:
            # The position that the parent left: one inside an epoch was loaded there.
            iter(loader)
            first_epoch, first = loader.epoch, loader.step
        self._num_begun += 1
        # All workers of an epoch have this number, those of other epochs another one unless the
        # program seeds them alike.
        key = f"{worker.seed - worker.id} {self._num_begun}"
        epoch, is_first = self._epochs.begin(
            key,
            worker=worker.id,
            first_epoch=first_epoch,
            epoch=None if loaded is None else loaded["epoch"],
        )
        if is_first and self._epochs.num_rounds == 1:
            _log.warning(
                "the DataLoader has %d worker processes: each takes up to memory=%s of its own, "
                "and sending batches between processes costs more than loading them. "
                "num_workers=0 is recommended, the loader reads with threads",
                worker.num_workers,
                getattr(loader, "memory", "the loaders'"),
            )
        if loaded is not None:
            first = loaded.get(_FIRST, loaded["step"])
        elif epoch != first_epoch:
            first = 0
        cuts = self._cuts(epoch, first, num_batches, worker.num_workers)
        start, stop = cuts[worker.id], cuts[worker.id + 1]
        if loaded is not None and _WORKER in loaded:
            start = loaded["step"]
        self._share = {
            "epoch": epoch,
            "step": start,
            _FIRST: first,
            _WORKER: worker.id,
            _NUM_WORKERS: worker.num_workers,
        }
        return self._iter_share(loader.iter_epoch(epoch, start), self._share, stop)

    def _cuts(self, epoch: int, first: int, num_batches: int, num_workers: int) -> list[int]:
        """Return the steps where one worker's share ends and the next one's begins."""
        starts = getattr(self._loader, "window_starts", None)
        # A mixture has no windows of its own: any batch may begin a share.
        steps = range(num_batches) if starts is None else starts(epoch)
        steps = [first, *(step for step in steps if first < step < num_batches)]
        cuts = [steps[len(steps) * i // num_workers] for i in range(num_workers)]
        return [*cuts, num_batches]

    def _iter_share(
        self, batches: Iterator[Any], share: dict[str, int], stop: int
    ) -> Iterator[Any]:
        while share["step"] < stop:
            batch = next(batches)
            share["step"] += 1
            yield self._convert(batch)
