"""A damaged SQLite file read without SQLite: rows from every table leaf that can still be parsed, the WAL's newer pages first.

Source: sqlite.org/fileformat2.html (pages, cells, records, WAL frames). Whoever uses the rows must know them by their shape.
"""

from __future__ import annotations

import contextlib
import mmap
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from edge.database import wal
from edge.database.wal import SIZES, Bytes

MAGIC = b"SQLite format 3\x00"
DB_HEAD = 100
LEAF, INTERIOR, INDEX_LEAF, INDEX_INTERIOR = 0x0D, 0x05, 0x0A, 0x02
MOST_PAGES, DEEPEST = 1 << 20, 40
LARGEST_PAYLOAD = 1 << 28
MAX_ROWID = (1 << 63) - 1
Row = tuple[Any, ...]


class Pages:
    """The pages of a database file and its WAL. frames: page number → offset in the WAL of its newest image.

    late: with those of a last commit that may never have been (see `wal.certain`).
    """

    def __init__(self, path: Path, *, late: bool = False) -> None:
        self._data = _bytes(path)
        self._wal = _bytes(Path(f"{path}-wal"))
        self.size = _page_size(self._data, self._wal)
        certain = wal.certain(self._wal)
        self.frames = dict(frame[:2] for frame in islice(wal.frames(self._wal), None if late else certain))
        self.late = {frame[0] for frame in islice(wal.frames(self._wal), certain, None)} if late else set()
        self.known: Callable[[Sequence[int]], set[int]] | None = None
        """Of a page's rowids those whose rows are not wanted: looking into them is what takes the time."""
        self._usable = self.size - (self._data[20] if len(self._data) >= DB_HEAD and self._data[: len(MAGIC)] == MAGIC else 0)

    def image(self, number: int) -> bytes:
        """A page's newest bytes, b"" when there are none."""
        if (offset := self.frames.get(number)) is not None:
            return self._wal[offset : offset + self.size]
        return self._data[(number - 1) * self.size : number * self.size] if number > 0 else b""

    def rows(self, *, settled: bool = False) -> Iterator[tuple[int, Row]]:
        """(rowid, values) of every cell in a table leaf that makes sense, whichever table it belongs to.

        settled: the file was closed by its own process, so a page that it lists as free holds only rows that were deleted.
        """
        count, free = len(self._data) // self.size, self.free() if settled else frozenset()
        numbers = (*range(1, count + 1), *(number for number in self.frames if number > count))
        yield from self._rows_in(number for number in numbers if number not in free)

    def free(self) -> frozenset[int]:
        """Pages of the free list; none when the list does not hold together (fileformat2 §1.5)."""
        head = self.image(1)
        if len(head) != self.size or not head.startswith(MAGIC):
            return frozenset()
        trunk, total = struct.unpack_from(">II", head, 32)
        found: set[int] = set()
        while trunk and trunk not in found and len(found) < total:
            page = self.image(trunk)
            (following, count) = struct.unpack_from(">II", page) if len(page) == self.size else (0, self.size)
            if count > self.size // 4 - 2:
                return frozenset()
            found |= {trunk, *struct.unpack_from(f">{count}I", page, 8)}
            trunk = following
        return frozenset(found) if len(found) == total and not trunk else frozenset()

    def late_rows(self) -> Iterator[tuple[int, Row]]:
        """`rows` of the pages in `late`."""
        return self._rows_in(self.late)

    def _rows_in(self, numbers: Iterable[int]) -> Iterator[tuple[int, Row]]:
        for number in numbers:
            page = self.image(number)
            if len(page) == self.size and page[_start(number)] == LEAF:
                yield from self._cells(page, number, LEAF)

    def schema(self) -> list[Row]:
        """(type, name, table, root page, sql) of what sqlite_schema still says."""
        return [row for _, row in self.tree(1) if len(row) == 5 and isinstance(row[3], int) and isinstance(row[4], str)]

    def tree(self, root: int, seen: set[int] | None = None, depth: int = DEEPEST) -> Iterator[tuple[int, Row]]:
        """(rowid, values) of the rows below a page of a table (rowid 0 in one WITHOUT ROWID), whose key columns come first)."""
        page, seen = self.image(root), set() if seen is None else seen
        if len(page) != self.size or root in seen or len(seen) > MOST_PAGES or not depth:
            return
        seen.add(root)
        kind = page[_start(root)]
        if kind in (LEAF, INDEX_LEAF, INDEX_INTERIOR):
            yield from self._cells(page, root, kind)
        if kind in (INTERIOR, INDEX_INTERIOR):
            for child in self._children(page, root):
                yield from self.tree(child, seen, depth - 1)

    def _children(self, page: bytes, number: int) -> Iterator[int]:
        start = _start(number)
        for at in self._pointers(page, start, 12):
            if at + 4 <= len(page):
                yield struct.unpack_from(">I", page, at)[0]
        yield struct.unpack_from(">I", page, start + 8)[0]

    @staticmethod
    def _pointers(page: bytes, start: int, head: int) -> list[int]:
        (count,) = struct.unpack_from(">H", page, start + 3)
        return [struct.unpack_from(">H", page, at)[0] for at in range(start + head, min(start + head + 2 * count, len(page) - 1), 2)]

    def _cells(self, page: bytes, number: int, kind: int) -> Iterator[tuple[int, Row]]:
        places = self._pointers(page, _start(number), 12 if kind == INDEX_INTERIOR else 8)
        known = self._known_among(page, places) if self.known is not None and kind == LEAF else frozenset()
        for at in places:
            if at in known:
                continue
            try:
                yield self._cell(page, at + (4 if kind == INDEX_INTERIOR else 0), kind)
            except (ValueError, IndexError, struct.error, OverflowError):
                continue

    def _known_among(self, page: bytes, places: Iterable[int]) -> set[int]:
        """Places of cells that are known, or whose rowid is none of SQLite's."""
        rowids: dict[int, int] = {}
        for at in places:
            with contextlib.suppress(ValueError, IndexError):
                rowids[at] = _varint(page, _varint(page, at)[1])[0]
        assert self.known is not None
        known = self.known([rowid for rowid in rowids.values() if rowid <= MAX_ROWID])
        return {at for at, rowid in rowids.items() if rowid > MAX_ROWID or rowid in known}

    def _cell(self, page: bytes, at: int, kind: int) -> tuple[int, Row]:
        length, at = _varint(page, at)
        rowid = 0
        if kind == LEAF:
            rowid, at = _varint(page, at)
        if length > LARGEST_PAYLOAD:
            raise ValueError("no record is that long")
        local = self._local(length, kind)
        payload = page[at : at + local]
        if local < length:
            payload += self._overflow(struct.unpack_from(">I", page, at + local)[0], length - local)
        if len(payload) != length:
            raise ValueError("the payload is cut off")
        return rowid, _record(payload)

    def _local(self, length: int, kind: int) -> int:
        """How much of a payload stands in the page itself (fileformat2 §1.6)."""
        usable = self._usable
        most = usable - 35 if kind == LEAF else (usable - 12) * 64 // 255 - 23
        if length <= most:
            return length
        least = (usable - 12) * 32 // 255 - 23
        local = least + (length - least) % (usable - 4)
        return local if local <= most else least

    def _overflow(self, number: int, wanted: int) -> bytes:
        pieces, left = [], wanted
        while left > 0:
            page = self.image(number)
            if len(page) != self.size:
                raise ValueError("an overflow page is missing")
            pieces.append(page[4 : min(4 + left, self._usable)])
            left -= len(pieces[-1])
            (number,) = struct.unpack_from(">I", page)
        return b"".join(pieces)


