"""Requests read as Go reads JSON into a struct: keys in any case, unknown keys skipped, null leaves a field alone, Go's error texts.

Input is what edge/gofloat.py decodes. Two readers: encoding/json's and, for the inner requests of a state transaction, mapstructure's.
Source: Go 1.26 encoding/json decode.go; mapstructure v1.5 error.go; observed through daprd.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import orjson

from edge.gofloat import Large
from edge.gojson import KINDS
from edge.goscanner import JsonError

MAX_INT = (1 << 63) - 1
LARGEST_PLAIN = 6  # digits before the point that %v writes without an exponent

Reader: TypeAlias = Callable[[Any, str], Any]
"""(value, place) -> what the field gets; place: `Struct.path` for the error text, "" at the top. value is never null."""


def wrong(value: Any, target: str, place: str = "", number: str = "") -> JsonError:
    """Go's UnmarshalTypeError. number: the literal, where Go names it."""
    where = f"struct field {place} of type {target}" if place else f"value of type {target}"
    return JsonError(f"json: cannot unmarshal {_kind_of(value)}{number and ' '}{number} into Go {where}")


def _kind_of(value: Any) -> str:
    return next((name for kind, name in KINDS.items() if isinstance(value, kind)), "number")


def text(value: Any, place: str) -> str:
    """A Go string."""
    if type(value) is not str:
        raise wrong(value, "string", place)
    return value


def anything(value: Any, place: str) -> Any:
    """A Go interface{}."""
    if isinstance(value, Large):
        raise wrong(0, "float64", place, value.text)
    return value


def boolean(value: Any, place: str) -> bool:
    """A Go bool."""
    if type(value) is not bool:
        raise wrong(value, "bool", place)
    return value


def integer(value: Any, place: str) -> int:
    """A Go int."""
    if type(value) is int and -MAX_INT <= value <= MAX_INT:
        return value
    if isinstance(value, tuple(KINDS)):
        raise wrong(value, "int", place)
    raise wrong(value, "int", place, value.text if isinstance(value, Large) else orjson.dumps(value).decode())


def text_map(value: Any, place: str) -> dict[str, str]:
    """A Go map[string]string; null values are empty texts."""
    if not isinstance(value, dict):
        raise wrong(value, "map[string]string", place)
    return {key: "" if item is None else text(item, place) for key, item in value.items()}


def list_of(read: Reader, type_: str) -> Reader:
    """A Go []type_; null items are given to `read` as None."""

    def items(value: Any, place: str) -> list[Any]:
        if not isinstance(value, list):
            raise wrong(value, f"[]{type_}", place)
        return [read(item, place) for item in value]

    return items


def or_empty(value: Any, place: str) -> str:
    """A Go string in a list, where null is the empty one."""
    return "" if value is None else text(value, place)


class Struct:
    """A Go struct type, called as a Reader: gives a dict of the fields that were present and not null, by their names here.

    type_: as Go's texts name it (`state.SetRequest`). name: of the struct in its fields' places, when that is another.
    """

    __slots__ = ("_fields", "_name", "type_")

    def __init__(self, type_: str, fields: Mapping[str, Reader], name: str | None = None) -> None:
        self.type_ = type_
        self._name = type_.rpartition(".")[2] if name is None else name
        pairs = {name: (name, read) for name, read in fields.items()}
        self._fields = {name.lower(): pair for name, pair in pairs.items()} | pairs

    def __call__(self, value: Any, place: str = "") -> dict[str, Any]:
        if not isinstance(value, dict):
            if value is None:
                return {}
            raise wrong(value, self.type_, place)
        path = f"{self._name}{place[place.index('.') :]}." if place else f"{self._name}."
        found: dict[str, Any] = {}
        fields = self._fields
        for key, item in value.items():
            pair = fields.get(key) or fields.get(key.lower())
            if pair is not None and item is not None:
                name, read = pair
                found[name] = read(item, path + name)
        return found


class MapError(ValueError):
    """A map does not fit a struct; the text is mapstructure's."""


def from_map(value: Any, fields: Mapping[str, type | Mapping[str, type]]) -> dict[str, Any]:
    """mapstructure.Decode: `fields` are Go field names in the struct's order, their types str, dict (of texts), object (anything)
    or a nested mapping. Gives what is present and not null. Raises MapError with all problems.
    """
    if value is None:
        return {}
    if type(value) is not dict:
        raise MapError(f"'' expected a map, got '{_kind(value)}'")
    problems: list[str] = []
    found = _fill(value, fields, "", problems)
    if problems:
        problems.sort()
        lines = "\n".join(f"* {problem}" for problem in problems)
        raise MapError(f"{len(problems)} error(s) decoding:\n\n{lines}")
    return found


def _fill(value: Mapping[str, Any], fields: Mapping[str, Any], prefix: str, problems: list[str]) -> dict[str, Any]:
    given = {key.lower(): item for key, item in value.items()} | {key: item for key, item in value.items() if key in fields}
    found: dict[str, Any] = {}
    for name, kind in fields.items():
        item = given.get(name, given.get(name.lower()))
        if item is None:
            continue
        place = prefix + name
        if kind is object or type(item) is kind is str:
            found[name] = item
        elif kind is str:
            problems.append(_not_text(place, item))
        elif type(item) is not dict:
            problems.append(f"'{place}' expected a map, got '{_kind(item)}'")
        elif kind is dict:
            problems += [_not_text(f"{place}[{key}]", text) for key, text in item.items() if type(text) not in (str, type(None))]
            found[name] = {key: text or "" for key, text in item.items()}
        else:
            found[name] = _fill(item, kind, f"{place}.", problems)
    return found


def _not_text(place: str, item: Any) -> str:
    return f"'{place}' expected type 'string', got unconvertible type '{_type(item)}', value: '{printed(item)}'"


def _kind(value: Any) -> str:
    return {dict: "map", list: "slice", str: "string", bool: "bool"}.get(type(value), "float64")


def _type(value: Any) -> str:
    names = {dict: "map[string]interface {}", list: "[]interface {}", str: "string", bool: "bool"}
    return names.get(type(value), "float64")


def printed(value: Any) -> str:
    """Go's %v of a decoded JSON value."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case list():
            return f"[{_spaced(printed(item) for item in value)}]"
        case dict():
            return f"map[{_spaced(f'{key}:{printed(value[key])}' for key in sorted(value))}]"
        case _:
            return _number(float(value if isinstance(value, int | float) else orjson.dumps(value)))


def _number(value: float) -> str:
    """Go's %v of a float64: shortest digits, with an exponent below 1e-4 and from 1e+06 on."""
    mantissa, _, exponent = f"{value!r}".partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.removeprefix("-").partition(".")
    fraction = fraction.rstrip("0")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return f"{sign}0"
    power = int(exponent or 0) + (len(whole) - 1 if whole != "0" else len(fraction.lstrip("0")) - len(fraction) - 1)
    digits = digits.rstrip("0")
    if -4 <= power < LARGEST_PLAIN:
        if power < 0:
            return f"{sign}0.{'0' * (-power - 1)}{digits}"
        padded = digits.ljust(power + 1, "0")
        return f"{sign}{padded[: power + 1]}" + (f".{padded[power + 1 :]}" if padded[power + 1 :] else "")
    tail = f".{digits[1:]}" if digits[1:] else ""
    return f"{sign}{digits[0]}{tail}e{'-' if power < 0 else '+'}{abs(power):02d}"


def _spaced(parts: Iterable[str]) -> str:
    return " ".join(parts)
