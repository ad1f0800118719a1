"""From a YAML mapping to a frozen dataclass by its type hints, so that a resource is declared once and its mistakes name file and line.

Keys match in any case, as in Go; a scalar fits a text; everything else must have its type, as JSON in Go demands. Unknown keys are
problems, not failures. Types: str, bool, int, float, Duration, Any, X | None, tuple[X, ...], dict[str, X], other dataclasses.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from edge.config.documents import Document, Map, Seq, Unreadable, text_of
from edge.durations import parse_go_duration
from edge.spec import Duration, Problem, camel_case, near

T = TypeVar("T")


@cache
def shape(cls: type) -> Mapping[str, tuple[str, str, Any]]:
    """By lower-case key: attribute, key as documented, type."""
    hints = get_type_hints(cls)
    named = [(item.name, item.metadata.get("key") or camel_case(item.name), hints[item.name]) for item in fields(cls) if item.init]
    return {key.lower(): (attribute, key, hint) for attribute, key, hint in named}


class Decoder:
    """Decodes parts of one document and collects what is odd in it. Raises Unreadable for what can't be used."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []

    def warn(self, message: str, line: int = 0) -> None:
        """Something to tell the operator; the document is used."""
        self.problems.append(Problem(message, fatal=False, where=self.document.where(line)))

    def struct(self, cls: type[T], value: Any, path: str = "", line: int = 0, ignore: frozenset[str] = frozenset()) -> T:
        """A dataclass from a mapping (None is an empty one). ignore: lower-case keys that belong to someone else."""
        if value is None:
            value = Map(line)
        if not isinstance(value, Map):
            raise _mismatch(value, path, "a mapping", line)
        owner: type = cls
        known, values = shape(owner), dict[str, Any]()
        for key, item in value.items():
            at, low = value.lines.get(key, line), key.lower()
            if low in known:
                attribute, name, hint = known[low]
                if item is not None:
                    values[attribute] = self.value(hint, item, f"{path}.{name}" if path else name, at)
            elif low not in ignore:
                names = {low: name for low, (_, name, _) in known.items()}
                self.warn(f"unknown field {f'{path}.{key}' if path else key}{near(key, names)}; it is ignored", at)
        for item in fields(cls):  # type: ignore[arg-type]
            if item.init and item.name not in values and item.default is MISSING and item.default_factory is MISSING:
                raise Unreadable(f"{path}.{camel_case(item.name)} is missing".lstrip("."), value.line or line)
        return cls(**values)

    def value(self, hint: Any, value: Any, path: str, line: int) -> Any:
        """One value as its hint says."""
        origin = get_origin(hint)
        if origin in (Union, types.UnionType):
            return self.value(next(part for part in get_args(hint) if part is not types.NoneType), value, path, line)
        if origin is tuple:
            if not isinstance(value, Seq):
                raise _mismatch(value, path, "a list", line)
            return tuple(
                self.value(get_args(hint)[0], item, f"{path}[{at}]", value.lines[at]) for at, item in enumerate(value) if item is not None
            )
        if origin is dict:
            if not isinstance(value, Map):
                raise _mismatch(value, path, "a mapping", line)
            return {key: self.value(get_args(hint)[1], item, f"{path}.{key}", value.lines[key]) for key, item in value.items()}
        if is_dataclass(hint) and isinstance(hint, type):
            return self.struct(hint, value, path, line)
        return value if hint is Any else _scalar(hint, value, path, line)


def _scalar(hint: Any, value: Any, path: str, line: int) -> Any:
    if isinstance(value, (Map, Seq)):
        raise _mismatch(value, path, WORDS[hint], line)
    if hint is str:
        return text_of(value)
    if hint is Duration:
        try:
            return Duration(parse_go_duration(text_of(value)))
        except ValueError as error:
            raise Unreadable(f"{path}: {error}", line) from None
    whole = hint is int and isinstance(value, float) and value.is_integer()
    if isinstance(value, bool) != (hint is bool) or not (whole or isinstance(value, (int, float) if hint is float else hint)):
        raise _mismatch(value, path, WORDS[hint], line)
    return hint(value)


WORDS = {str: "text", bool: "true or false", int: "an integer", float: "a number", Duration: "a duration such as 5s"}


def _mismatch(value: Any, path: str, wanted: str, line: int) -> Unreadable:
    match value:
        case Map():
            found = "a mapping"
        case Seq():
            found = "a list"
        case str():
            found = f'the text "{value}"'
        case _:
            found = text_of(value)
    return Unreadable(f"{path or 'the document'} is {found}, it must be {wanted}", line)
