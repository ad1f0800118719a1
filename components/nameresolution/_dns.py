"""The part of DNS that service discovery on a link needs: questions, PTR, SRV, TXT, A and AAAA records. Source: RFC 1035, RFC 6762."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

from edge.record import record

PTR, TXT, AAAA, A, SRV, ANY = 12, 16, 28, 1, 33, 255
IN, FLUSH = 1, 0x8000  # FLUSH: RFC 6762 §10.2 in answers; in questions the same bit asks for a unicast answer (§5.4)
RESPONSE = 0x8400
HEADER = struct.Struct("!6H")
RECORD = struct.Struct("!HHIH")
MOST_JUMPS = 32


class Malformed(ValueError):
    """Not a DNS message."""


@record
class Question:
    """name: lower case, labels by dots, without the last dot. A dot inside a label is written `\\.`."""

    name: str
    type: int


@record
class Record:
    """One record. target: of PTR and SRV. port: of SRV. texts: of TXT. address: of A and AAAA. ttl: seconds, 0 = it is gone."""

    name: str
    type: int
    ttl: int
    target: str = ""
    port: int = 0
    texts: tuple[str, ...] = ()
    address: str = ""


@record
class Packet:
    """A message. response: it has answers; records: of all sections."""

    id: int
    response: bool
    questions: tuple[Question, ...] = ()
    records: tuple[Record, ...] = ()


def parse(data: bytes) -> Packet:
    """Raises Malformed."""
    try:
        id_, flags, questions, *counts = HEADER.unpack_from(data)
        at, asked, found = HEADER.size, [], []
        for _ in range(questions):
            name, at = _name(data, at)
            kind, _ = struct.unpack_from("!2H", data, at)
            at += 4
            asked.append(Question(name.lower(), kind))
        for _ in range(sum(counts)):
            one, at = _record(data, at)
            if one is not None:
                found.append(one)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise Malformed(str(error)) from None
    return Packet(id_, bool(flags & 0x8000), tuple(asked), tuple(found))


def query(name: str) -> bytes:
    """A question for the instances of a service."""
    return HEADER.pack(0, 0, 1, 0, 0, 0) + _encoded(name) + struct.pack("!2H", PTR, IN)


def response(answers: Sequence[Record], extra: Sequence[Record] = (), id_: int = 0) -> bytes:
    """Answers and what belongs to them."""
    head = HEADER.pack(id_, RESPONSE, 0, len(answers), 0, len(extra))
    return head + b"".join(_packed(one) for one in (*answers, *extra))


def _packed(one: Record) -> bytes:
    match one.type:
        case 12:
            data, kind = _encoded(one.target), IN
        case 33:
            data, kind = struct.pack("!3H", 0, 0, one.port) + _encoded(one.target), IN | FLUSH
        case 16:
            data, kind = b"".join(bytes((len(text.encode()),)) + text.encode() for text in one.texts), IN | FLUSH
        case _:
            family = socket.AF_INET if one.type == A else socket.AF_INET6
            data, kind = socket.inet_pton(family, one.address), IN | FLUSH
    return _encoded(one.name) + RECORD.pack(one.type, kind, one.ttl, len(data)) + data


def _encoded(name: str) -> bytes:
    labels = [label.replace("\0", ".") for label in name.replace("\\.", "\0").split(".")]
    return b"".join(bytes((len(label.encode()[:63]),)) + label.encode()[:63] for label in labels if label) + b"\0"


def _name(data: bytes, at: int) -> tuple[str, int]:
    labels: list[str] = []
    end, jumps = -1, 0
    while length := data[at]:
        if length & 0xC0 == 0xC0:
            end = at + 2 if end < 0 else end
            at = (length & 0x3F) << 8 | data[at + 1]
            jumps += 1
            if jumps > MOST_JUMPS:
                raise Malformed("names point at each other")
            continue
        if at + 1 + length > len(data):
            raise Malformed("a name is cut off")
        labels.append(data[at + 1 : at + 1 + length].decode().replace(".", "\\."))
        at += 1 + length
    return ".".join(labels), at + 1 if end < 0 else end


def _record(data: bytes, at: int) -> tuple[Record | None, int]:
    name, at = _name(data, at)
    kind, _, ttl, length = RECORD.unpack_from(data, at)
    at += RECORD.size
    end = at + length
    if end > len(data):
        raise Malformed("a record is cut off")
    name = name.lower()
    match kind:
        case 12:
            return Record(name, kind, ttl, target=_name(data, at)[0].lower()), end
        case 33:
            return Record(name, kind, ttl, target=_name(data, at + 6)[0].lower(), port=struct.unpack_from("!H", data, at + 4)[0]), end
        case 16:
            return Record(name, kind, ttl, texts=_texts(data[at:end])), end
        case 1 if length == 4:
            return Record(name, kind, ttl, address=socket.inet_ntop(socket.AF_INET, data[at:end])), end
        case 28 if length == 16:
            return Record(name, kind, ttl, address=socket.inet_ntop(socket.AF_INET6, data[at:end])), end
    return None, end


def _texts(data: bytes) -> tuple[str, ...]:
    found, at = [], 0
    while at < len(data):
        size = data[at]
        found.append(data[at + 1 : at + 1 + size].decode("utf-8", "replace"))
        at += 1 + size
    return tuple(found)
