"""Statements on a real file, in the shape of daprd's PostgreSQL binding."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from edge.errors import Closed, ComponentError, Invalid, Unavailable
from tests.harness_components import opened

TYPE = "bindings.sqlite"


async def test_exec_then_query(tmp_path: Path) -> None:
    path = tmp_path / "plants #1?.db"
    async with opened(TYPE, tmp_path, {"connectionString": str(path)}) as binding:
        await binding.invoke("exec", b"", {"sql": "CREATE TABLE plant(name TEXT, height REAL, photo BLOB)"})
        insert = {"sql": "INSERT INTO plant VALUES (?,?,x'00ff'),(?,?,NULL)", "params": '["fern", 1.5, "moss", null]'}
        done = await binding.invoke("exec", b"", insert)
        rows = await binding.invoke("query", b"", {"sql": "SELECT * FROM plant WHERE name=?", "params": '["fern"]'})
        objects = await binding.invoke("query", b"", {"sql": "SELECT name, height FROM plant", "rows": "objects"})

    assert done.metadata["rows-affected"] == "2"
    assert {"operation", "sql", "start-time", "end-time", "duration"} <= set(done.metadata)
    assert json.loads(rows.data) == [["fern", 1.5, "AP8="]]
    assert json.loads(objects.data)[1] == {"name": "moss", "height": None}
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT count(*) FROM plant").fetchone() == (2,)
    other.close()


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({}, "required metadata not set: sql"),
        ({"sql": "SELECT 1", "params": "{"}, "invalid metadata property params: failed to unserialize into an array"),
        ({"sql": "SELECT 1", "params": '{"a":1}'}, "invalid metadata property params"),
        ({"sql": "SELEKT"}, 'error executing query: near "SELEKT": syntax error'),
        ({"sql": "ATTACH '/tmp/other.db' AS other"}, "error executing query: not authorized"),
        ({"sql": "SELECT 1; DROP TABLE plant"}, "error executing query: "),
    ],
)
async def test_bad_requests_say_what_is_wrong(tmp_path: Path, metadata: dict[str, str], text: str) -> None:
    async with opened(TYPE, tmp_path, {"connectionString": "f.db", "timeout": "5s"}) as binding:
        with pytest.raises(ComponentError, match=text.replace("(", r"\(")):
            await binding.invoke("query", b"", metadata)


async def test_a_statement_without_end_is_cut(tmp_path: Path) -> None:
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n) SELECT count(*) FROM n"
    async with opened(TYPE, tmp_path, {"connectionString": str(tmp_path / "f.db"), "timeout": "1s"}) as binding:
        with pytest.raises(Unavailable, match="context deadline exceeded"):
            await binding.invoke("query", b"", {"sql": endless})
        assert (await binding.invoke("query", b"", {"sql": "SELECT 1"})).data == b"[[1]]"


async def test_read_only_and_closed(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "f.db").close()
    async with opened(TYPE, tmp_path, {"connectionString": str(tmp_path / "f.db"), "readOnly": "true"}) as binding:
        with pytest.raises(Invalid, match="readonly database"):
            await binding.invoke("exec", b"", {"sql": "CREATE TABLE t(x)"})
        await binding.invoke("close", b"", {})
        await binding.invoke("close", b"", {})
        with pytest.raises(Closed):
            await binding.invoke("query", b"", {"sql": "SELECT 1"})
