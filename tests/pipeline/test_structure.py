"""The structure of the names that go in is the structure of the arrays that come out."""

from __future__ import annotations

import re

import pytest

from chunkstore.pipeline.structure import INDEX, VALID, Structure

KNOWN = ["x", "y", "z"]


@pytest.mark.parametrize(
    ("names", "unique", "built"),
    [
        ("x", ("x",), 0),
        (("x", "y"), ("x", "y"), (0, 1)),
        (["y", "x"], ("y", "x"), (0, 1)),
        (("x", "x"), ("x",), (0, 0)),
        ((("x", "z"), ("y",)), ("x", "z", "y"), ((0, 1), (2,))),
        ({"image": "x", "mask": "y"}, ("x", "y"), {"image": 0, "mask": 1}),
        (({"a": "x", "b": ("y", "x")}, "z"), ("x", "y", "z"), ({"a": 0, "b": (1, 0)}, 2)),
        (None, ("x", "y", "z"), {"x": 0, "y": 1, "z": 2}),
        (("@valid", "x", "@index"), ("x", "@index", "@valid"), (2, 0, 1)),
    ],
    ids=["name", "tuple", "list", "twice", "nested", "dict", "mixed", "all", "extra"],
)
def test_structure_in_is_structure_out(names, unique, built):
    structure = Structure(names, KNOWN)
    assert structure.names == unique
    assert structure.build(range(len(unique))) == built


@pytest.mark.parametrize(
    ("names", "error", "text"),
    [
        (("x", "label"), KeyError, "there is no array 'label'; there are 'x', 'y', 'z'"),
        (3, TypeError, "got 3 of type int"),
        (("x", None), TypeError, "got None of type NoneType"),
        ((), ValueError, "at least one array, got ()"),
        ("@index", ValueError, "at least one array, got '@index'"),
    ],
    ids=["unknown", "number", "none_inside", "empty", "no_array"],
)
def test_wrong_names_are_told(names, error, text):
    with pytest.raises(error, match=re.escape(text)):
        Structure(names, KNOWN)


def test_all_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one array"):
        Structure(None, [])


@pytest.mark.parametrize("name", [VALID, INDEX])
def test_an_array_with_the_name_of_a_loaders_own_is_refused(name):
    for names in (None, name, ("x", name)):
        with pytest.raises(ValueError, match=f"an array is named '{name}'"):
            Structure(names, ["x", name])
    assert Structure("x", ["x", name]).names == ("x",)
