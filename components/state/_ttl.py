"""`ttlInSeconds` of a request's metadata, with the texts of Dapr's stores."""

from __future__ import annotations

from collections.abc import Mapping

from edge.errors import Invalid
from edge.gointeger import parse_int

MOST_SECONDS = 2147483647
WRONG = "error parsing TTL: incorrect value for metadata 'ttlInSeconds'"


def parse_ttl(metadata: Mapping[str, str]) -> int | None:
    """Seconds to live; None = not given, <= 0 = never expires. Raises Invalid."""
    if not metadata or "ttlInSeconds" not in metadata or not metadata["ttlInSeconds"]:
        return None
    text = metadata["ttlInSeconds"]
    try:
        seconds = parse_int(text)
    except ValueError as error:
        raise Invalid(f"{WRONG}: {error}") from None
    if not -1 <= seconds <= MOST_SECONDS:
        raise Invalid(f"{WRONG}: must be -1 or greater")
    return seconds
