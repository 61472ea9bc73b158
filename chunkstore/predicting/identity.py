"""What tells one function or model from another one, between two runs of a program?

Its code, the constants in it, what it is bound to, and what it names outside itself, as far as
that can be seen: numbers, text, arrays, functions, objects of Python classes. Packages count by
their version. Where something cannot be seen there is no digest, and nobody guesses.

An adapter says what the objects of its framework come down to.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import types
import weakref
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Set
from typing import Any, Final, TypeAlias

import numpy as np

from chunkstore.predicting.attributes import (
    attributes_of,
    is_of_framework,
    names_in,
    package_of,
    version_of,
)

# More is no function but a program.
_MOST_VALUES: Final = 1_000_000
_IS_HEAP_TYPE: Final = 1 << 9
# What computes is the function inside, and how it was compiled is up to the package.
_COMPILERS: Final = frozenset({"functools", "jax", "jaxlib", "numpy", "tensorflow"})
# Of a class: notes on it, not what it computes.
_NO_CODE: Final = frozenset(
    {
        "__abstractmethods__",
        "__annotations__",
        "__dataclass_fields__",
        "__dataclass_params__",
        "__dict__",
        "__doc__",
        "__firstlineno__",
        "__match_args__",
        "__module__",
        "__orig_bases__",
        "__parameters__",
        "__static_attributes__",
        "__weakref__",
        "_abc_impl",
    }
)


# From an object of a framework to what it comes down to, and which attributes that covers.
_Describe: TypeAlias = Callable[[Any], tuple[tuple[Any, ...], frozenset[str] | None] | None]


class _UnseenError(Exception):
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
    return object_digest(function, lambda value: None)


def object_digest(value: Any, describe: _Describe) -> str | None:
    """Return a digest of an object, or None if it depends on something that cannot be seen.

    Parameters
    ----------
    value
        A function or model.
    describe
        From an object to what it comes down to, and to the attributes that this covers, None for
        all; or to None if it is nothing special. Raises NotImplementedError for one that cannot be
        seen.
    """
    walk = _Walk(describe)
    try:
        walk.add(value)
    except (_UnseenError, RecursionError):
        return None
    return walk.digest.hexdigest()


class _Walk:
    """Goes through what a function depends on and digests it."""

    def __init__(self, describe: _Describe) -> None:
        self.digest = hashlib.blake2b(digest_size=16)
        self._describe = describe
        self._num_values = 0
        # Each object once: they may refer to each other in circles. Kept, so that no id is reused.
        self._seen: dict[int, tuple[int, Any]] = {}

    def put(self, text: str) -> None:
        encoded = text.encode("utf-8", "surrogatepass")
        self.digest.update(f"{len(encoded)} ".encode() + encoded)

    def add(self, value: Any) -> None:
        self._num_values += 1
        if self._num_values > _MOST_VALUES:
            raise _UnseenError
        if value is None or value is Ellipsis or type(value) in _PLAIN:
            self.put(f"{type(value).__name__} {value!r}")
        elif type(value) is tuple:
            # Equal ones may be one object or several.
            self._add_items("tuple", value)
        elif id(value) in self._seen:
            self.put(f"again {self._seen[id(value)][0]}")
        else:
            self._seen[id(value)] = len(self._seen), value
            self._add_new(value)

    def _add_new(self, value: Any) -> None:
        try:
            found = self._describe(value)
        except NotImplementedError:
            raise _UnseenError from None
        if found is not None:
            parts, covered = found
            self._add_items("described", parts)
            if covered is not None:
                self._add_attributes(value, covered)
        elif isinstance(value, np.ndarray | np.generic):
            self._add_array(np.asarray(value))
        elif isinstance(value, _PLAIN_BASES):
            self.put(f"plain {value!r}")
            self._add_kind(value)
        elif isinstance(value, np.dtype):
            self.put(f"dtype {value!r}")
        elif isinstance(value, tuple | list | set | frozenset):
            is_set = isinstance(value, Set)
            self._add_items("items", sorted(value, key=repr) if is_set else value)
            self._add_kind(value)
        elif isinstance(value, Mapping) and (type(value) in _MAPPINGS or is_of_framework(value)):
            self._add_items("mapping", [part for pair in value.items() for part in pair])
            self._add_kind(value)
            self.add(getattr(value, "default_factory", None))
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
            name = value.__name__
            if getattr(np, name, None) is not value:
                raise _UnseenError
            self._add_named("ufunc", "numpy", name)
        elif isinstance(value, types.BuiltinFunctionType):
            self._add_builtin(value)
        elif isinstance(value, types.MethodDescriptorType | types.WrapperDescriptorType):
            owner: type = value.__objclass__
            self._add_named("method", owner.__module__, f"{owner.__qualname__}.{value.__name__}")
        elif isinstance(value, weakref.ReferenceType):
            self.add(value())
        elif isinstance(value, logging.Logger):
            self.put(f"logger {value.name}")
        elif callable(getattr(value, "__wrapped__", None)) and package_of(value) in _COMPILERS:
            self.put(f"wrapped {type(value).__module__}.{type(value).__qualname__}")
            self.add(value.__wrapped__)
        elif hasattr(value, "__array__") and hasattr(value, "dtype"):
            self._add_other_array(value)
        else:
            self._add_object(value)

    def _add_attributes(self, value: Any, covered: frozenset[str]) -> None:
        own, of_package = attributes_of(value, covered)
        self.add(own)
        for name, part in of_package:
            self.put(name)
            digest, num_seen = self.digest.copy(), len(self._seen)
            try:
                self.add(part)
            except (_UnseenError, RecursionError):
                # Machinery of the package, which its version and the config stand for.
                if not is_of_framework(part):
                    raise
                self.digest = digest
                while len(self._seen) > num_seen:
                    self._seen.popitem()

    def _add_kind(self, value: Any) -> None:
        """Add what a subclass has beside the items or the number."""
        self.put(type(value).__qualname__)
        if version_of(type(value).__module__) is None:
            self._add_items("kind", [type(value), dict(getattr(value, "__dict__", ()))])

    def _add_builtin(self, value: types.BuiltinFunctionType) -> None:
        owner = value.__self__
        if isinstance(owner, type):
            self._add_named("builtin", owner.__module__, value.__qualname__)
        elif isinstance(owner, types.ModuleType | None):
            self._add_named("builtin", value.__module__ or "builtins", value.__qualname__)
        else:
            raise _UnseenError

    def add_code(self, code: types.CodeType) -> None:
        """Add instructions and constants, but not where they stand in a file."""
        self.put(f"code {code.co_argcount} {code.co_kwonlyargcount} {code.co_flags}")
        self.digest.update(code.co_code)
        if any(version_of(name) is None for name in names_in(code, "IMPORT_NAME")):
            # Code of one's own that is not there yet.
            raise _UnseenError
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
        version = version_of(module)
        if version is None:
            raise _UnseenError
        self.put(f"{kind} {module}.{name} {version}")

    def _add_array(self, array: np.ndarray[Any, Any]) -> None:
        if array.dtype.hasobject:
            raise _UnseenError
        self.put(f"array {array.shape} {array.dtype!r}")
        if array.size and array.itemsize:
            self.digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)

    def _add_other_array(self, value: Any) -> None:
        """Add an array of a framework, which may be where numpy cannot see it."""
        try:
            array = np.asarray(value)
        except (TypeError, ValueError, RuntimeError):
            raise _UnseenError from None
        self._add_array(array)

    def _add_function(self, function: types.FunctionType) -> None:
        if version_of(function.__module__) is not None:
            self._add_named("function", function.__module__, function.__qualname__)
            if function.__closure__ is None:
                return
        self.put(f"function {function.__qualname__}")
        self.add_code(function.__code__)
        self.add(function.__defaults__)
        self.add(function.__kwdefaults__)
        self.add({name: value for name, value in vars(function).items() if name != "__wrapped__"})
        for cell in function.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError:
                # Not assigned yet.
                raise _UnseenError from None
            self.add(content)
        if version_of(function.__module__) is None:
            for name in sorted(_names_in(function.__code__) & set(function.__globals__)):
                self.put(name)
                self.add(function.__globals__[name])

    def _add_class(self, cls: type) -> None:
        if version_of(cls.__module__) is not None:
            self._add_named("class", cls.__module__, cls.__qualname__)
            return
        self.put(f"class {cls.__qualname__}")
        for base in (type(cls), *cls.__bases__):
            self.add(base)
        for name, value in vars(cls).items():
            if name in _NO_CODE or isinstance(value, _DESCRIPTORS):
                continue
            self.put(name)
            if isinstance(value, property):
                self._add_items("property", [value.fget, value.fset, value.fdel])
            elif isinstance(value, functools.cached_property):
                self.add(value.func)
            else:
                is_method = isinstance(value, classmethod | staticmethod)
                self.add(value.__func__ if is_method else value)

    def _add_object(self, value: Any) -> None:
        """Add an object whose whole value is its attributes."""
        cls = type(value)
        is_python = all(base.__flags__ & _IS_HEAP_TYPE for base in cls.__mro__[:-1])
        has_slots = any(vars(base).get("__slots__") for base in cls.__mro__[:-1])
        if not is_python or has_slots or not hasattr(value, "__dict__"):
            raise _UnseenError
        self.put("object")
        self.add(cls)
        self.add(vars(value))


_PLAIN: Final = frozenset({bool, int, float, complex, str, bytes, range, slice})
_PLAIN_BASES: Final = (int, float, complex, str, bytes, range, slice)
_MAPPINGS: Final = frozenset({dict, types.MappingProxyType, OrderedDict, defaultdict})
_DESCRIPTORS: Final = (types.GetSetDescriptorType, types.MemberDescriptorType)


def _names_in(code: types.CodeType) -> set[str]:
    """Return the names that code and the functions in it use."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names_in(constant)
    return names
