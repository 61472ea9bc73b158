"""Which peers are there?"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.peers.record import Peer

# The order is that of the table.
_MODULES = (
    "tensorstore_file",
    "h5py_file",
    "blosc2_array",
    "zarr_python",
    "lmdb_file",
    "memory_map",
    "webdataset_tar",
    "litdata_stream",
    "mosaic_streaming",
    "grain_array_record",
    "torch_loader",
    "tf_data",
)


def all_peers() -> list[Peer]:
    """Return the records of all peers."""
    modules = (importlib.import_module(f"benchmarks.peers.{name}") for name in _MODULES)
    return [peer for module in modules for peer in module.PEERS]
