"""How is the command line called where its script is not on the path?"""

from __future__ import annotations

from chunkstore.upper import resolve

if __name__ == "__main__":
    resolve("chunkstore.cli", "main")(prog_name="chunkstore")
