"""What tells one function from another one, between two runs of a program?

Its code, the constants in it, what it is bound to, and what it names outside itself, as far as
that can be seen: numbers, text, arrays, functions, objects of Python classes. Packages count by
their version. Where something cannot be seen there is no digest, and nobody guesses.
"""

from __future__ import annotations

import functools
import hashlib
import sys
import types
from collections.abc import Mapping, Set
from typing import Any, Final

import numpy as np

# More is no function but a program.
_MOST_VALUES: Final = 100_000
_IS_HEAP_TYPE: Final = 1 << 9


class _UnknownError(Exception):
    """Something whose value cannot be seen."""


def function_digest(function: Any) -> str | None:
    """Return a digest of a function, or None if it depends on something that cannot be seen.

    Parameters
    ----------
    function
        A function, method, partial, callable object, or one of these with ``__wrapped__`` (such as
        what ``jax.jit`` returns).

    Notes
    -----
    Not seen, and not in the digest: files that the function reads, what it asks the system, and
    other code of a package than its version.

    Examples
    --------
    >>> def scaled(by):
    ...     return lambda x: x * by
    >>> function_digest(scaled(2)) == function_digest(scaled(2))
    True
    >>> function_digest(scaled(2)) == function_digest(scaled(3))
    False
    >>> function_digest(scaled(iter([2]))) is None
    True
    """
    walk = _Walk()
    try:
        walk.add(function)
    except (_UnknownError, RecursionError):
        return None
    return walk.digest.hexdigest()


def class_code_digest(classes: list[type]) -> str:
    """Return a digest of the code of classes; those of packages count by name and version.

    Parameters
    ----------
    classes
        Of a model and its parts.
    """
    walk = _Walk()
    for cls in classes:
        for base in cls.__mro__[:-1]:
            walk.put(f"class {base.__module__}.{base.__qualname__} {_version(base.__module__)}")
            if _version(base.__module__) is None:
                for name, value in vars(base).items():
                    function = getattr(value, "__func__", value)
                    if isinstance(function, types.FunctionType):
                        walk.put(name)
                        walk.add_code(function.__code__)
    return walk.digest.hexdigest()


