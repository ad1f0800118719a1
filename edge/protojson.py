"""Requests read as Go's protojson reads them: names in either spelling, unknown ones skipped, its error texts with line and column.

A request that is as it should be costs one orjson call and a look at its fields; any other is read again token by token, for the place.
Source: google.golang.org/protobuf v1.36 encoding/protojson, internal/encoding/json.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeAlias

import orjson

from edge.gofloat import decode as decode_floats
from edge.goscanner import JsonError
from edge.record import record

TOKEN = re.compile(
    rb'(?P<string>"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")|(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)'
    rb"(?![-+._a-zA-Z0-9])|(?P<word>null|true|false)(?![-+._a-zA-Z0-9])|(?P<mark>[{}\[\],])"
)
WRONG = re.compile(r"[-+._a-zA-Z0-9]{1,32}|.", re.DOTALL)
SPACE = re.compile(rb"[ \n\r\t]*")
DURATION = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]{0,9})?|\.[0-9]{1,9})s")
LONGEST = 315_576_000_000
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
MAX_UINT32 = (1 << 32) - 1
ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
DEEPEST = 10_000
PREFIX = "proto:\u00a0"  # Go puts a no-break space there in some builds, in daprd's too
UNEXPECTED_END = f"{PREFIX}unexpected EOF"
VALUES = ("string", "number", "word", "{", "[")


class Odd(Exception):
    """The request is not in the plain form; the token reader knows whether it is wrong."""


@record
class Scalar:
    """A field's kind: as error texts name it, and how a decoded JSON value becomes the field's (None: it does not)."""

    kind: str
    take: Callable[[Any], Any]


Field: TypeAlias = "Scalar | Message"


@record
class Message:
    """A message type: fields by JSON name. oneof: its full name and the fields of which only one may be there."""

    fields: Mapping[str, Field]
    oneof: str = ""
    choices: frozenset[str] = frozenset()

    def find(self, name: str) -> str | None:
        """The field of a JSON or proto name."""
        if name in self.fields:
            return name
        if "_" not in name:
            return None
        head, *rest = name.split("_")
        camel = head + "".join(part.capitalize() for part in rest)
        return camel if camel in self.fields else None


def _is(type_: type) -> Callable[[Any], Any]:
    return lambda value: value if type(value) is type_ else None


def _integer(least: int, most: int) -> Callable[[Any], int | None]:
    def take(value: Any) -> int | None:
        if isinstance(value, orjson.Fragment) or (type(value) is str and NUMBER.fullmatch(value)):
            number = float(value if isinstance(value, str) else orjson.dumps(value))
            value = int(number) if number.is_integer() else None
        return value if type(value) is int and least <= value <= most else None

    return take


def _bytes(value: Any) -> bytes | None:
    """Standard or URL-safe base64; padding where it makes the length whole, else none."""
    if type(value) is not str or (len(value) % 4 and "=" in value):
        return None
    try:
        return base64.b64decode(value.replace("-", "+").replace("_", "/") + "=" * (-len(value) % 4), validate=True)
    except ValueError:
        return None


def _duration(value: Any) -> float | None:
    if type(value) is not str or len(value) < 2 or not DURATION.fullmatch(value):
        return None
    seconds = float(value[:-1])
    return seconds if abs(seconds) <= LONGEST else None


STRING = Scalar("string", _is(str))
BOOL = Scalar("bool", _is(bool))
UINT32 = Scalar("uint32", _integer(0, MAX_UINT32))
INT32 = Scalar("int32", _integer(-(1 << 31), (1 << 31) - 1))
BYTES = Scalar("bytes", _bytes)
DURATION_FIELD = Scalar("google.protobuf.Duration", _duration)


def names(*values: str) -> Scalar:
    """An enum: its names or their numbers; a name that is not among them counts as not given."""

    def take(value: Any) -> int | None:
        if type(value) is str:
            return values.index(value) if value in values else 0
        return _integer(-(1 << 31), (1 << 31) - 1)(value)

    return Scalar("enum", take)


VALUE = Scalar("google.protobuf.Value", lambda value: value)
"""Any JSON, null too; as decoded by edge/gofloat.py."""


def duration(seconds: float) -> str:
    """A google.protobuf.Duration as JSON: 0, 3, 6 or 9 digits of fraction."""
    nanos = round(seconds * 1e9)
    sign, (whole, rest) = "-" if nanos < 0 else "", divmod(abs(nanos), 1_000_000_000)
    if not rest:
        return f"{sign}{whole}s"
    digits = f"{rest:09d}"
    return f"{sign}{whole}.{digits[:3] if digits.endswith('000000') else digits[:6] if digits.endswith('000') else digits}s"


def decode(data: bytes, message: Message) -> dict[str, Any]:
    """The fields that are there, by JSON name; an empty body is an empty message. Raises JsonError with Go's text."""
    if not data:
        return {}
    try:
        orjson.loads(data)
        found = plain(decode_floats(data), message)
        if any(data.count(b'"%b"' % name.encode()) > 1 for name in found) or _repeats(data, found, message):
            return _Reader(data).whole(message)  # a field that is there twice is refused
        return found
    except (orjson.JSONDecodeError, JsonError, Odd):
        return _Reader(data).whole(message)


