"""HPACK (RFC 7541): a lean decoder, and an encoder that indexes what repeats. Tables and Huffman code are those of the hpack library."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TypeAlias

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from edge.rpc.frames import H2, ConnectionFault

Field: TypeAlias = tuple[str, str]
Fields: TypeAlias = "list[Field] | tuple[Field, ...]"

TABLE_SIZE = 4096
OVERHEAD = 32  # RFC 7541 §4.1
STATIC: list[Field] = [("", "")] + [(name.decode(), value.decode()) for name, value in HeaderTable.STATIC_TABLE]
STATIC_FIELDS = {field: index for index, field in reversed(list(enumerate(STATIC))) if index}
STATIC_NAMES = {field[0]: index for index, field in reversed(list(enumerate(STATIC))) if index}
FIRST_DYNAMIC = len(STATIC)
MAX_SHIFT = 28


def _fault(reason: str) -> ConnectionFault:
    return ConnectionFault(H2.COMPRESSION_ERROR, reason)


class Decoder:
    """One direction's table. generation: changes whenever the table does, so that a block without literals may be remembered.

    max_list: largest decoded list (names + values + 32 each) that is kept.
    """

    def __init__(self, max_list: int) -> None:
        self.max_list = max_list
        self.generation = 0
        self._entries: deque[Field] = deque()
        self._used = 0
        self._size = TABLE_SIZE

    def decode(self, block: bytes) -> list[Field]:
        """The fields in order. Raises ConnectionFault COMPRESSION_ERROR, or ENHANCE_YOUR_CALM beyond `max_list`."""
        fields: list[Field] = []
        total, position, end = 0, 0, len(block)
        try:
            while position < end:
                byte = block[position]
                if byte & 0x80:
                    index = byte & 0x7F
                    position += 1
                    if index == 0x7F:
                        index, position = self._integer(block, position, 0x7F)
                    field = self._entry(index)
                elif byte & 0x40:
                    field, position = self._literal(block, position, 0x3F)
                    self._add(field)
                elif byte & 0x20:
                    if fields:
                        raise _fault("table size update after a field")
                    position = self._resize(block, position)
                    continue
                else:
                    field, position = self._literal(block, position, 0x0F)
                fields.append(field)
                total += len(field[0]) + len(field[1]) + OVERHEAD
                if total > self.max_list:
                    raise ConnectionFault(H2.ENHANCE_YOUR_CALM, "header list too large")
        except IndexError:
            raise _fault("truncated block") from None
        return fields

    def _entry(self, index: int) -> Field:
        if index < FIRST_DYNAMIC:
            if not index:
                raise _fault("index 0")
            return STATIC[index]
        if index - FIRST_DYNAMIC >= len(self._entries):
            raise _fault("index beyond the table")
        return self._entries[index - FIRST_DYNAMIC]

    def _literal(self, block: bytes, position: int, mask: int) -> tuple[Field, int]:
        index = block[position] & mask
        position += 1
        if index == mask:
            index, position = self._integer(block, position, mask)
        if index:
            name = self._entry(index)[0]
        else:
            name, position = self._string(block, position)
        value, position = self._string(block, position)
        return (name, value), position

    def _string(self, block: bytes, position: int) -> tuple[str, int]:
        byte = block[position]
        length = byte & 0x7F
        position += 1
        if length == 0x7F:
            length, position = self._integer(block, position, 0x7F)
        end = position + length
        raw = block[position:end]
        if len(raw) != length:
            raise _fault("truncated string")
        if byte & 0x80:
            try:
                raw = decode_huffman(raw)
            except HPACKDecodingError:
                raise _fault("Huffman code") from None
        return raw.decode("utf-8", "surrogateescape"), end

    @staticmethod
    def _integer(block: bytes, position: int, value: int) -> tuple[int, int]:
        shift = 0
        while True:
            byte = block[position]
            position += 1
            value += (byte & 0x7F) << shift
            if not byte & 0x80:
                return value, position
            shift += 7
            if shift > MAX_SHIFT:
                raise _fault("integer too long")

    def _resize(self, block: bytes, position: int) -> int:
        size = block[position] & 0x1F
        position += 1
        if size == 0x1F:
            size, position = self._integer(block, position, 0x1F)
        if size > TABLE_SIZE:
            raise _fault("table size above SETTINGS_HEADER_TABLE_SIZE")
        self._size = size
        self._evict(0)
        return position

    def _add(self, field: Field) -> None:
        needed = len(field[0]) + len(field[1]) + OVERHEAD
        self._evict(needed)
        if needed <= self._size:
            self._entries.appendleft(field)
            self._used += needed

    def _evict(self, needed: int) -> None:
        self.generation += 1
        while self._entries and self._used + needed > self._size:
            name, value = self._entries.pop()
            self._used -= len(name) + len(value) + OVERHEAD


INDEXED = frozenset((":path", ":authority", "content-type", "te", "user-agent", "grpc-status", "grpc-accept-encoding", "dapr-api-token"))
NO_TRACE = ("grpc-trace-bin", "AAAAAAAAAAAAAAAAAAAAAAAAAQAAAAAAAAAAAgA")  # of a call without a trace
NO_MESSAGE = ("grpc-message", "")
LONGEST_INDEXED = 256


class Encoder:
    """Writes header blocks. Fields named in INDEXED, and those of most answers, enter the peer's table until it is full; none leaves it."""

    def __init__(self) -> None:
        self._size = TABLE_SIZE
        self._known: dict[Field, int] = {}
        self._used = 0
        self._update = False
        self._blocks: dict[tuple[Field, ...], bytes] = {}

    def limit(self, size: int) -> None:
        """The peer's SETTINGS_HEADER_TABLE_SIZE: below ours, the table starts anew and the next block says so (RFC 7541 §4.2)."""
        if size < self._size:
            self._size = size
            self._known.clear()
            self._blocks.clear()
            self._used = 0
            self._update = True

    def encode(self, fields: Iterable[Field]) -> bytes:
        """A block; names are lower case."""
        out = bytearray()
        if self._update:
            self._update = False
            out += _integer(0, 0x1F, 0x20)
            if self._size:
                out += _integer(self._size, 0x1F, 0x20)
        for field in fields:
            if (index := STATIC_FIELDS.get(field)) is not None:
                out.append(0x80 | index)
            elif (number := self._known.get(field)) is not None:
                out += _integer(FIRST_DYNAMIC + len(self._known) - 1 - number, 0x7F, 0x80)
            else:
                self._write_literal(out, field)
        return bytes(out)

    def constant(self, fields: tuple[Field, ...]) -> bytes:
        """The same for a list that comes again and again: once its fields are in the table, the block is remembered."""
        block = self._blocks.get(fields)
        if block is None:
            known = len(self._known)
            block = self.encode(fields)
            if known == len(self._known) and all(field in STATIC_FIELDS or field in self._known for field in fields):
                self._blocks[fields] = block
        return block

    def _write_literal(self, out: bytearray, field: Field) -> None:
        name, value = field
        needed = len(name) + len(value) + OVERHEAD
        keep = (name in INDEXED or field in (NO_TRACE, NO_MESSAGE)) and len(value) <= LONGEST_INDEXED and self._used + needed <= self._size
        out += _integer(STATIC_NAMES.get(name, 0), 0x3F, 0x40) if keep else _integer(STATIC_NAMES.get(name, 0), 0x0F, 0)
        if name not in STATIC_NAMES:
            out += _string(name)
        out += _string(value)
        if keep:
            self._blocks.clear()  # every index moves
            self._known[field] = len(self._known)
            self._used += needed


def _integer(value: int, mask: int, flags: int) -> bytes:
    if value < mask:
        return bytes((flags | value,))
    out = bytearray((flags | mask,))
    value -= mask
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _string(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogateescape")
    return _integer(len(raw), 0x7F, 0) + raw
