"""Other ways to load the same data in shuffled batches, one file each.

Each module has ``PEERS``, a tuple of `benchmarks.peers.record.Peer`; ``write(source, task)``, which
stores the arrays in the task's folder; and ``Reader``, which loads them. It imports its packages
only inside these, since the records are read in every environment. `benchmarks.peers.registry`
lists the modules.
"""