def _repeats(data: bytes, found: Mapping[str, Any], message: Message) -> bool:
    """A key may be twice in one object of a google.protobuf.Value."""
    if not any(isinstance(value, dict | list) and message.fields[name] is VALUE for name, value in found.items()):
        return False

    def once(pairs: list[tuple[str, Any]]) -> None:
        if len({name for name, _ in pairs}) < len(pairs):
            raise Odd

    try:
        json.loads(data, object_pairs_hook=once)
    except (Odd, RecursionError):
        return True
    return False


def plain(value: Any, message: Message) -> dict[str, Any]:
    """The fields of an already decoded value. Raises Odd when it is not in the plain form."""
    if type(value) is not dict:
        raise Odd
    found: dict[str, Any] = {}
    for key, item in value.items():
        name = message.find(key)
        if name is None:
            continue
        field = message.fields[name]
        if name in found:
            raise Odd
        if item is None and field is not VALUE:
            continue
        if isinstance(field, Message):
            found[name] = plain(item, field)
        else:
            taken = field.take(item)
            if taken is None and field is not VALUE:
                raise Odd
            found[name] = taken
    if len(message.choices & found.keys()) > 1:
        raise Odd
    return found


class _Reader:
    """One pass over the tokens, each with its place."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = self.start = 0

    def whole(self, message: Message) -> dict[str, Any]:
        self._space()
        if self.at == len(self.data):
            self.start = self.at
            self._unexpected("")
        kind, text = self._token()
        try:
            found = self._message(message, kind, text)
        except RecursionError:
            raise JsonError(f"{PREFIX}exceeded max recursion depth") from None
        self._space()
        if self.at < len(self.data):
            kind, text = self._token()
            self._unexpected(text)
        return found

    def _space(self) -> None:
        match = SPACE.match(self.data, self.at)
        self.at = match.end() if match else self.at

    def _token(self) -> tuple[str, str]:
        """The next token's kind and text; marks are their own kind."""
        self._space()
        self.start = self.at
        if self.at >= len(self.data):
            raise JsonError(UNEXPECTED_END)
        match = TOKEN.match(self.data, self.at)
        if match is None:
            self._no_token()
        self.at = match.end()
        if b"\\u" in match[0]:
            self._surrogates(match[0])
        try:
            text = match[0].decode()
        except UnicodeDecodeError:
            self._syntax("invalid UTF-8 in string")
        kind = match.lastgroup or ""
        return (text if kind == "mark" else kind), text

    def _surrogates(self, text: bytes) -> None:
        """Escapes of half a character come in pairs; what stands in place of the second half is told."""
        behind = -1
        for escape in ESCAPE.finditer(text):
            half = int(escape[1], 16) if escape[1] else 0
            if not 0xD800 <= half <= 0xDFFF or escape.start() < behind:
                continue
            rest = self.data[self.start + escape.end() :]
            other = ESCAPE.match(rest)
            second = int(other[1], 16) if other is not None and other[1] else 0
            if half < 0xDC00 and 0xDC00 <= second <= 0xDFFF:
                behind = escape.end() + 6
            elif len(rest) < 6:
                raise JsonError(UNEXPECTED_END)
            else:
                self._syntax(f"invalid escape code {_go_quoted(rest[:6])} in string")

    def _no_token(self) -> NoReturn:
        rest = self.data[self.at :]
        if rest.startswith(b'"'):
            self._bad_string(rest)
        word = WRONG.match(rest.decode("utf-8", "replace"))
        self._syntax(f"invalid value {word[0] if word else ''}")

    def _bad_string(self, rest: bytes) -> NoReturn:
        match = re.match(rb'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*', rest)
        after = rest[match.end() :] if match else b""
        if not after or (after[:1] == b"\\" and len(after) < 2) or (after[:2] == b"\\u" and len(after) < 6):
            raise JsonError(UNEXPECTED_END)
        if after[:1] == b"\\":
            self._syntax(f"invalid escape code {_go_quoted(after[: 6 if after[1:2] == b'u' else 2])} in string")
        self._syntax(f"invalid character {_quoted(after[0])} in string")

    def _message(self, message: Message, kind: str, text: str) -> dict[str, Any]:
        if kind != "{":
            self._unexpected(text)
        found: dict[str, Any] = {}
        for name, raw, place in self._names():
            field_name = message.find(name)
            if field_name is None:
                self._value()
                continue
            if field_name in found:
                self._error(place, f"duplicate field {raw}")
            field = message.fields[field_name]
            kind, text = self._token()
            if text == "null" and field is not VALUE:
                continue
            if field_name in message.choices and message.choices & found.keys():
                self._error(place, f"error parsing {raw}, oneof {message.oneof} is already set")
            found[field_name] = (
                self._message(field, kind, text) if isinstance(field, Message) else self._scalar(field, field_name, kind, text)
            )
        return found

    def _scalar(self, field: Scalar, name: str, kind: str, text: str) -> Any:
        place = self.start
        value = self._rest(kind, text, 0, field is VALUE) if field is VALUE or kind not in "{[" else None
        taken = field.take(value)
        if taken is not None or field is VALUE:
            return taken
        if field is DURATION_FIELD:
            if kind != "string":
                self._unexpected(text)
            word = "value out of range: " if isinstance(value, str) and DURATION.fullmatch(value) else "value "
            self._error(place, f"{'' if 'range' in word else 'invalid '}{field.kind} {word}{text}")
        self._error(place, f"invalid value for {field.kind} field {name}: {text}")

    def _names(self) -> Any:
        """The members of the object that has just begun: name, raw name, its place; the caller reads the value of each."""
        first = True
        while True:
            kind, text = self._token()
            if kind == "}" and first:
                return
            if not first:
                if kind == "}":
                    return
                if kind != ",":
                    self._unexpected(text)
                kind, text = self._token()
            first = False
            if kind != "string":
                self._unexpected(text)
            place = self.start
            self._space()
            if self.at >= len(self.data):
                raise JsonError(UNEXPECTED_END)
            if self.data[self.at : self.at + 1] != b":":
                char = self.data[self.at : self.at + 1].decode("latin-1")
                self.start = self.at
                self._syntax(f'unexpected character {char}, missing ":" after field name')
            self.at += 1
            yield orjson.loads(text), text, place

    def _value(self, depth: int = 0, read: bool = False) -> Any:
        kind, text = self._token()
        return self._rest(kind, text, depth, read)

    def _rest(self, kind: str, text: str, depth: int, read: bool) -> Any:
        """The value that begins with this token. read: it is not just skipped, so no key may be there twice."""
        if depth > DEEPEST:
            raise JsonError(f"{PREFIX}exceeded max recursion depth")
        if kind == "{":
            return self._members(depth, read)
        if kind == "[":
            return self._items(depth, read)
        if kind not in VALUES:
            self._unexpected(text)
        try:
            return decode_floats(text.encode())
        except JsonError:
            if not read:
                return None
            self._error(self.start, f"invalid {VALUE.kind}: {text}")

    def _members(self, depth: int, read: bool) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, raw, place in self._names():
            if read and name in found:
                self._error(place, f"duplicate map key {raw}")
            found[name] = self._value(depth + 1, read)
        return found

    def _items(self, depth: int, read: bool) -> list[Any]:
        items: list[Any] = []
        kind, text = self._token()
        if kind == "]":
            return items
        while True:
            items.append(self._rest(kind, text, depth + 1, read))
            kind, text = self._token()
            if kind == "]":
                return items
            if kind != ",":
                self._unexpected(text)
            kind, text = self._token()

    def _unexpected(self, text: str) -> NoReturn:
        self._syntax(f"unexpected token {text}")

    def _syntax(self, problem: str) -> NoReturn:
        raise JsonError(f"{PREFIX}syntax error ({self._where(self.start)}): {problem}")

    def _error(self, place: int, problem: str) -> NoReturn:
        raise JsonError(f"{PREFIX}({self._where(place)}): {problem}")

    def _where(self, place: int) -> str:
        before = self.data[:place]
        line = before.count(b"\n") + 1
        column = len(before.rpartition(b"\n")[2].decode("utf-8", "replace")) + 1
        return f"line {line}:{column}"


def _go_quoted(data: bytes) -> str:
    """Go's %q of some bytes."""
    named = {0x22: '\\"', 0x5C: "\\\\", 7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r"}
    text = data.decode("utf-8", "surrogateescape")
    shown = (
        named.get(ord(char))
        or (char if char.isprintable() else f"\\x{ord(char) & 0xFF:02x}" if ord(char) < 0x80 or ord(char) >= 0xDC80 else char)
        for char in text
    )
    return '"' + "".join(shown) + '"'


def _quoted(byte: int) -> str:
    """Go's %q of a control character."""
    named = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r"}
    return "'" + named.get(byte, f"\\x{byte:02x}") + "'"


def encode_value(value: Any) -> bytes:
    """A google.protobuf.Value as JSON: keys sorted, nothing escaped that need not be."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
