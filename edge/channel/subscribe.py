"""What `GET /dapr/subscribe` answers, read as Go's decoder reads it (app-channel.md §3.1)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from edge import gojson
from edge.channel.answers import field
from edge.goscanner import JsonError
from edge.model import BulkSubscribe, Rule, Subscription

log = logging.getLogger("dapr.runtime.processor.pubsub")
STRUCT = "SubscriptionJSON"


def parse_subscriptions(body: bytes) -> list[Subscription]:
    """The subscriptions of the answer's body; entries without a route are left out with a warning. Raises JsonError with Go's text."""
    if not body.strip():
        return []
    answer = gojson.parse(body, stream=True)
    if answer is None:
        return []
    if not isinstance(answer, list):
        raise gojson.mismatch(answer, "[]pubsub.SubscriptionJSON")
    found = [_subscription(item) for item in answer]
    for subscription in found:
        if not subscription.rules:
            log.warning("topic %s has an empty routes. removing from subscriptions list", subscription.topic)
    return [subscription for subscription in found if subscription.rules]


def _subscription(item: Any) -> Subscription:
    if not isinstance(item, dict):
        raise gojson.mismatch(item, "pubsub.SubscriptionJSON")
    routes = _member(item, "routes", dict, "pubsub.RoutesJSON") or {}
    rules = [_rule(rule) for rule in _member(routes, "rules", list, "[]*pubsub.RuleJSON", "routes.rules") or []]
    default = _text(routes, "default", "routes.default") or _text(item, "route")
    if default:
        rules.append(Rule("", default))
    return Subscription(
        pubsub=_text(item, "pubsubname"),
        topic=_text(item, "topic"),
        rules=tuple(rules),
        dead_letter_topic=_text(item, "deadLetterTopic"),
        metadata=_metadata(item),
        bulk=_bulk(item),
    )


def _rule(rule: Any) -> Rule:
    if not isinstance(rule, dict):
        raise gojson.mismatch(rule, "pubsub.RuleJSON", f"{STRUCT}.routes.rules")
    return Rule(_text(rule, "match", "routes.rules.match").strip(), _text(rule, "path", "routes.rules.path"))


def _metadata(item: Mapping[str, Any]) -> dict[str, str]:
    metadata = _member(item, "metadata", dict, "map[string]string") or {}
    for value in metadata.values():
        if not isinstance(value, str | None):
            raise gojson.mismatch(value, "string", f"{STRUCT}.metadata")
    return {key: value or "" for key, value in metadata.items()}


def _bulk(item: Mapping[str, Any]) -> BulkSubscribe:
    bulk = _member(item, "bulkSubscribe", dict, "pubsub.BulkSubscribeJSON") or {}
    enabled = _member(bulk, "enabled", bool, "bool", "bulkSubscribe.enabled") or False
    most = _member(bulk, "maxMessagesCount", int, "int32", "bulkSubscribe.maxMessagesCount") or 0
    wait_ms = _member(bulk, "maxAwaitDurationMs", int, "int32", "bulkSubscribe.maxAwaitDurationMs") or 0
    return BulkSubscribe(enabled, most if most > 0 else 100, wait_ms / 1000 if wait_ms > 0 else 1.0)


def _text(item: Mapping[str, Any], name: str, path: str = "") -> str:
    return str(_member(item, name, str, "string", path) or "")


def _member(item: Mapping[str, Any], name: str, kind: type, target: str, path: str = "") -> Any:
    value = field(item, name)
    if value is None:
        return None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise gojson.mismatch(value, target, f"{STRUCT}.{path or name}")
    return value


__all__ = ["JsonError", "parse_subscriptions"]
