"""Whole numbers in texts as Go reads them, and refuses them in its words.

Source: Go 1.24 strconv Atoi, ParseInt, ParseUint, Quote.
"""

from __future__ import annotations

import re

SIGNED, UNSIGNED = re.compile(r"[+-]?[0-9]+"), re.compile(r"[0-9]+")
DIGITS = 20
NAMED = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", '"': '\\"', "\\": "\\\\"}


def parse_int(text: str, function: str = "ParseInt") -> int:
    """A 64-bit integer. function: whose error it is, `Atoi` reads alike. Raises ValueError."""
    if not SIGNED.fullmatch(text):
        raise ValueError(f"strconv.{function}: parsing {quote(text)}: invalid syntax")
    if _long(text) or not -(1 << 63) <= (value := int(text)) < 1 << 63:
        raise ValueError(f"strconv.{function}: parsing {quote(text)}: value out of range")
    return value


def parse_uint(text: str, bits: int = 64) -> int:
    """An unsigned integer of so many bits. Raises ValueError."""
    if not UNSIGNED.fullmatch(text):
        raise ValueError(f"strconv.ParseUint: parsing {quote(text)}: invalid syntax")
    if _long(text) or (value := int(text)) >= 1 << bits:
        raise ValueError(f"strconv.ParseUint: parsing {quote(text)}: value out of range")
    return value


def _long(text: str) -> bool:
    """More digits than 64 bits hold; `int` refuses thousands of them."""
    return len(text) > DIGITS and len(text.lstrip("+-0")) > DIGITS


def quote(text: str) -> str:
    """The text as a Go string literal, what cannot be printed escaped."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join([letter if letter.isprintable() and letter not in '"\\' else _escaped(letter) for letter in text]) + '"'


def _escaped(letter: str) -> str:
    code = ord(letter)
    if code < 0x80:
        return NAMED.get(letter) or f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
