"""What is left of a message's life when it leaves the journal."""

from __future__ import annotations

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
