"""How do the optional peers come into environments of their own?

``python -m benchmarks.peers.install NAME ...`` makes ``.venv-peers/NAME`` with the versions that
the peers are pinned to; without a name it makes all of them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from typing import TYPE_CHECKING

from benchmarks.peers.environments import BENCH, PEERS_FOLDER
from benchmarks.peers.registry import all_peers

if TYPE_CHECKING:
    from collections.abc import Sequence


def packages_by_environment() -> dict[str, list[str]]:
    """Return what each optional environment holds."""
    wanted: dict[str, list[str]] = {}
    for peer in all_peers():
        if peer.environment != BENCH:
            wanted.setdefault(peer.environment, []).extend(peer.packages)
    return {name: sorted(set(packages)) for name, packages in wanted.items()}


def install(name: str, packages: Sequence[str]) -> None:
    """Make an environment anew."""
    folder = PEERS_FOLDER / name
    venv.create(folder, with_pip=True, clear=True)
    python = str(folder / "bin" / "python")
    command = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", *packages]
    subprocess.run(command, check=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the environments that are named; return the exit code."""
    wanted = packages_by_environment()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.install", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(wanted))
    names = parser.parse_args(arguments).names or list(wanted)
    unknown = sorted(set(names) - set(wanted))
    if unknown:
        parser.error(f"no such environment: {', '.join(unknown)}; there are {', '.join(wanted)}")
    failed = []
    for name in names:
        print(f"making {PEERS_FOLDER / name} with {', '.join(wanted[name])}", flush=True)
        try:
            install(name, wanted[name])
        except subprocess.CalledProcessError as error:
            print(f"{name}: pip ended with exit code {error.returncode}", file=sys.stderr)
            failed.append(name)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
