"""`ttlInSeconds` of a message that waits, counted in time that the device was up: a wall clock without RTC cannot make it expire."""

from __future__ import annotations

from edge.journal.entry import Entry

KEY = "ttlInSeconds"


def outlived(entry: Entry, age: float) -> bool:
    """The message waited longer than its publisher wanted it to live."""
    text = entry.message.metadata.get(KEY) if entry.message.metadata else None
    if text is None:
        return False
    return text.isascii() and text.isdigit() and int(text) > 0 and age - entry.enqueued > int(text)
