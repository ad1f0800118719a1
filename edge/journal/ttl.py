"""The life of a message that waits, counted in time that the device was up: a wall clock without RTC cannot make it expire."""

from __future__ import annotations

import math
from dataclasses import replace

from edge.events import ttl
from edge.journal.entry import Entry
from edge.model import Message

KEY = "ttlInSeconds"
NAMES = (KEY.lower(), "ttl")


def outlived(entry: Entry, age: float) -> bool:
    """The message waited longer than its publisher wanted it to live."""
    if not entry.message.metadata:
        return False
    seconds = ttl(entry.message.metadata)
    return seconds is not None and seconds > 0 and age - entry.enqueued > seconds


def aged(entry: Entry, age: float) -> Message:
    """The message with what is left of its life, for a broker that counts on; at least a second."""
    message = entry.message
    if not message.metadata or not (seconds := ttl(message.metadata)):
        return message
    left = str(max(math.ceil(seconds - max(age - entry.enqueued, 0.0)), 1))
    metadata = {name: value for name, value in message.metadata.items() if name.lower() not in NAMES}
    return replace(message, metadata=metadata | {KEY: left})
