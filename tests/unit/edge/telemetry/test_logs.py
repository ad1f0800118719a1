"""Log lines: daprd's forms, and what becomes of a message that comes too often."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.telemetry.logs import AT_MOST, Lines


class Written:
    """A handler that writes into a file, and its lines."""

    def __init__(self, path: Path, *, as_json: bool) -> None:
        self.path = path
        self.handler = Lines("jar", as_json, os.open(path, os.O_WRONLY | os.O_CREAT))

    def log(self, text: str, *args: object, name: str = "dapr.runtime", level: int = logging.INFO, **extra: object) -> None:
        record = logging.LogRecord(name, level, __file__, 1, text, args, None)
        record.__dict__.update(extra)
        self.handler.handle(record)

    def lines(self) -> list[str]:
        return self.path.read_text().splitlines()


@pytest.fixture(params=[False, True], ids=["text", "json"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Written]:
    one = Written(tmp_path / "log", as_json=request.param)
    yield one
    os.close(one.handler.fd)


def test_json_is_compact_sorted_and_escaped_as_gos(tmp_path: Path) -> None:
    one = Written(tmp_path / "log", as_json=True)
    one.log("a <b> & c", fields={"code": 204, "method": "GET /v1.0/healthz"}, component="mq (pubsub.mqtt3/v1)")

    line = one.lines()[0]

    found = json.loads(line)
    assert list(found) == ["app_id", "code", "component", "instance", "level", "method", "msg", "scope", "time", "type", "ver"]
    assert '"code":204,"component":"mq (pubsub.mqtt3/v1)"' in line and '"msg":"a \\u003cb\\u003e \\u0026 c"' in line
    assert (found["level"], found["scope"], found["type"], found["msg"]) == ("info", "dapr.runtime", "log", "a <b> & c")


def test_a_message_that_comes_too_often_is_folded(written: Written) -> None:
    for number in range(AT_MOST + 900):
        written.log("connection %d is lost", number, level=logging.WARNING)
    written.log("something else")
    before = written.lines()

    written.handler.close()

    assert len(before) == AT_MOST + 1 and "something else" in before[-1]
    assert written.lines()[AT_MOST + 1 :] == [written.lines()[-1]]
    assert f"connection {AT_MOST + 899} is lost (one of 900 like this within a minute that are not shown)" in written.lines()[-1]


def test_what_was_asked_for_is_never_folded(written: Written) -> None:
    for _ in range(AT_MOST + 50):
        written.log("HTTP API Called", name="dapr.runtime.http-info")
        written.log("attempt", level=logging.DEBUG)

    written.handler.close()

    assert len(written.lines()) == 2 * (AT_MOST + 50)


def test_a_new_minute_tells_of_the_last(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("edge.telemetry.logs.time.monotonic", lambda: now)
    for _ in range(AT_MOST + 5):
        written.log("again")
    now += 61.0

    written.log("again")

    assert len(written.lines()) == AT_MOST + 2
    assert "one of 5 like this" in written.lines()[-2] and "again" in written.lines()[-1]


def test_journald_gets_each_lines_priority_and_others_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = (tmp_path / "journal").open("w")
    journal = os.fstat(about.fileno())
    monkeypatch.setenv("JOURNAL_STREAM", f"{journal.st_dev}:{journal.st_ino}")
    told, other = Written(tmp_path / "journal", as_json=False), Written(tmp_path / "log", as_json=False)

    for one in (told, other):
        one.log("link lost", level=logging.WARNING)
        one.log("up")
        os.close(one.handler.fd)
    about.close()

    assert [line[:8] for line in told.lines()] == ["<4>time=", "<6>time="]
    assert [line[:5] for line in other.lines()] == ["time=", "time="]