class _Walk:
    """Goes through what a function depends on and digests it."""

    def __init__(self) -> None:
        self.digest = hashlib.blake2b(digest_size=16)
        # Each object once: they may refer to each other in circles. Kept, so that no id is reused.
        self._seen: dict[int, tuple[int, Any]] = {}

    def put(self, text: str) -> None:
        encoded = text.encode("utf-8", "surrogatepass")
        self.digest.update(f"{len(encoded)} ".encode() + encoded)

    def add(self, value: Any) -> None:
        if value is None or value is Ellipsis or isinstance(value, _PLAIN):
            self.put(f"{type(value).__name__} {value!r}")
            return
        if id(value) in self._seen:
            self.put(f"again {self._seen[id(value)][0]}")
            return
        if len(self._seen) >= _MOST_VALUES:
            raise _UnknownError
        self._seen[id(value)] = len(self._seen), value
        if isinstance(value, np.ndarray | np.generic):
            self._add_array(np.asarray(value))
        elif isinstance(value, tuple | list):
            self._add_items(type(value).__name__, value)
        elif isinstance(value, Mapping) and type(value) in (dict, types.MappingProxyType):
            self._add_items("dict", [part for pair in value.items() for part in pair])
        elif isinstance(value, Set) and type(value) in (set, frozenset):
            self._add_items("set", sorted(value, key=repr))
        elif isinstance(value, types.CodeType):
            self.add_code(value)
        elif isinstance(value, functools.partial):
            self._add_items("partial", [value.func, value.args, value.keywords])
        elif isinstance(value, types.MethodType):
            self._add_items("method", [value.__func__, value.__self__])
        elif isinstance(value, types.ModuleType):
            self._add_named("module", value.__name__, "")
        elif isinstance(value, type):
            self._add_class(value)
        elif isinstance(value, types.FunctionType):
            self._add_function(value)
        elif isinstance(value, np.ufunc):
            self.put(f"ufunc {value.__name__}")
        elif isinstance(value, types.BuiltinFunctionType):
            if not isinstance(value.__self__, types.ModuleType | None):
                raise _UnknownError
            self._add_named("builtin", value.__module__ or "builtins", value.__qualname__)
        elif callable(getattr(value, "__wrapped__", None)):
            self.put(f"wrapped {type(value).__module__}.{type(value).__qualname__}")
            self.add(value.__wrapped__)
        elif hasattr(value, "__array__") and hasattr(value, "dtype"):
            self._add_other_array(value)
        else:
            self._add_object(value)

    def add_code(self, code: types.CodeType) -> None:
        """Add instructions and constants, but not where they stand in a file."""
        self.put(f"code {code.co_argcount} {code.co_kwonlyargcount} {code.co_flags}")
        self.digest.update(code.co_code)
        for names in (code.co_names, code.co_freevars, code.co_cellvars):
            self.put(" ".join(names))
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                self.add_code(constant)
            else:
                self.add(constant)

    def _add_items(self, kind: str, items: Any) -> None:
        self.put(f"{kind} {len(items)}")
        for item in items:
            self.add(item)

    def _add_named(self, kind: str, module: str, name: str) -> None:
        version = _version(module)
        if version is None:
            raise _UnknownError
        self.put(f"{kind} {module}.{name} {version}")

    def _add_array(self, array: np.ndarray[Any, Any]) -> None:
        if array.dtype.hasobject:
            raise _UnknownError
        self.put(f"array {array.shape} {array.dtype.str}")
        self.digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)

    def _add_other_array(self, value: Any) -> None:
        """Add an array of a framework, which may be where numpy cannot see it."""
        try:
            array = np.asarray(value)
        except (TypeError, ValueError, RuntimeError):
            raise _UnknownError from None
        self._add_array(array)

    def _add_function(self, function: types.FunctionType) -> None:
        if _version(function.__module__) is not None:
            self._add_named("function", function.__module__, function.__qualname__)
            if function.__closure__ is None:
                return
        self.put(f"function {function.__qualname__}")
        self.add_code(function.__code__)
        self.add(function.__defaults__)
        self.add(function.__kwdefaults__)
        for cell in function.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError:
                # Not assigned yet.
                raise _UnknownError from None
            self.add(content)
        if _version(function.__module__) is None:
            for name in sorted(_names_in(function.__code__) & set(function.__globals__)):
                self.put(name)
                self.add(function.__globals__[name])

    def _add_class(self, cls: type) -> None:
        if _version(cls.__module__) is not None:
            self._add_named("class", cls.__module__, cls.__qualname__)
            return
        self.put(f"class {cls.__qualname__}")
        for base in cls.__bases__:
            self.add(base)
        for name, value in vars(cls).items():
            function = getattr(value, "__func__", value)
            if isinstance(value, property):
                self._add_items(f"property {name}", [value.fget, value.fset])
            elif isinstance(function, types.FunctionType):
                self.put(name)
                self.add(function)
            elif not name.startswith("__"):
                self.put(name)
                self.add(value)

    def _add_object(self, value: Any) -> None:
        """Add an object whose whole value is its attributes."""
        cls = type(value)
        is_python = all(base.__flags__ & _IS_HEAP_TYPE for base in cls.__mro__[:-1])
        has_slots = any("__slots__" in vars(base) for base in cls.__mro__[:-1])
        if not is_python or has_slots or not hasattr(value, "__dict__"):
            raise _UnknownError
        self.put("object")
        self.add(cls)
        self.add(vars(value))


_PLAIN: Final = (bool, int, float, complex, str, bytes, range, slice, np.dtype)


def _names_in(code: types.CodeType) -> set[str]:
    """Return the names that code and the functions in it use."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names_in(constant)
    return names


def _version(module: str | None) -> str | None:
    """Return the version of a module's package; None for a person's own, which has none."""
    package = (module or "").partition(".")[0]
    if package == "__main__" or not package:
        return None
    if package in sys.stdlib_module_names:
        return sys.version.partition(" ")[0]
    version = getattr(sys.modules.get(package), "__version__", None)
    return version if isinstance(version, str) else None
