"""`@record`: a frozen, slotted dataclass at a fraction of the standard decorator's start-up cost.

`@dataclass(frozen=True, slots=True)` compiles six methods for each class. A record compiles nothing until several are built: its
`__init__` and its fields come from a standard dataclass of the same annotations; equality, hash and repr are shared functions. That
it is frozen is held by the type checker (`dataclass_transform`), not at run time, which also makes an instance twice as fast to build.
`dataclasses.replace`, `fields` and `asdict` work as on any dataclass.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, dataclass, field
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")
FEW = 8
"""Instances that are built one field after the other, before it pays to compile an `__init__`."""
FIELDS, PARAMS = "__dataclass_fields__", "__dataclass_params__"


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """Make a dataclass of `cls`."""
    own = dict(vars(cls))
    made: Any = _late(cls, own) if _plain(cls, own) else dataclass(slots=True, repr=False, eq=False)(cls)
    if "__eq__" not in own:
        made.__eq__, made.__hash__ = _equal, _hash
    if "__repr__" not in own:
        made.__repr__ = _repr
    return made  # type: ignore[no-any-return]


def _plain(cls: type, own: dict[str, Any]) -> bool:
    """Nothing but fields with or without a default; else the standard library decides."""
    notes = own.get("__annotations__", {})
    return (
        not any(hasattr(base, FIELDS) for base in cls.__bases__)
        and not {"__post_init__", "__init__"} & own.keys()
        and all(isinstance(text, str) and not text.startswith(("ClassVar", "InitVar", "KW_ONLY")) for text in notes.values())
        and not any(isinstance(own.get(name), Field) and (own[name].kw_only is True or not own[name].init) for name in notes)
    )


def _late(cls: type, own: dict[str, Any]) -> type:
    """The class again, slotted, with the rest at its first use."""
    notes = own.get("__annotations__", {})
    names = tuple(notes)
    shape = _Shape(cls, notes, {name: own.pop(name) for name in names if name in own})
    for left in ("__dict__", "__weakref__"):
        own.pop(left, None)
    own |= {"__slots__": names, "__match_args__": names, FIELDS: _Later(shape, FIELDS), PARAMS: _Later(shape, PARAMS)}
    own["__init__"] = shape.first_init()
    shape.owner = type(cls)(cls.__name__, cls.__bases__, own)
    shape.owner.__qualname__ = cls.__qualname__
    return shape.owner


class _Shape:
    """The standard dataclass that knows fields and `__init__` of a record; it has no methods of its own."""

    owner: type

    def __init__(self, cls: type, notes: dict[str, Any], defaults: dict[str, Any]) -> None:
        self._defaults = {name: defaults.get(name, MISSING) for name in notes}
        about = {"__annotations__": notes, "__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__name__}
        self._name, self._about = cls.__name__, {**about, **defaults}
        self._made: Any = None

    @property
    def made(self) -> Any:
        if self._made is None:
            self._made = dataclass(repr=False, eq=False)(type(self._name, (), self._about))
        return self._made

    def first_init(self) -> Any:
        """An `__init__` that sets a few instances' fields, then makes the real one, puts it in its place and calls it."""
        left = FEW

        def __init__(record: Any, *given: Any, **named: Any) -> None:
            nonlocal left
            left -= 1
            if left > 0 and (values := self._bound(given, named)) is not None:
                for name, value in values.items():
                    setattr(record, name, value)
                return
            real = self.made.__init__
            type.__setattr__(self.owner, "__init__", real)
            real(record, *given, **named)

        return __init__

    def _bound(self, given: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any] | None:
        """The fields' values; None if something is missing or too much, which the real `__init__` says well."""
        values = self._defaults | dict(zip(self._defaults, given, strict=False)) | named
        if len(values) > len(self._defaults) or len(given) + len(named) > len(values) or named.keys() & list(values)[: len(given)]:
            return None
        for name, value in values.items():
            if isinstance(value, Field):
                values[name] = value = value.default if value.default_factory is MISSING else value.default_factory()
            if value is MISSING:
                return None
        return values


class _Later:
    """An attribute of the class that its shape knows."""

    def __init__(self, shape: _Shape, name: str) -> None:
        self._shape, self._name = shape, name

    def __get__(self, one: object, owner: type) -> Any:
        value = getattr(self._shape.made, self._name)
        setattr(self._shape.owner, self._name, value)
        return value


def _values(one: Any) -> tuple[Any, ...]:
    return tuple(getattr(one, name) for name, about in one.__dataclass_fields__.items() if about.compare)


def _equal(self: Any, other: object) -> Any:
    return _values(self) == _values(other) if other.__class__ is self.__class__ else NotImplemented


def _hash(self: Any) -> int:
    return hash(_values(self))


def _repr(self: Any) -> str:
    shown = (f"{name}={getattr(self, name)!r}" for name, about in self.__dataclass_fields__.items() if about.repr)
    return f"{self.__class__.__qualname__}({', '.join(shown)})"
