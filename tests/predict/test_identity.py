"""Is a function told from another one, and never taken for one that it is not?"""

from __future__ import annotations

import functools
import subprocess
import sys

import numpy as np
import pytest

from chunkstore import transforms
from chunkstore.predicting.identity import class_code_digest, function_digest
from tests import support

FACTOR = 2


def scaled(by):
    return lambda x: x * by


def by_global(x):
    return x * FACTOR


def by_function(x):
    return by_global(x) + 1


def by_constant_2(x):
    return x * 2


def by_constant_3(x):
    return x * 3


class Affine:
    def __init__(self, weight, bias=0.0):
        self.weight, self.bias = weight, bias

    def __call__(self, x):
        return self.apply(x) + self.bias

    def apply(self, x):
        return x @ self.weight


ALIKE = {
    "closure": lambda: scaled(2),
    "array-in-closure": lambda: scaled(np.arange(5)),
    "partial": lambda: functools.partial(np.tile, reps=2),
    "global": lambda: by_global,
    "function-of-functions": lambda: by_function,
    "object": lambda: Affine(np.ones(3)),
    "method": lambda: Affine(np.ones(3)).apply,
    "ufunc": lambda: np.sqrt,
    "builtin": lambda: len,
    "transform": lambda: transforms.scale(2),
    "composed": lambda: transforms.compose(transforms.flip(), transforms.scale(0.5)),
}


@pytest.mark.parametrize("name", ALIKE)
def test_a_function_made_again_is_the_same(name):
    assert function_digest(ALIKE[name]()) == function_digest(ALIKE[name]()) is not None


def test_all_of_these_differ():
    digests = [function_digest(make()) for make in ALIKE.values()]
    assert len(set(digests)) == len(ALIKE)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (scaled(2), scaled(2.0)),
        (scaled(np.arange(5)), scaled(np.arange(5) + 1)),
        (functools.partial(np.tile, reps=2), functools.partial(np.tile, reps=3)),
        (Affine(np.ones(3)), Affine(np.ones(3), 1.0)),
        (transforms.scale(2), transforms.scale(3)),
        (np.sqrt, np.square),
    ],
    ids=["type", "array", "partial", "attribute", "transform", "ufunc"],
)
def test_what_a_function_is_bound_to_counts(one, other):
    assert function_digest(one) != function_digest(other)


def test_constants_and_globals_count(monkeypatch):
    by_constant_3.__qualname__ = by_constant_2.__qualname__
    assert function_digest(by_constant_2) != function_digest(by_constant_3)
    before = function_digest(by_function)
    monkeypatch.setitem(globals(), "FACTOR", 3)
    assert function_digest(by_function) != before


def test_the_code_of_methods_counts():
    def made(number):
        class Model:
            def call(self, x):
                return x * 2 if number == 2 else x

            if number == 3:

                def call(self, x):
                    return x * 3

        return Model

    assert class_code_digest([made(2)]) == class_code_digest([made(2)])
    assert class_code_digest([made(2)]) != class_code_digest([made(3)])


@pytest.mark.parametrize(
    "function",
    [
        np.random.default_rng(0).normal,
        scaled(np.random.default_rng(0)),
        scaled(np.array([None])),
        scaled(iter([1])),
        scaled(support),
    ],
    ids=["generator", "in-closure", "objects", "iterator", "own-module"],
)
def test_what_cannot_be_seen_has_no_digest(function):
    assert function_digest(function) is None


def test_functions_that_refer_to_each_other_have_a_digest():
    def even(n):
        return n == 0 or odd(n - 1)

    def odd(n):
        return n != 0 and even(n - 1)

    assert function_digest(even) is not None


def test_another_process_finds_the_same():
    code = (
        "from tests.predict import test_identity as t; "
        "print([t.function_digest(make()) for make in t.ALIKE.values()])"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=support.REPOSITORY,
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
