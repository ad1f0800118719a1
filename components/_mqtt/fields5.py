"""What the MQTT 5 components share: how their session is asked for, and which version a broker is spoken to in."""

from __future__ import annotations

from typing import Protocol

from components._mqtt.address import Broker
from components._mqtt.control import VERSION_5, Identity

VERSIONS = ("5", "3.1.1", "auto")
FOR_EVER = 0xFFFFFFFF
ALIASES = 32


class Fields5(Protocol):
    """The metadata fields that both have."""

    @property
    def clean_session(self) -> bool: ...
    @property
    def keep_alive(self) -> float: ...
    @property
    def protocol_version(self) -> str: ...
    @property
    def session_expiry(self) -> float: ...
    @property
    def receive_maximum(self) -> int: ...
    @property
    def max_packet_size(self) -> int: ...


def identity(fields: Fields5, broker: Broker, client_id: str) -> Identity:
    """Who connects. A session without an expiry is kept by the broker for ever, as one of MQTT 3.1.1 is."""
    return Identity(
        broker,
        client_id,
        fields.clean_session,
        fields.keep_alive,
        4 if fields.protocol_version == "3.1.1" else VERSION_5,
        0 if fields.clean_session else min(round(fields.session_expiry), FOR_EVER) or FOR_EVER,
        fields.receive_maximum,
        fields.max_packet_size,
        ALIASES,
        fallback=fields.protocol_version == "auto",
    )
