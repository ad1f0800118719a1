"""Topic names and filters: what is valid, and which filter a topic matches (MQTT 3.1.1 §4.7, MQTT 5 §4.8.2 for `$share`)."""

from __future__ import annotations

import re
from collections.abc import Callable

LONGEST = 65535
SHARE = "$share/"


def topic_problem(topic: str) -> str | None:
    """Why a message cannot be published to `topic`, None when it can."""
    if not topic:
        return "the topic is empty"
    if "+" in topic or "#" in topic:
        return f"topic {topic} holds a wildcard (+ or #); brokers close the connection at such a message"
    return _text_problem("topic", topic)


def filter_problem(topic_filter: str) -> str | None:
    """Why `topic_filter` cannot be subscribed to, None when it can."""
    if topic_filter.startswith(SHARE) and not re.match(r"\$share/[^/+#]+/.", topic_filter):
        return f"shared subscription {topic_filter} has not the form $share/<group>/<filter>"
    levels = plain(topic_filter).split("/")
    if levels == [""]:
        return "the topic filter is empty"
    for position, level in enumerate(levels):
        if "#" in level and (level != "#" or position != len(levels) - 1):
            return f"topic filter {topic_filter}: # stands alone in the last level"
        if "+" in level and level != "+":
            return f"topic filter {topic_filter}: + stands alone in its level"
    return _text_problem("topic filter", topic_filter)


def _text_problem(what: str, text: str) -> str | None:
    if "\0" in text:
        return f"{what} holds a null character"
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return f"{what} is not valid Unicode text"
    return f"{what} has {size} bytes, the most is {LONGEST}" if size > LONGEST else None


def plain(topic_filter: str) -> str:
    """The filter without its `$share/<group>/`."""
    return topic_filter.split("/", 2)[2] if topic_filter.startswith(SHARE) and topic_filter.count("/") > 1 else topic_filter


def has_wildcard(topic_filter: str) -> bool:
    return "+" in topic_filter or "#" in topic_filter


def matcher(topic_filter: str) -> Callable[[str], bool]:
    """A predicate on concrete topics; wildcards in the first level do not match topics that begin with `$`."""
    body = plain(topic_filter)
    if not has_wildcard(body):
        return body.__eq__
    pattern = "".join(_level(level, position) for position, level in enumerate(body.split("/")))
    guard = r"(?!\$)" if body[0] in "+#" else ""
    found = re.compile(guard + pattern, re.DOTALL).fullmatch
    return lambda topic: found(topic) is not None


def _level(level: str, position: int) -> str:
    slash = "/" if position else ""
    if level == "#":
        return "(?:/.*)?" if position else ".*"  # `a/#` matches `a` too
    return slash + ("[^/]*" if level == "+" else re.escape(level))
