"""A zip as an append-only table of named, checksummed byte ranges. Knows no arrays."""
