"""Conditions say what cel-go says, as daprd drives it (answers recorded in tests/data/cel.json)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from orjson import Fragment

from edge.cel import CelError, Condition

RECORDED: dict[str, Any] = json.loads((Path(__file__).parents[2] / "data/cel.json").read_text())
DIFFERENT = {
    # the library answers where cel-go's type check refuses at start (unknown identifiers are `any`, mixed with literals)
    "event.data.n * 1.5 > 16": "true",
    "event.data.n - 1.0 == 10": "true",
    # cel-go indexes lists by doubles without a fraction
    "event.data.l[1.0] == 2": "error",
    "event.data.l[event.data.l[0]] == 2": "error",
    # not in the library
    'google.protobuf.Timestamp{seconds: 1} == timestamp("1970-01-01T00:00:01Z")': "error",
    # unknown functions: cel-go as daprd drives it never ends
    "optional.of(1).hasValue()": "true",
}


def answer(text: str) -> str:
    try:
        return str(Condition(text).match(RECORDED["event"])).lower()
    except CelError as error:
        return "no bool" if "no bool" in str(error) else "error"


@pytest.mark.parametrize(("text", "expected"), RECORDED["expressions"])
def test_it_answers_as_cel_go(text: str, expected: str) -> None:
    assert answer(text) == DIFFERENT.get(text, expected)


def test_numbers_in_events_are_doubles_even_those_kept_as_text() -> None:
    event = {"data": {"n": 3, "big": Fragment(b"12345678901234567890")}}

    assert Condition("event.data.n * 1.5 == 4.5").match(event)
    assert Condition("event.data.big > 1e19").match(event)


def test_counters_stay_integers() -> None:
    assert Condition("consecutiveFailures >= 2 && totalFailures % 2 == 0").holds({"consecutiveFailures": 2, "totalFailures": 4})


def test_a_text_event_is_compared_as_text() -> None:
    assert Condition("event == 'raw'").match("raw")


@pytest.mark.parametrize("text", ["event.type ==", "(" * 2000 + "1" + ")" * 2000, "x" * 20000, ""])
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(CelError):
        Condition(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("has(event.data.n)", False),
        ("!has(event.none.n)", True),
        ("has(event.map.k) && event.map.k == 1.0", True),
        ('has(event.map["a b"].z)', True),
        ("has(event.list[0].q) && event.list.exists(x, has(x.q))", True),
        ('event.word == "has(event.map.k)"', True),
    ],
)
def test_has_is_false_below_what_is_no_map(text: str, expected: bool) -> None:
    event = {"data": "plain", "none": None, "map": {"k": 1, "a b": {"z": 1}}, "list": [{"q": 1}], "word": "has(event.map.k)"}

    assert Condition(text).match(event) is expected


@pytest.mark.parametrize("text", ["has(event.missing.n)", "has(event.list.q)"])
def test_has_below_nothing_or_a_list_is_an_error(text: str) -> None:
    with pytest.raises(CelError):
        Condition(text).match({"list": []})


@pytest.mark.parametrize(
    "text", ['matches(event.w, "^a.c$")', 'bool("True")', "string(false) == 'false'", "timestamp(0) < timestamp('2020-01-01T00:00:00Z')"]
)
def test_functions_that_the_library_lacks(text: str) -> None:
    assert Condition(text).match({"w": "abc"})


def test_an_error_names_the_missing_key() -> None:
    with pytest.raises(CelError, match="no such key: 'nope'"):
        Condition("event.nope == 1").match({})


def test_nothing_of_the_library_is_imported_before_the_first_condition() -> None:
    code = "import sys, edge.cel; print(any(n == 'cel' or n.startswith('cel.') for n in sys.modules), end=' '); "
    code += "edge.cel.Condition('true'); print('cel.cli' in sys.modules, 'typer' in sys.modules)"

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20).stdout
    assert out.split() == ["False", "False", "False"]
