"""zarr metadata, chunk grid, codec chain: bytes to arrays and back. No files, no threads."""
