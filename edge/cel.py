"""Conditions in Dapr's Common Expression Language: routing rules over `event`, circuit breaker trips over counters.

The library is the Rust interpreter of the wheel `common-expression-language`; only its extension module is loaded (7 ms, 4 MB), not the
package, whose command line tool costs 360 ms and 25 MB. It agrees with cel-go, as daprd drives it, on 144 of the 150 expressions of
`tests/data/cel.json`; the others stand in the test with their reason.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from orjson import Fragment, dumps

LONGEST = 16 << 10
# A text literal, or has() of a plain path: what has() looks into, and the field.
HAS = re.compile(
    r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|\bhas\(\s*"""
    r"""([A-Za-z_]\w*(?:\.\w+|\[\s*(?:"[^"\\]*"|'[^'\\]*'|\d+)\s*\])*)\.(\w+)\s*\)"""
)


class CelError(Exception):
    """The expression can't be compiled or evaluated, or gives no bool."""


class Condition:
    """A compiled expression. Raises CelError if `text` is no CEL."""

    __slots__ = ("_functions", "_program", "text")

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise CelError(f"the expression is longer than {LONGEST} characters")
        self.text = text
        try:
            self._program = _library().compile(HAS.sub(_guarded, text))
        except ValueError as error:
            raise CelError(_first_line(error)) from None
        self._functions = {name: function for name, function in FUNCTIONS.items() if f"{name}(" in text}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Condition) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def match(self, event: Any) -> bool:
        """Whether it is true of an event (a mapping, or text). Raises CelError on an error in it or a result that is no bool."""
        return self.holds({"event": event})

    def holds(self, variables: Mapping[str, Any]) -> bool:
        """Whether it is true with these variables; numbers in structures are doubles, as JSON's are in Dapr. Raises CelError."""
        try:
            result = self._program.execute({name: _value(value) for name, value in variables.items()} | self._functions)
        except Exception as error:  # the extension raises whatever fits: KeyError, TypeError, RuntimeError, ArithmeticError
            raise CelError(_first_line(error)) from error
        if result is True or result is False:
            return result
        raise CelError(f"the result is {result!r}, which is no bool")


def _bool(value: bool | str) -> bool:
    if isinstance(value, bool):
        return value
    return BOOLS[value]


def _string(value: bool) -> str:
    return "true" if value else "false"


def _timestamp(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _matches(text: str, pattern: str) -> bool:
    found: bool = _library().compile("text.matches(pattern)").execute({"text": text, "pattern": pattern})
    return found


BOOLS = dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True) | dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False)
# Of the standard, for what the library's functions of these names do not take.
FUNCTIONS: dict[str, Callable[..., Any]] = {"bool": _bool, "string": _string, "timestamp": _timestamp, "matches": _matches}


def _guarded(found: re.Match[str]) -> str:
    """has() below a text, a number or null is false, as cel-go says; the library fails there. Such an event is no broken rule."""
    literal, place, field = found.groups()
    return literal or f"((type({place}) == map || type({place}) == list) && has({place}.{field}))"


def _value(value: Any) -> Any:
    """A top-level integer stays one (the breaker's counters); inside structures JSON's numbers become doubles."""
    return _doubles(value) if isinstance(value, (dict, list, Fragment)) else value


def _doubles(value: Any) -> Any:
    kind = type(value)
    if kind is str:
        return value
    if kind is dict:
        return {key: _doubles(item) for key, item in value.items()}
    if kind is int or kind is Fragment:
        return float(value if kind is int else dumps(value))
    return [_doubles(item) for item in value] if kind is list else value


def _first_line(error: Exception) -> str:
    text = str(error).split("\n", 1)[0]
    return f"no such key: {text}" if isinstance(error, KeyError) else text


@cache
def _library() -> Any:
    """The extension module alone; loaded at the first condition."""
    if (loaded := sys.modules.get("cel.cel")) is not None:
        return loaded
    from importlib.machinery import PathFinder  # with the first condition only
    from importlib.util import find_spec, module_from_spec

    package = find_spec("cel")
    spec = PathFinder.find_spec("cel.cel", package.submodule_search_locations) if package is not None else None
    if spec is None or spec.loader is None:
        raise CelError("the package common-expression-language is not installed; routing rules and circuit breaker trips need it")
    module = sys.modules["cel.cel"] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
