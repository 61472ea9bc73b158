"""How does the command line start?

``chunkstore`` and ``python -m chunkstore`` come here first. Most of the first second goes into
imports, and Ctrl-C then ends the command without a traceback, as it does later.
"""

from __future__ import annotations

import sys

from chunkstore.upper import resolve

# What a shell says of a program that SIGINT ended.
_EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line."""
    try:
        resolve("chunkstore.cli", "main")(prog_name="chunkstore")
    except KeyboardInterrupt:
        sys.exit(_EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
