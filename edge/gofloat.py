"""JSON values that Go reads into `interface{}`: numbers become float64 and are written again as Go writes float64.

State values, binding data and bulk events pass through here; event payloads keep their number texts (edge/gojson.py). One thing is
better than Go: integers beyond 2^53 stay what they are. Source: Go 1.26 encoding/json (floatEncoder), observed through daprd.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

import orjson

from edge.gojson import LONE, TOO_DEEP
from edge.goscanner import WHITE, JsonError, scan

# Cheap look for what may be, and a close look for what is, a number that orjson would read or write differently: -0, exponents,
# a fraction of zeros, very small ones, more than 64 bits.
SUSPECT = re.compile(rb"[0-9](?:[eE]|\.0|[0-9]{16})")
ODD = re.compile(rb"(?:^|[:\[,\s])(?:-0(?![.0-9]*[1-9])|-?(?:[0-9]{19}|[0-9]{17,}\.|[0-9]+(?:\.[0-9]+)?[eE]|[0-9]+\.0+(?![0-9])|0\.0000))")
SMALLEST_FIXED, LARGEST_FIXED = 1e-6, 1e21
LONGEST_INT = 18
LONGEST_FLOAT = 308  # digits that always are a float64


class Large:
    """A number that is no float64, or what holds one. text: the (first) number."""

    text = ""


class LargeNumber(Large):
    """The number itself."""

    def __init__(self, text: str) -> None:
        self.text = text


class LargeObject(dict[str, Any], Large):
    """An object that holds one."""


class LargeArray(list[Any], Large):
    """An array that holds one."""


class Overflow(JsonError):
    """A number is no float64."""


def decode_marked(data: bytes) -> Any:
    """As `decode`, for the readers of edge/gostruct.py: what is too large for a float64 is marked, they refuse it where Go reads it."""
    try:
        return decode(data)
    except Overflow:
        text = LONE.sub("\ufffd", data[: scan(data, stream=True)].decode("utf-8", "surrogateescape"))
        return _marked(_whole(_MARKING.decode(text.strip(WHITE.decode()))))


def _marked(value: Any) -> Any:
    if not isinstance(value, dict | list):
        return value
    inner = {key: _marked(item) for key, item in value.items()} if isinstance(value, dict) else [_marked(item) for item in value]
    large = next((item for item in (inner.values() if isinstance(inner, dict) else inner) if isinstance(item, Large)), None)
    if large is None:
        return inner
    holder = LargeObject(inner) if isinstance(inner, dict) else LargeArray(inner)
    holder.text = large.text
    return holder


def decode(data: bytes, *, stream: bool = True) -> Any:
    """The first JSON value in `data`, as a Go json.Decoder reads it (what follows is ignored). Odd numbers are `orjson.Fragment`s.

    stream: False = the whole text must be one value, as for json.Unmarshal.
    Raises JsonError with Go's text ("EOF" when there is nothing).
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return _decode_odd(data, stream)
    if SUSPECT.search(data) is None and b"-0" not in data:
        return value
    return value if ODD.search(data) is None else _exact(data.decode())


def float_text(value: float) -> str:
    """A finite float as Go writes it: shortest digits, exponent only below 1e-6 and from 1e21 on."""
    text = repr(value)
    if "e" not in text:
        return text.removesuffix(".0")
    mantissa, _, exponent = text.partition("e")
    power = int(exponent)
    if not SMALLEST_FIXED <= abs(value) < LARGEST_FIXED:
        return f"{mantissa}e{power}" if power < 0 else f"{mantissa}e+{power:02}"
    sign, digits = ("-", mantissa[1:]) if mantissa[0] == "-" else ("", mantissa)
    whole, _, fraction = digits.partition(".")
    if power < 0:
        return f"{sign}0.{'0' * (-power - len(whole))}{whole}{fraction}"
    return sign + whole + fraction.ljust(power, "0")


def _decode_odd(data: bytes, stream: bool) -> Any:
    """What orjson refuses: either Go refuses it too, or more follows, or lone surrogates, or bytes that are no UTF-8."""
    if stream and not data.strip(WHITE):
        raise JsonError("EOF")
    end = scan(data, stream=stream)
    value = _exact(LONE.sub("\ufffd", data[:end].decode("utf-8", "surrogateescape")).strip(WHITE.decode()))
    try:
        return _whole(value)
    except RecursionError:
        raise JsonError(TOO_DEEP) from None


def _exact(text: str) -> Any:
    try:
        return _DECODER.decode(text.strip())
    except RecursionError:
        raise JsonError(TOO_DEEP) from None


def _float(text: str) -> Any:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise Overflow(f"json: cannot unmarshal number {text} into Go value of type float64")
    return orjson.Fragment(float_text(value))


def _marking(text: str) -> Any:
    try:
        return _float(text)
    except Overflow:
        return LargeNumber(text)


def _integer(text: str) -> Any:
    if len(text) > LONGEST_FLOAT:
        _float(text)
    return orjson.Fragment(text) if text == "-0" or len(text) > LONGEST_INT else int(text)


def _marking_integer(text: str) -> Any:
    try:
        return _integer(text)
    except Overflow:
        return LargeNumber(text)


def _no_constant(text: str) -> NoReturn:
    raise JsonError(f"invalid character '{text.lstrip('-')[0]}' looking for beginning of value")


_DECODER = json.JSONDecoder(parse_float=_float, parse_int=_integer, parse_constant=_no_constant)
_MARKING = json.JSONDecoder(parse_float=_marking, parse_int=_marking_integer, parse_constant=_no_constant)


def _whole(value: Any) -> Any:
    """Lone surrogates (escapes in the text) become U+FFFD."""
    match value:
        case str():
            return LONE.sub("\ufffd", value)
        case dict():
            return {_whole(key): _whole(item) for key, item in value.items()}
        case list():
            return [_whole(item) for item in value]
        case _:
            return value
