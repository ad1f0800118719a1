"""What a component's metadata say about its journal: options, filters, mistakes."""

from __future__ import annotations

import pytest

from edge.journal import Limits, Policy
from edge.journal.keeping import event_key, keeping, matcher
from edge.model import Message


def test_nothing_is_bounded_unless_asked_for() -> None:
    assert keeping({"url": "tcp://x"}).limits == Limits()
    assert keeping({}).topics == ()


def test_limits_rate_and_dedupe_are_read() -> None:
    kept = keeping(
        {"journalmaxbytes": "2Mi", "journalmaxage": "1h30m", "journalwhenfull": "drop-oldest", "journalrate": "50", "dedupe": "10m"}
    )

    assert kept.limits == Limits(2 << 20, 0, 5400.0, Policy.DROP_OLDEST)
    assert (kept.rate, kept.dedupe) == (50.0, 600.0)


def test_the_first_filter_that_matches_a_topic_counts() -> None:
    kept = keeping({"journaltopics": "alarms/#=priority:9 ; telemetry/+=whenFull:downsample,every:5,maxMessages:100;#=priority:1"})

    assert [kept.priority(topic) for topic in ("alarms/fire", "telemetry/a", "else")] == [9, 0, 1]
    assert kept.topics[1].limits == Limits(max_entries=100, policy=Policy.DOWNSAMPLE, every=5)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a=priority", "has no value"),
        ("a=prority:1", "did you mean priority"),
        ("a=whenFull:never", "not allowed"),
        ("=priority:1", "no filter"),
        ("a=maxMessages:-1", "out of range"),
    ],
)
def test_a_mistake_in_journal_topics_is_named(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        keeping({"journaltopics": text})


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("a/+/c", ["a/b/c", "a//c"], ["a/b", "a/b/c/d", "x/b/c"]),
        ("a/#", ["a", "a/b", "a/b/c"], ["b", "ab"]),
        ("#", ["a", "a/b"], []),
        ("orders*", ["orders", "orders-eu"], ["order"]),
        ("a", ["a"], ["a/b", "b"]),
    ],
)
def test_filters_match_as_in_mqtt(pattern: str, yes: list[str], no: list[str]) -> None:
    matches = matcher(pattern)

    assert all(map(matches, yes))
    assert not any(map(matches, no))


def test_only_events_have_a_key() -> None:
    assert event_key(Message("t", b'{"source":"s","id":"1","data":2}')) == "s|1"
    assert [event_key(Message("t", data)) for data in (b"21.5", b"\xff", b"[]", b'{"id":"1"}')] == ["", "", "", ""]
