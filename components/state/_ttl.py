"""`ttlInSeconds` of a request's metadata, with the texts of Dapr's stores."""

from __future__ import annotations

import re
from collections.abc import Mapping

from edge.errors import Invalid

MOST_SECONDS = 2147483647
WRONG = "error parsing TTL: incorrect value for metadata 'ttlInSeconds'"
NUMBER = re.compile(r"[+-]?[0-9]+")


def parse_ttl(metadata: Mapping[str, str]) -> int | None:
    """Seconds to live; None = not given, <= 0 = never expires. Raises Invalid."""
    if not metadata or "ttlInSeconds" not in metadata or not metadata["ttlInSeconds"]:
        return None
    text = metadata["ttlInSeconds"]
    if not NUMBER.fullmatch(text):
        raise Invalid(f'{WRONG}: strconv.ParseInt: parsing "{text}": invalid syntax')
    seconds = int(text)
    if not -(1 << 63) <= seconds < 1 << 63:
        raise Invalid(f'{WRONG}: strconv.ParseInt: parsing "{text}": value out of range')
    if not -1 <= seconds <= MOST_SECONDS:
        raise Invalid(f"{WRONG}: must be -1 or greater")
    return seconds
