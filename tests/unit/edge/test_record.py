"""Records are dataclasses whose methods come at their first use."""

from __future__ import annotations

import copy
import pickle
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import ClassVar

import pytest

from edge.record import record


@record
class Point:
    x: int
    y: int = 2
    tags: list[str] = field(default_factory=list)
    seen: int = field(default=0, compare=False, repr=False)


@record
class Named(Point):
    name: str = ""


@record
class Counted:
    KIND: ClassVar[str] = "counted"
    n: int


@record
class Single:
    n: int


@dataclass(slots=True)
class Plain(Point):
    z: int = 3


def test_a_record_is_built_compared_and_shown_as_a_dataclass() -> None:
    one = Point(1, seen=5)

    assert (one.x, one.y, one.tags) == (1, 2, []) and one.tags is not Point(1).tags
    assert one == Point(1) != Point(2) and repr(one) == "Point(x=1, y=2, tags=[])"
    assert hash(Counted(1)) == hash(Counted(1)) and Counted.KIND == "counted"
    assert not hasattr(one, "__dict__")


def test_many_are_built_as_the_first_ones() -> None:
    @record
    class Pair:
        a: int
        b: list[int] = field(default_factory=list)
        c: str = "c"

    made = [Pair(n, c="d") if n % 2 else Pair(a=n, b=[n]) for n in range(20)]

    assert [(one.a, one.b, one.c) for one in made] == [(n, [], "d") if n % 2 else (n, [n], "c") for n in range(20)]
    assert len({id(one.b) for one in made}) == 20


def test_what_is_missing_or_too_much_is_named() -> None:
    with pytest.raises(TypeError, match=r"Point\.__init__\(\) missing 1 required positional argument: 'x'"):
        Point()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        Point(1, z=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="multiple values for argument 'n'"):
        Counted(1, n=1)  # type: ignore[misc]
    with pytest.raises(TypeError, match="takes 2 positional arguments but 3 were given"):
        Single(1, 2)  # type: ignore[call-arg]


def test_the_standard_functions_work_on_a_record() -> None:
    assert is_dataclass(Counted) and [one.name for one in fields(Point)] == ["x", "y", "tags", "seen"]
    assert replace(Point(1), y=9) == Point(1, 9) and asdict(Counted(4)) == {"n": 4}
    assert copy.deepcopy(Point(1, tags=["a"])) == pickle.loads(pickle.dumps(Point(1, tags=["a"]))) == Point(1, tags=["a"])


def test_a_record_can_be_extended_by_a_record_and_by_a_dataclass() -> None:
    assert Named(1, name="n") == Named(1, 2, [], 0, "n") and repr(Named(1)) == "Named(x=1, y=2, tags=[], name='')"
    assert Plain(1, z=4).z == 4 and Plain(1) == Plain(1, 2)


def test_a_record_matches_by_position() -> None:
    match Point(1, 7):
        case Point(x, y):
            assert (x, y) == (1, 7)
