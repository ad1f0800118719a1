"""Topics of the local brokers: a subscription to `prefix*` gets every topic that begins with the prefix (as daprd's in-memory)."""

from __future__ import annotations


def matches(pattern: str, topic: str) -> bool:
    """`a.*` matches `a.b`; without a star at the end the texts are equal."""
    return topic.startswith(pattern[:-1]) if pattern.endswith("*") else topic == pattern