def _bytes(path: Path) -> Bytes:
    """The file's content, mapped: it may be larger than memory."""
    try:
        with path.open("rb") as stream:
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        return b""


def _page_size(data: Bytes, log: Bytes) -> int:
    found = wal.page_size(log)
    if not found and len(data) >= DB_HEAD and data[: len(MAGIC)] == MAGIC:
        (found,) = struct.unpack_from(">H", data, 16)
        found = 65536 if found == 1 else found
    return found if found in SIZES else _guess(data)


def _guess(data: Bytes) -> int:
    """The header is gone: the page size at which most pages look like a table's leaf."""

    def leaves(size: int) -> int:
        return sum(_is_leaf(data[at : at + size]) for at in range(size, min(len(data), 4000 * size), size))

    return max((4096, 2048, 1024, 8192), key=leaves)


def _is_leaf(page: bytes) -> bool:
    if len(page) < 512 or page[0] != LEAF:
        return False
    count, content = struct.unpack_from(">HH", page, 3)
    pointers = Pages._pointers(page, 0, 8)
    return 0 < count == len(pointers) and min(pointers) >= content >= 8 + 2 * count and max(pointers) < len(page)


def _start(number: int) -> int:
    return DB_HEAD if number == 1 else 0


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        byte = data[at + index]
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            return value, at + index + 1
    return value << 8 | data[at + 8], at + 9


def _record(payload: bytes) -> Row:
    end, at = _varint(payload, 0)
    kinds = []
    while at < end:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    values: list[Any] = []
    for kind in kinds:
        value, at = _value(payload, at, kind)
        values.append(value)
    if at > len(payload):
        raise ValueError("a value is cut off")
    return tuple(values)


INT_SIZES = (0, 1, 2, 3, 4, 6, 8)


def _value(payload: bytes, at: int, kind: int) -> tuple[Any, int]:
    """Serial types of fileformat2 §2.1."""
    if kind >= 12:
        end = at + (kind - 12) // 2
        piece = payload[at:end]
        return (piece if kind % 2 == 0 else piece.decode()), end
    if kind <= 6:
        end = at + INT_SIZES[kind]
        return (int.from_bytes(payload[at:end], "big", signed=True) if kind else None), end
    if kind == 7:
        return struct.unpack_from(">d", payload, at)[0], at + 8
    if kind in (8, 9):
        return kind - 8, at
    raise ValueError("a reserved serial type")
