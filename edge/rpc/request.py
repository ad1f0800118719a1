"""The header list that opens a stream, checked (RFC 9113 §8.2, §8.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edge.rpc.frames import H2, StreamFault
from edge.rpc.hpack import Field

HOP_BY_HOP = frozenset(("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"))
NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+")
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # Go refuses these too (httpguts.ValidHeaderFieldValue)
PSEUDO = frozenset((":method", ":scheme", ":path", ":authority"))


@dataclass(frozen=True, slots=True)
class RequestHead:
    """pseudo: its `:` fields. fields: the others in order. length: of the announced body, -1 = not said."""

    pseudo: dict[str, str]
    fields: Sequence[Field]
    length: int

    @property
    def method(self) -> str:
        return self.pseudo[":method"]

    @property
    def path(self) -> str:
        """`/path?query`; "" of CONNECT."""
        return self.pseudo.get(":path", "")

    @property
    def authority(self) -> str:
        return self.pseudo.get(":authority", "")


def read_request(fields: Sequence[Field], stream_id: int) -> RequestHead:
    """Sort and check the fields of a request. Raises StreamFault PROTOCOL_ERROR on a malformed one."""
    pseudo: dict[str, str] = {}
    start = 0
    for name, value in fields:
        if name[:1] != ":":
            break
        if name not in PSEUDO or name in pseudo:
            raise StreamFault(stream_id, H2.PROTOCOL_ERROR)
        pseudo[name] = value
        start += 1
    method, aimed = pseudo.get(":method"), [bool(pseudo.get(":scheme")), bool(pseudo.get(":path"))]
    if not method or aimed != [method != "CONNECT"] * 2:  # CONNECT has neither (RFC 9113 §8.5)
        raise StreamFault(stream_id, H2.PROTOCOL_ERROR)
    rest = fields[start:]
    return RequestHead(pseudo, rest, check_fields(rest, stream_id))


def check_fields(fields: Sequence[Field], stream_id: int) -> int:
    """Fields of a request or of trailers, without pseudo-fields: the content-length, -1 if absent. Raises StreamFault."""
    length = -1
    for name, value in fields:
        if not NAME.fullmatch(name) or name in HOP_BY_HOP or (name == "te" and value != "trailers"):
            raise StreamFault(stream_id, H2.PROTOCOL_ERROR)
        if name == "content-length":
            if not (value.isascii() and value.isdigit()) or length not in (-1, int(value)):
                raise StreamFault(stream_id, H2.PROTOCOL_ERROR)
            length = int(value)
        if not value.isprintable() and CONTROL.search(value):
            raise StreamFault(stream_id, H2.PROTOCOL_ERROR)
    return length
