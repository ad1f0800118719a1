"""What the blocks ask of a component before it opens: runtime-level metadata that would fail at the first call otherwise."""

from __future__ import annotations

from edge import errors
from edge.app import Part
from edge.blocks.encryption import PRIMARY, SECONDARY, Cipher
from edge.errors import Invalid

SEPARATOR = "||"


def accept(part: Part) -> None:
    """Raises Invalid, in Dapr's words where it has some."""
    if part.kind in ("state", "lock") and SEPARATOR in (prefix := part.properties.get("keyprefix", "")):
        raise Invalid(errors.STATE_ILLEGAL_KEY.message.format(key=prefix))
    if part.kind == "state" and (part.properties.get(PRIMARY) or part.properties.get(SECONDARY)):
        Cipher.of(part)
