"""What is left of a message's life when it leaves the journal."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from edge.journal.entry import Entry
from edge.journal.ttl import aged, outlived
from edge.model import Message


@pytest.mark.parametrize(("metadata", "age", "left"), [
    ({"ttlInSeconds": "60"}, 20.4, "40"),
    ({"ttl": "1m"}, 20.0, "40"),
    ({"TTLInSeconds": "60"}, 0.0, "60"),
    ({"ttlInSeconds": "60"}, 59.9, "1"),
    ({"ttlInSeconds": "60"}, 90.0, "1"),
    ({"ttlInSeconds": "60"}, -5.0, "60"),
])  # fmt: skip
def test_the_time_in_the_journal_is_taken_off(metadata: dict[str, str], age: float, left: str) -> None:
    entry = Entry(1, "out/p/t", Message("t", b"x", {**metadata, "site": "nord"}), enqueued=100.0)
    assert aged(entry, 100.0 + age).metadata == {"ttlInSeconds": left, "site": "nord"}
    assert outlived(entry, 100.0 + age) is (age > 60)


@pytest.mark.parametrize("metadata", [{}, {"site": "nord"}, {"ttlInSeconds": "0"}, {"ttlInSeconds": "soon"}])
def test_what_has_no_end_stays_as_it_is(metadata: dict[str, str]) -> None:
    entry = Entry(1, "out/p/t", Message("t", b"x", metadata), enqueued=100.0)
    assert aged(entry, 9999.0) is entry.message
    assert not outlived(entry, 9999.0)


def written(begin: datetime, life: float) -> bytes:
    """An event as edged writes it by a clock that says `begin`."""
    end = (begin + timedelta(seconds=life)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return b'{"data":"\\"expiration\\":","expiration":"%b","time":"%b"}' % (end.encode(), begin.isoformat().encode())


@pytest.mark.parametrize(("behind", "changed"), [(56 * 365 * 86400, True), (-1800, True), (86400, True), (0, False), (1, False)])
def test_an_event_expires_by_the_clock_that_is_right_when_it_is_sent(behind: float, changed: bool) -> None:
    now = datetime.now(UTC)
    data = written(now - timedelta(seconds=behind + 20), 60)

    sent = aged(Entry(1, "out/a/t", Message("t", data, {"ttlInSeconds": "60"}), enqueued=100.0), 120.0).data

    end = datetime.fromisoformat(json.loads(sent)["expiration"])
    assert (sent != data) is changed
    assert abs((end - now).total_seconds() - 40) < 3
    assert json.loads(sent) | {"expiration": ""} == json.loads(data) | {"expiration": ""}


def test_an_expiration_that_is_somebody_else_s_stays() -> None:
    for data in (
        b'{"expiration":"1970-01-01T00:00:00Z","time":"2020-01-01T00:00:00Z"}',
        b'"expiration":"x"',
        b'{"expiration":"1970-01-01T00:00:00Z"}',
    ):
        assert aged(Entry(1, "out/a/t", Message("t", data, {"ttlInSeconds": "60"}), enqueued=100.0), 120.0).data == data
