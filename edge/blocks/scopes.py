"""Which topics of a pub/sub component an app may publish to or subscribe to (components.md §7.1)."""

from __future__ import annotations

from collections.abc import Mapping

PUBLISH, SUBSCRIBE = "publishingscopes", "subscriptionscopes"


def topic_allowed(properties: Mapping[str, str], scope: str, app_id: str, topic: str) -> bool:
    """The component's decision. properties: its metadata with lower-case names; scope: PUBLISH or SUBSCRIBE.

    Topics outside `allowedTopics` (when set) are forbidden; protected ones need a scope; an app that has a scope gets what it lists.
    """
    allowed = _topics(properties.get("allowedtopics", ""))
    if allowed and topic not in allowed:
        return False
    scoped = _scoped(properties.get(scope, ""), app_id)
    if not scoped and topic not in _topics(properties.get("protectedtopics", "")):
        return True
    return topic in scoped


def _topics(text: str) -> set[str]:
    return set(text.replace(" ", "").split(",")) if text else set()


def _scoped(text: str, app_id: str) -> set[str]:
    """Topics of `app1=t1,t2;app2=`; an app with nothing behind `=` has the scope {""}, which holds no topic."""
    found: set[str] = set()
    for part in text.replace(" ", "").split(";"):
        name, equals, topics = part.partition("=")
        if equals and name == app_id:
            found |= set(topics.partition("=")[0].split(","))
    return found
