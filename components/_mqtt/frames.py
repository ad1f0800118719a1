"""The packets that come by the thousand, as bytes: PUBLISH and its four acknowledgements (MQTT 3.1.1 §3.3-3.7, MQTT 5 alike)."""

from __future__ import annotations

from enum import IntEnum
from struct import Struct

CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 0x20, 0x30, 0x40, 0x50, 0x60, 0x70
SUBACK, UNSUBACK, PINGRESP, DISCONNECT = 0x90, 0xB0, 0xD0, 0xE0
PINGREQ = b"\xc0\x00"
LARGEST = 268_435_455
SHORT = Struct("!H").pack
ACK = Struct("!BBH").pack


class Qos(IntEnum):
    """Delivery guarantees (MQTT 3.1.1 §4.3)."""

    AT_MOST_ONCE = 0
    AT_LEAST_ONCE = 1
    EXACTLY_ONCE = 2


class Malformed(Exception):
    """The peer does not speak MQTT, or breaks its rules."""


def varint(number: int) -> bytes:
    """A variable byte integer (§2.2.3)."""
    if number < 128:
        return bytes((number,))
    out = bytearray()
    while True:
        number, low = number >> 7, number & 127
        if not number:
            out.append(low)
            return bytes(out)
        out.append(low | 128)


def read_varint(packet: bytes, position: int) -> tuple[int, int]:
    """The number at `position`, and where it ends. Raises Malformed (also when the bytes are cut off)."""
    value = shift = 0
    for index in range(position, min(position + 4, len(packet))):
        value |= (packet[index] & 127) << shift
        if not packet[index] & 128:
            return value, index + 1
        shift += 7
    raise Malformed("bad variable byte integer")


def publish(topic: bytes, data: bytes, qos: int, mid: int, *, retain: bool = False, dup: bool = False, properties: bytes = b"") -> bytes:
    """A PUBLISH packet. properties: MQTT 5's block with its length, nothing for 3.1.1."""
    size = 2 + len(topic) + (2 if qos else 0) + len(properties) + len(data)
    head = PUBLISH | (8 if dup else 0) | qos << 1 | retain
    return b"".join((bytes((head,)), varint(size), SHORT(len(topic)), topic, SHORT(mid) if qos else b"", properties, data))


def publish_size(topic: int, data: int, qos: int, properties: int) -> int:
    """Bytes of the whole PUBLISH, from those of its parts."""
    size = 2 + topic + (2 if qos else 0) + properties + data
    return 1 + len(varint(size)) + size


def acknowledgement(kind: int, mid: int) -> bytes:
    """PUBACK, PUBREC, PUBREL or PUBCOMP that says yes."""
    return ACK(kind | 2 if kind == PUBREL else kind, 2, mid)


def split(buffer: bytes) -> tuple[list[tuple[int, int, int]], int, int]:
    """The whole packets of `buffer` as (first byte, start and end of what follows the length), where the rest begins, and how many
    bytes the rest needs to hold one packet. Raises Malformed.
    """
    found: list[tuple[int, int, int]] = []
    position, size = 0, len(buffer)
    while size - position >= 2:
        start = position + 2
        length = buffer[position + 1]
        if length & 128:
            if size - position < 5 and all(byte & 128 for byte in buffer[position + 1 : size]):
                break
            length, start = read_varint(buffer, position + 1)
        if start + length > size:
            return found, position, start + length - position
        found.append((buffer[position], start, start + length))
        position = start + length
    return found, position, 2
