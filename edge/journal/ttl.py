"""The life of a message that waits, counted in time that the device was up: a wall clock without RTC cannot make it expire."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import orjson

from edge.events import ttl
from edge.journal.entry import Entry
from edge.model import Message

KEY = "ttlInSeconds"
NAMES = (KEY.lower(), "ttl")
EXPIRATION = b'"expiration":"%b"'
SLACK = 2.0
"""Seconds by which times in whole seconds may differ without a clock having been set."""


def outlived(entry: Entry, age: float) -> bool:
    """The message waited longer than its publisher wanted it to live."""
    if not entry.message.metadata:
        return False
    seconds = ttl(entry.message.metadata)
    return seconds is not None and seconds > 0 and age - entry.enqueued > seconds


def aged(entry: Entry, age: float) -> Message:
    """The message with what is left of its life, for a broker that counts on; at least a second.

    An event whose `expiration` edged wrote by a clock that was set since gets the one that leaves it as much.
    """
    message = entry.message
    if not message.metadata or not (seconds := ttl(message.metadata)):
        return message
    left = max(math.ceil(seconds - max(age - entry.enqueued, 0.0)), 1)
    metadata = {name: value for name, value in message.metadata.items() if name.lower() not in NAMES}
    return replace(message, metadata=metadata | {KEY: str(left)}, data=_expiring(message.data, seconds, time.time() + left))


def _expiring(data: bytes, seconds: float, at: float) -> bytes:
    """The event's text, expiring at that epoch second. seconds: the life it was given."""
    if EXPIRATION[:14] not in data:
        return data
    try:
        event = orjson.loads(data)
        text, end, begin = event["expiration"], _epoch(event, "expiration"), _epoch(event, "time")
    except (ValueError, KeyError, TypeError):
        return data
    if abs(end - begin - seconds) > SLACK or abs(end - at) <= SLACK:
        return data
    new = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return data.replace(EXPIRATION % text.encode(), EXPIRATION % new.encode(), 1)


def _epoch(event: Mapping[str, str], name: str) -> float:
    return datetime.fromisoformat(event[name]).timestamp()
