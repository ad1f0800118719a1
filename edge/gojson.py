"""JSON as Go's encoding/json reads and writes it: sorted keys, `\\u003c` escapes, numbers with their text kept, its error texts.

Every JSON text that Dapr re-serialises (event data, state values, binding data) passes through `canonical`. The common case costs two
orjson calls: if a plain round trip gives the input back but for white space, no number or string was changed by it; else the standard
library parses with the numbers' texts. Source: Go 1.26 encoding/json (decode.go, encode.go, scanner.go), observed through daprd.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

import orjson

from edge.goscanner import WHITE, JsonError, scan

SORTED = orjson.OPT_SORT_KEYS
ESCAPES = (
    (b"<", b"\\u003c"),
    (b">", b"\\u003e"),
    (b"&", b"\\u0026"),
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
)
KINDS = {dict: "object", list: "array", str: "string", bool: "bool"}
MAP = "map[string]interface {}"
LONE = re.compile("[\ud800-\udfff]")
LONGEST_INT = 18
WHITE_SPACE = re.compile(rb"[ \t\r\n]")
STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
SPACES = re.compile(rb"(" + STRING + rb")|[ \t\r\n]+")
TOKEN = re.compile(STRING + rb"|[{}\[\],:]")
OPEN, CLOSE = (b"{", b"["), (b"}", b"]")
TOO_DEEP = "invalid character '[' exceeded max depth"


def canonical(data: bytes, *, stream: bool = False) -> bytes:
    """The value of `data` as Go writes it after reading it with UseNumber.

    stream: read one value and ignore what follows, as a Go json.Decoder does; else the whole text must be one value.
    Raises JsonError.
    """
    return encode(parse(data, stream=stream))


def parse(data: bytes, *, stream: bool = False) -> Any:
    """The value of `data`; numbers that Python or orjson would write differently are kept as `orjson.Fragment`. Raises JsonError."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return _parse_odd(data, stream)
    try:
        plain = orjson.dumps(value)
    except TypeError:  # deeper than it writes
        return _parse_exact(data.decode())
    if plain == data or plain.translate(None, b" ") == data.translate(None, WHITE):
        return value
    return _parse_exact(data.decode())


def parse_object(data: bytes, *, stream: bool = False) -> dict[str, Any]:
    """As `parse`; raises JsonError with Go's text when the value is no object (null is an empty one)."""
    value = parse(data, stream=stream)
    if isinstance(value, dict):
        return value
    if value is None:
        return {}
    raise mismatch(value, MAP)


def read_object(data: bytes) -> dict[str, Any]:
    """An object for reading only (numbers as Python has them); errors as `parse_object`."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return parse_object(data)
    return value if isinstance(value, dict) else parse_object(data)


def mismatch(value: Any, target: str, field: str = "") -> JsonError:
    """Go's UnmarshalTypeError. field: `Struct.name` when the value stands in a struct's field."""
    where = f"struct field {field} of type {target}" if field else f"value of type {target}"
    return JsonError(f"json: cannot unmarshal {KINDS.get(type(value), 'number')} into Go {where}")


def encode(value: Any) -> bytes:
    """Go's json.Marshal of what `parse` gives. Raises JsonError for what JSON can't hold."""
    try:
        out = orjson.dumps(value, option=SORTED)
    except TypeError:
        out = _written(value)
    return escape(out)


class _Piece(bytes):
    """Text that is written already."""


def _written(value: Any) -> bytes:
    """What orjson refuses: lone surrogates, more than 254 levels."""
    out: list[bytes] = []
    left: list[Any] = [value]
    while left:
        match left.pop():
            case _Piece() as piece:
                out.append(piece)
            case dict() as members:
                pieces = [part for key in sorted(members) for part in (_Piece(b"%b:" % _text(key)), members[key], _Piece(b","))]
                left += reversed([_Piece(b"{"), *pieces[:-1], _Piece(b"}")])
            case list() as items:
                pieces = [part for item in items for part in (item, _Piece(b","))]
                left += reversed([_Piece(b"["), *pieces[:-1], _Piece(b"]")])
            case str() as text:
                out.append(_text(text))
            case other:
                out.append(orjson.dumps(other))
    return b"".join(out)


def _text(text: str) -> bytes:
    return orjson.dumps(LONE.sub("\ufffd", text))


def escape(out: bytes) -> bytes:
    """Go's HTML-safe escapes on JSON text (these bytes occur only inside strings)."""
    if b"<" in out or b">" in out or b"&" in out or b"\xe2\x80" in out:
        for char, text in ESCAPES:
            out = out.replace(char, text)
    return out


def compact(text: bytes) -> bytes:
    """Valid JSON text as Go writes a RawMessage: as it was given, without white space between its tokens, HTML-safe."""
    return escape(SPACES.sub(rb"\1", text) if WHITE_SPACE.search(text) else text)


def member(text: bytes, name: str) -> bytes | None:
    """The value text of the last member of that name (in any case) of the object that valid JSON text begins with."""
    key, begin, depth, found = "", -1, 0, None
    for token in TOKEN.finditer(text):
        char = token[0][:1]
        depth -= char in CLOSE
        if begin < 0 and char == b'"':
            key = json.loads(token[0].decode("utf-8", "replace"))
        elif depth == 1 and char == b":":
            begin = token.end()
        elif begin >= 0 and (depth == 0 or (depth == 1 and char == b",")):
            found = text[begin : token.start()].strip(WHITE) if key.lower() == name else found
            begin = -1
        depth += char in OPEN
        if not depth:
            break
    return found


def quote(text: str) -> bytes:
    """A Go string as JSON text."""
    return escape(orjson.dumps(text)) if not LONE.search(text) else encode(text)


def quote_bytes(data: bytes) -> bytes:
    """Bytes that Go took for a string: each byte that is no UTF-8 becomes the escape `\\ufffd`."""
    try:
        return escape(orjson.dumps(data.decode()))
    except UnicodeDecodeError:
        parts = LONE.split(data.decode("utf-8", "surrogateescape"))
        return b'"' + b"\\ufffd".join(escape(orjson.dumps(part))[1:-1] for part in parts) + b'"'


def _parse_exact(text: str) -> Any:
    try:
        return _EXACT.decode(text)
    except RecursionError:
        raise JsonError(TOO_DEEP) from None


def _integer(text: str) -> Any:
    return orjson.Fragment(text) if text == "-0" or len(text) > LONGEST_INT else int(text)


def _no_constant(text: str) -> NoReturn:
    raise JsonError(f"invalid character '{text.lstrip('-')[0]}' looking for beginning of value")


_EXACT = json.JSONDecoder(parse_float=orjson.Fragment, parse_int=_integer, parse_constant=_no_constant)


def _parse_odd(data: bytes, stream: bool) -> Any:
    """What orjson refuses: either Go refuses it too, or it is a stream, lone surrogates or bytes that are no UTF-8."""
    end = scan(data, stream=stream)
    text = LONE.sub("\ufffd", data[:end].decode("utf-8", "surrogateescape"))
    value = _parse_exact(text.strip(WHITE.decode()))
    try:
        return _without_lone_surrogates(value)
    except RecursionError:
        raise JsonError(TOO_DEEP) from None


def _without_lone_surrogates(value: Any) -> Any:
    match value:
        case str():
            return LONE.sub("\ufffd", value)
        case dict():
            return {_without_lone_surrogates(key): _without_lone_surrogates(item) for key, item in value.items()}
        case list():
            return [_without_lone_surrogates(item) for item in value]
        case _:
            return value
