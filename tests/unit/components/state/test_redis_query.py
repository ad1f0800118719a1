"""What state.redis asks RediSearch, and how both shapes of its answer are read. No server with the module is packaged here."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from components.state._redis_keys import glob_of
from components.state._redis_query import Indexes
from edge.errors import Invalid

INDEXES = json.dumps([{"name": "people", "indexes": [{"key": "town", "type": "TEXT"}, {"key": "person.age", "type": "NUMERIC"}]}])


class Wire:
    """Keeps the command and gives an answer in the server's shape."""

    def __init__(self, answer: Any) -> None:
        self.command: tuple[Any, ...] = ()
        self._answer = answer

    async def execute_command(self, *words: Any) -> Any:
        self.command = words
        return self._answer


def ask(query: dict[str, Any], answer: Any = (0,), **metadata: str) -> tuple[tuple[Any, ...], Any]:
    wire = Wire(list(answer) if isinstance(answer, tuple) else answer)
    found = asyncio.run(Indexes.parse(INDEXES).search(wire, query, {"queryIndexName": "people"} | metadata))
    return wire.command, found


@pytest.mark.parametrize(
    ("filter_", "text"),
    [
        ({"EQ": {"town": "NY"}}, "(@var0:(NY))"),
        ({"EQ": {"person.age": 3}}, "(@var1:[3 3])"),
        ({"NEQ": {"town": "NY"}}, "-(@var0:(NY))"),
        ({"GT": {"person.age": 1.5}}, "(@var1:[(1.5 +inf])"),
        ({"LTE": {"person.age": 7}}, "(@var1:[-inf 7])"),
        ({"IN": {"town": ["NY", "LA"]}}, "((@var0:(NY))|(@var0:(LA)))"),
        ({"AND": [{"EQ": {"town": "NY"}}, {"OR": [{"GTE": {"person.age": 1}}, {"LT": {"person.age": 0}}]}]},
         "((@var0:(NY)) ((@var1:[1 +inf])|(@var1:[-inf (0])))"),
        ({"EQ": {"town": "a|b) @x"}}, "(@var0:(a\\|b\\) \\@x))"),
    ],
)  # fmt: skip
def test_filters_are_redisearchs(filter_: dict[str, Any], text: str) -> None:
    assert ask({"filter": filter_})[0][:3] == ("FT.SEARCH", "people", text)


def test_sort_and_page() -> None:
    command, found = ask({"sort": [{"key": "town", "order": "DESC"}], "page": {"limit": 2, "token": "4"}}, (1, b"k", [b"$.data", b"1"]))

    assert command[2:] == ("*", "SORTBY", "var0", "DESC", "LIMIT", "4", "2", "RETURN", "2", "$.data", "$.version")
    assert found.token == "5"


def test_both_answers_are_read() -> None:
    old = (1, b"app||k", [b"$.data", b'{"a":1}', b"$.version", b"7"])
    new = {"results": [{"id": b"app||k", "extra_attributes": {b"$.data": b'{"a":1}', b"$.version": b"7"}}]}

    for answer in (old, new):
        [item] = ask({}, answer)[1].items
        assert (item.key, item.data, item.etag) == ("app||k", b'{"a":1}', "7")


@pytest.mark.parametrize(
    ("query", "metadata", "text"),
    [
        ({"filter": {"EQ": {"other": 1}}}, {}, 'JSON path "other" is not indexed'),
        ({"filter": {"GT": {"town": "x"}}}, {}, "string type not permitted"),
        ({"filter": {"IN": {"town": ["x"]}}}, {}, "too few values"),
        ({"sort": [{"key": "town"}, {"key": "person.age"}]}, {}, "multiple SORTBY"),
        ({}, {"queryIndexName": "none"}, 'query index schema "none" not found'),
    ],
)
def test_what_redis_cannot_do_is_said(query: dict[str, Any], metadata: dict[str, str], text: str) -> None:
    with pytest.raises(Invalid, match=text):
        ask(query, **metadata)


@pytest.mark.parametrize(
    "text", ["{", "[1]", '[{"name": ""}]', '[{"name": "a"}, {"name": "a"}]', '[{"name": "a", "indexes": [{"key": "x"}]}]']
)
def test_bad_indexes_are_refused(text: str) -> None:
    with pytest.raises(Invalid, match="error parsing query index schema"):
        Indexes.parse(text)


@pytest.mark.parametrize(
    ("pattern", "glob"), [("a%b_c", "a*b?c"), ("a\\%\\_", "a%_"), ("*?[", "\\*\\?\\["), ("a\\\\b", "a\\\\b"), ("x\\", "x\\\\")]
)
def test_like_becomes_a_glob(pattern: str, glob: str) -> None:
    assert glob_of(pattern) == glob
