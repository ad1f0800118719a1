"""What MQTT 5 adds to the fast packets: the property block of PUBLISH and the reason of an acknowledgement (MQTT 5 §2.2.2, §3.3.2.3)."""

from __future__ import annotations

import math
from struct import Struct, error

from components._mqtt.frames import Malformed, read_varint, varint
from edge.record import record

FORMAT, EXPIRY, CONTENT_TYPE, RESPONSE_TOPIC, CORRELATION = 0x01, 0x02, 0x03, 0x08, 0x09
SUBSCRIPTION, ALIAS, REASON, USER = 0x0B, 0x23, 0x1F, 0x26
SHORT, LONG = Struct("!H"), Struct("!I")
EXPIRES, ALIASED = Struct("!BI").pack, Struct("!BH").pack


@record
class Properties:
    """Of one PUBLISH. expiry: seconds. user: in order, names may repeat. text: the payload is said to be UTF-8."""

    expiry: int | None = None
    content_type: str = ""
    response_topic: str = ""
    correlation: bytes = b""
    alias: int = 0
    text: bool = False
    user: tuple[tuple[str, str], ...] = ()
    subscriptions: tuple[int, ...] = ()


EMPTY = b"\x00"
NONE = Properties()


class Block:
    """The property block of one message, made anew for each sending: the expiry interval shrinks, and an alias is the connection's.

    now: loop time at which `properties.expiry` was right. size: in bytes with its length, without an alias. Raises Malformed.
    """

    __slots__ = ("_fixed", "_until", "size")

    def __init__(self, properties: Properties, now: float) -> None:
        self._fixed = _fixed(properties)
        self._until = None if properties.expiry is None else now + properties.expiry
        self.size = len(self(now))

    def over(self, now: float) -> bool:
        """The message has outlived its expiry."""
        return self._until is not None and now > self._until

    def __call__(self, now: float, alias: int = 0) -> bytes:
        """At that loop time. An interval that is over stays 1 s: 0 means "for ever" to some brokers."""
        out = b""
        if self._until is not None:
            out = EXPIRES(EXPIRY, min(max(math.ceil(self._until - now), 1), 0xFFFFFFFF))
        if alias:
            out += ALIASED(ALIAS, alias)
        return varint(len(out) + len(self._fixed)) + out + self._fixed


def _fixed(properties: Properties) -> bytes:
    """What is the same at each sending."""
    out = bytearray()
    if properties.text:
        out += bytes((FORMAT, 1))
    for code, text in ((CONTENT_TYPE, properties.content_type), (RESPONSE_TOPIC, properties.response_topic)):
        if text:
            out += bytes((code,)) + _counted(text.encode())
    if properties.correlation:
        out += bytes((CORRELATION,)) + _counted(properties.correlation)
    for name, value in properties.user:
        out += bytes((USER,)) + _counted(name.encode()) + _counted(value.encode())
    return bytes(out)


def _counted(data: bytes) -> bytes:
    if len(data) > 65535:
        raise Malformed(f"an MQTT 5 property holds at most 65535 bytes, here are {len(data)}")
    return SHORT.pack(len(data)) + data


def read(packet: bytes, position: int) -> tuple[Properties, int]:
    """The block of a PUBLISH at `position`, and where the payload begins. Raises Malformed."""
    size, position = read_varint(packet, position)
    if not size:
        return NONE, position
    end = position + size
    found: dict[str, object] = {}
    user: list[tuple[str, str]] = []
    subscriptions: list[int] = []
    try:
        while position < end:
            position = _one(packet, position, found, user, subscriptions)
    except (IndexError, error, UnicodeDecodeError) as fault:
        raise Malformed(f"bad properties: {fault}") from None
    return Properties(**found, user=tuple(user), subscriptions=tuple(subscriptions)), end  # type: ignore[arg-type]


def _one(packet: bytes, at: int, found: dict[str, object], user: list[tuple[str, str]], subscriptions: list[int]) -> int:
    """Read one property; where the next begins."""
    code, at = packet[at], at + 1
    match code:
        case 0x01:
            found["text"] = bool(packet[at])
            return at + 1
        case 0x02:
            found["expiry"] = LONG.unpack_from(packet, at)[0]
            return at + 4
        case 0x23:
            found["alias"] = SHORT.unpack_from(packet, at)[0]
            return at + 2
        case 0x0B:
            number, at = read_varint(packet, at)
            subscriptions.append(number)
            return at
    data, at = _take(packet, at)
    match code:
        case 0x03:
            found["content_type"] = data.decode()
        case 0x08:
            found["response_topic"] = data.decode()
        case 0x09:
            found["correlation"] = data
        case 0x26:
            value, at = _take(packet, at)
            user.append((data.decode(), value.decode()))
        case _:
            raise Malformed(f"unknown property 0x{code:02x}")
    return at


def _take(packet: bytes, at: int) -> tuple[bytes, int]:
    size = SHORT.unpack_from(packet, at)[0]
    return packet[at + 2 : at + 2 + size], at + 2 + size


REASONS = {
    0x10: "No matching subscribers",
    0x80: "Unspecified error",
    0x83: "Implementation specific error",
    0x93: "Receive Maximum exceeded",
    0x96: "Message rate too high",
    0x87: "Not authorized",
    0x90: "Topic name invalid",
    0x91: "Packet identifier in use",
    0x92: "Packet identifier not found",
    0x95: "Packet too large",
    0x97: "Quota exceeded",
    0x99: "Payload format invalid",
}


def read_reason(packet: bytes, position: int, end: int) -> tuple[int, str]:
    """The reason code of an acknowledgement and its text, the broker's own if it gives one."""
    code = packet[position]
    text = REASONS.get(code, "reason")
    if code >= 0x80 and end - position > 1:
        size, at = read_varint(packet, position + 1)
        stop = at + size
        while at < stop:
            kind, (data, at) = packet[at], _take(packet, at + 1)
            if kind == USER:
                _, at = _take(packet, at)
            elif kind == REASON:
                return code, data.decode(errors="replace")
    return code, text
