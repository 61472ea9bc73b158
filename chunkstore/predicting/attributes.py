"""What of an object is its owner's, what its package's: attributes, versions, parts of a model?

Attributes that the code of a package sets on the objects of its classes are the package's; all
others were set by whoever uses it. The first may be machinery that nobody can see into, such as a
lock; the others are what a model was made for.
"""

from __future__ import annotations

import dis
import functools
import inspect
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_FOLDERS_OF_PACKAGES: Final = frozenset({"site-packages", "dist-packages"})


def version_of(module: Any) -> str | None:
    """Return the version of a module's package; None for a person's own code.

    Parameters
    ----------
    module
        Its name. A package that lies in no folder of installed packages is somebody's work: its
        version may stay while its code changes.
    """
    # Some compiled classes have no name there.
    package = module.partition(".")[0] if isinstance(module, str) else ""
    if package in {"", "__main__"}:
        return None
    if package in sys.stdlib_module_names:
        return sys.version.partition(" ")[0]
    found = sys.modules.get(package)
    version = getattr(found, "__version__", None)
    folders = Path(getattr(found, "__file__", None) or "").parts
    if package != __name__.partition(".")[0] and _FOLDERS_OF_PACKAGES.isdisjoint(folders):
        return None
    return version if isinstance(version, str) else None


def is_of_framework(value: Any) -> bool:
    """Say whether a value's class is a package's, and no builtin or standard one."""
    package = package_of(value)
    return package not in sys.stdlib_module_names and version_of(package) is not None


def package_of(value: Any) -> str:
    """Return the package of a value's class; empty if it does not say."""
    module = type(value).__module__
    return module.partition(".")[0] if isinstance(module, str) else ""


def attributes_of(
    value: Any, skipped: Collection[str]
) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """Return the attributes of an object that its user set, and the public ones of its package.

    Parameters
    ----------
    value
        An object with ``__dict__``.
    skipped
        Attributes that are dealt with elsewhere.
    """
    own: dict[str, Any] = {}
    of_package = []
    cls: Any = type(value)
    stored = _names_stored_by_packages(cls)
    for name, part in vars(value).items():
        if name in skipped:
            continue
        if name not in stored:
            own[name] = part
        elif not name.startswith("_"):
            of_package.append((name, part))
    return own, of_package


@functools.cache
def _names_stored_by_packages(cls: Any) -> frozenset[str]:
    """Return the attributes that classes of packages among a class's bases set on objects."""
    names: set[str] = set()
    for base in cls.__mro__[:-1]:
        if version_of(base.__module__) is not None:
            for value in vars(base).values():
                for code in _codes_of(value):
                    names.update(names_in(code, "STORE_ATTR"))
    return frozenset(names)


def _codes_of(value: Any) -> Iterator[types.CodeType]:
    """Yield the code of a function, method or property of a class."""
    functions = [value.fget, value.fset] if isinstance(value, property) else [value]
    for function in functions:
        plain = getattr(function, "__func__", function)
        if isinstance(plain, types.FunctionType):
            yield inspect.unwrap(plain).__code__


def names_in(code: types.CodeType, operation: str) -> Iterator[str]:
    """Yield the names that an instruction has in code and in the functions in it.

    Parameters
    ----------
    code
        Of a function.
    operation
        Of the interpreter, such as ``"STORE_ATTR"`` or ``"IMPORT_NAME"``.
    """
    for instruction in dis.get_instructions(code):
        if instruction.opname == operation:
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from names_in(constant, operation)
