"""Who may use which topic, and who sees which component."""

from __future__ import annotations

from typing import Any, cast

import pytest

from edge.app import App, Part, Parts
from edge.blocks.pubsub import PubSubService
from edge.blocks.scopes import PUBLISH, SUBSCRIBE, topic_allowed
from edge.errors import EdgeError

PROTECTED = {"protectedtopics": "alarms, keys", "publishingscopes": "shop=alarms;bare="}


@pytest.mark.parametrize(
    ("properties", "app", "topic", "allowed"),
    [
        ({}, "shop", "any", True),
        ({"allowedtopics": "a, b"}, "shop", "b", True),
        ({"allowedtopics": "a, b"}, "shop", "c", False),
        (PROTECTED, "shop", "alarms", True),
        (PROTECTED, "shop", "keys", False),
        (PROTECTED, "shop", "open", False),
        (PROTECTED, "other", "alarms", False),
        (PROTECTED, "other", "open", True),
        (PROTECTED, "bare", "open", False),
        ({"publishingscopes": "shop=a,b; other=c"}, "shop", "b", True),
        ({"publishingscopes": "shop=a,b; other=c"}, "shop", "c", False),
        ({"publishingscopes": "shop=a", "allowedtopics": "b"}, "shop", "a", False),
    ],
)
def test_scopes_say_which_topics_an_app_may_use(properties: dict[str, str], app: str, topic: str, allowed: bool) -> None:
    assert topic_allowed(properties, PUBLISH, app, topic) is allowed
    mirrored = {"subscriptionscopes" if name == "publishingscopes" else name: text for name, text in properties.items()}
    assert topic_allowed(mirrored, SUBSCRIBE, app, topic) is allowed


def test_a_component_is_there_for_the_apps_of_its_scopes_only() -> None:
    component = cast(Any, type("Bus", (), {"features": frozenset()})())
    parts = Parts([Part("bus", "pubsub.in-memory", "v1", component, scopes=("shop",)), Part("all", "pubsub.in-memory", "v1", component)])
    pubsub = PubSubService(parts, cast(Any, None))
    shop, other = App("shop"), App("other")

    assert pubsub.lookup(shop, "bus", "t").part.name == "bus"
    assert pubsub.lookup(other, "all", "t").part.name == "all"
    with pytest.raises(EdgeError) as caught:
        pubsub.lookup(other, "bus", "t")
    assert caught.value.code.tag == "ERR_PUBSUB_NOT_FOUND"
    assert [[part.name for part in found] for found in (parts.of("pubsub", other), parts.visible(other))] == [["all"], ["all"]]
