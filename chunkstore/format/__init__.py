"""zarr metadata, chunk grid and codec chain: bytes to arrays and back. Knows no files, no threads."""
