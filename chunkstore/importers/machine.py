"""Which errors are those of the machine, and say nothing of the file that was being read?

Where bad files are left out, such an error must still end the import: a machine short of memory
would give a smaller data set.
"""

from __future__ import annotations

import errno
from typing import Final

from chunkstore.errors import SystemCallError

_OF_MACHINE: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EIO, errno.ENOSPC}
)


def is_of_machine(error: BaseException) -> bool:
    """Return whether an error comes from what the machine lacks.

    Examples
    --------
    >>> is_of_machine(MemoryError()), is_of_machine(FileNotFoundError(2, "none"))
    (True, False)
    """
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, OSError | SystemCallError) and error.errno in _OF_MACHINE
