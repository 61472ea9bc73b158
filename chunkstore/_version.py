"""Which version of chunkstore is this?"""

from __future__ import annotations

__version__ = "0.1.0"
