"""What `ListTopicSubscriptions` answers (app-channel.md §3.2)."""

from __future__ import annotations

from typing import Any

from edge.model import BulkSubscribe, Rule, Subscription

MOST_MESSAGES, LONGEST_WAIT = 100, 1.0


def subscription(one: Any) -> Subscription:
    """A TopicSubscription. No routes = one with the path ""."""
    rules = [Rule(rule.match.strip(), rule.path) for rule in one.routes.rules]
    if one.routes.default or not rules:
        rules.append(Rule("", one.routes.default))
    bulk = BulkSubscribe()
    if one.HasField("bulk_subscribe"):
        given = one.bulk_subscribe
        most, wait_ms = given.max_messages_count, given.max_await_duration_ms
        bulk = BulkSubscribe(given.enabled, most if most > 0 else MOST_MESSAGES, wait_ms / 1000 if wait_ms > 0 else LONGEST_WAIT)
    return Subscription(
        pubsub=one.pubsub_name,
        topic=one.topic,
        rules=tuple(rules),
        dead_letter_topic=one.dead_letter_topic,
        metadata=dict(one.metadata),
        bulk=bulk,
    )
