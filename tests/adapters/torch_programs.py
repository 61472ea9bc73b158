"""What torch tests run in processes of their own: functions of a module, so that they pickle."""

from __future__ import annotations

import chunkstore as cs


def run_rank(rank, world_size, folder, path, num_workers):
    """Load two epochs as one rank of a group of processes, and save what was delivered."""
    # Collecting the tests imports this module where torch is not installed too.
    import torch
    from torch.utils.data import DataLoader

    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/group", rank=rank, world_size=world_size
    )
    with cs.open(path) as store, cs.Loader(store, "y", batch_size=8, window=2) as loader:
        batches = DataLoader(loader.torch(), batch_size=None, num_workers=num_workers)
        epochs = [[batch.tolist() for batch in batches] for _ in range(2)]
        # Every rank must take as many steps, or this would wait for ever.
        count = torch.tensor([sum(map(len, epochs[0]))])
        torch.distributed.all_reduce(count)
        torch.save({"rank": loader.rank, "epochs": epochs, "count": int(count)}, f"{folder}/{rank}")
    torch.distributed.destroy_process_group()
