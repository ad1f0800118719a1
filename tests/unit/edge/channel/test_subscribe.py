"""What an app answers to /dapr/subscribe, read as daprd reads it."""

from __future__ import annotations

import pytest

from edge.channel.subscribe import parse_subscriptions
from edge.goscanner import JsonError
from edge.model import BulkSubscribe, Rule, Subscription
from tests.recorded import Row, rows

ANSWERED = [
    r
    for r in rows("app-http", "startup/subscribe-answer-")
    if isinstance(r["answer"], dict) and r["answer"]["status"] == 200 and "bad-match" not in r["id"]
]


def listed(subscription: Subscription) -> dict[str, object]:
    """As the metadata API shows it."""
    rules = [{"match": rule.match, "path": rule.path} if rule.match else {"path": rule.path} for rule in subscription.rules]
    shown: dict[str, object] = {"pubsubname": subscription.pubsub, "topic": subscription.topic}
    if subscription.metadata:
        shown["metadata"] = dict(subscription.metadata)
    return {**shown, "rules": rules, "deadLetterTopic": subscription.dead_letter_topic, "type": subscription.type.value}


@pytest.mark.parametrize("recorded", ANSWERED, ids=lambda r: r["id"])
def test_list_is_read_as_daprd_reads_it(recorded: Row) -> None:
    text = recorded["answer"].get("body", "").encode()
    logs = [line.removeprefix("error: error getting topics from app: ") for line in recorded["consequence"].get("log", ())]

    if logs:
        with pytest.raises(JsonError) as caught:
            parse_subscriptions(text)
        assert str(caught.value) == logs[0]
    else:
        found = {(one.pubsub, one.topic): listed(one) for one in parse_subscriptions(text)}  # the last for a topic counts
        assert list(found.values()) == (recorded["consequence"]["subscriptions_in_metadata"] or [])


def test_routes_come_in_order_with_the_default_last() -> None:
    text = b"""[{"pubsubname": "p", "topic": "t", "route": "/old", "deadLetterTopic": "dead",
        "routes": {"rules": [{"match": " event.type == 'a' ", "path": "/a"}, {"match": "", "path": "/b"}], "default": "/c"},
        "bulkSubscribe": {"enabled": true, "maxAwaitDurationMs": 400}}]"""

    (found,) = parse_subscriptions(text)

    assert found.rules == (Rule("event.type == 'a'", "/a"), Rule("", "/b"), Rule("", "/c"))
    assert (found.dead_letter_topic, found.bulk) == ("dead", BulkSubscribe(True, 100, 0.4))


def test_entry_without_a_route_is_left_out() -> None:
    found = parse_subscriptions(
        b'[{"pubsubname":"p","topic":"a"},{"pubsubname":"p","topic":"b","route":""},{"pubsubname":"p","topic":"c","route":"c"}]'
    )

    assert [one.topic for one in found] == ["c"]
