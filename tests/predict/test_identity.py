"""Is a function told from another one, and never taken for one that it is not?"""

from __future__ import annotations

import abc
import functools
import subprocess
import sys
import types
from collections import OrderedDict

import numpy as np
import pytest

from chunkstore import transforms
from chunkstore.predicting.attributes import version_of
from chunkstore.predicting.identity import function_digest
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

    assert function_digest(made(2)().call) == function_digest(made(2)().call)
    assert function_digest(made(2)().call) != function_digest(made(3)().call)


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


def of_numpy(name):
    namespace = {"np": np}
    exec(f"def f(x):\n    return np.{name}(x)", namespace)
    return namespace["f"]


def decorated(k):
    """A callable object that wraps a function and has a state of its own."""

    class Scaled:
        def __init__(self, function):
            functools.update_wrapper(self, function)
            self.k = k

        def __call__(self, x):
            return self.__wrapped__(x) * self.k

    return Scaled(by_global)


def with_default(by):
    def f(x, factor=by):
        return x * factor

    return f


def with_keyword(by):
    def f(x, *, factor=by):
        return x * factor

    return f


def of_base(by):
    class Base:
        def __call__(self, x):
            return x * by

    class Scale(Base):
        pass

    return Scale()


def of_class_attribute(by):
    class Scale:
        factor = by

        def __call__(self, x):
            return x * self.factor

    return Scale()


def of_property(by):
    class Scale:
        @property
        def factor(self):
            return by

        @functools.cached_property
        def other(self):
            return by

        def __call__(self, x):
            return x * self.factor

    return Scale()


def of_call_attribute(by):
    class Scale:
        __call__ = functools.partialmethod(lambda self, x, y: x * y, by)

    return Scale()


def of_abstract_base(by):
    class Base(abc.ABC):
        @abc.abstractmethod
        def __call__(self, x): ...

    class Scale(Base):
        def __call__(self, x):
            return x * by

    return Scale()


class Numbers(list):
    factor = 1


def of_subclass(by):
    numbers = Numbers([1, 2])
    numbers.factor = by
    return lambda x: x * numbers.factor


def of_function_attribute(by):
    def f(x):
        return x * f.factor

    f.factor = by
    return f


def of_structure(by):
    return scaled(np.array([(1, 2)], [("a", "f4"), ("b" if by == 2 else "c", "f4")]))


@pytest.mark.parametrize(
    "make",
    [
        decorated,
        with_default,
        with_keyword,
        of_base,
        of_class_attribute,
        of_property,
        of_call_attribute,
        of_abstract_base,
        of_subclass,
        of_function_attribute,
        of_structure,
        lambda by: scaled({"a": {by}}),
        lambda by: scaled(OrderedDict(a=by)),
        lambda by: of_numpy("sqrt" if by == 2 else "square"),
    ],
    ids=[
        "wrapper",
        "default",
        "keyword",
        "base",
        "class-attribute",
        "property",
        "call",
        "abstract",
        "subclass-of-list",
        "function-attribute",
        "structured",
        "set",
        "ordered",
        "name",
    ],
)
def test_whatever_a_function_computes_with_counts(make):
    assert function_digest(make(2)) == function_digest(make(2)) is not None
    assert function_digest(make(2)) != function_digest(make(3))


def test_methods_that_differ_in_their_name_only_are_two_functions():
    assert function_digest(lambda x: x.min()) != function_digest(lambda x: x.max())


def import_inside(x):
    from tests.predict import values_of_mine

    return values_of_mine.scale(x)


def test_an_import_of_ones_own_code_inside_a_function_cannot_be_seen():
    assert function_digest(import_inside) is None


def test_a_package_that_is_not_installed_counts_by_its_code(monkeypatch):
    def named(by):
        function = scaled(by)
        function.__module__ = "own_package.models"
        return function

    package = types.ModuleType("own_package")
    package.__version__ = "1.0"
    package.__file__ = "/home/me/own_package/__init__.py"
    monkeypatch.setitem(sys.modules, "own_package", package)
    assert version_of("own_package.models") is None
    assert function_digest(named(2)) != function_digest(named(3))
    package.__file__ = "/env/lib/python3.11/site-packages/own_package/__init__.py"
    assert version_of("own_package.models") == "1.0"
