"""Functions that other processes can import: what reads one file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np


def read_number(path):
    number = int(Path(path).read_text())
    return {"x": np.full((40, 50), number, "i4"), "y": number}


def die(path):
    if Path(path).name == "3":
        os._exit(9)
    return np.zeros(3)


class OwnError(Exception):
    def __init__(self, first, second):
        super().__init__(first)


def refuse(path):
    raise OwnError("bad file", 2)
