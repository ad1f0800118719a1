"""A WAL read without SQLite: its frames, and how far they belong to commits whose writers may have been told of them.

Source: sqlite.org/fileformat2.html §4 (header, frames, checksums).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator

MAGIC_LITTLE, MAGIC_BIG = 0x377F0682, 0x377F0683
HEAD, FRAME_HEAD = 32, 24
SIZES = tuple(1 << power for power in range(9, 17))
Bytes = bytes | mmap.mmap
Frame = tuple[int, int, int]


def page_size(wal: Bytes) -> int:
    """Of the pages in it; 0 = this is no WAL."""
    if len(wal) < HEAD or struct.unpack_from(">I", wal)[0] not in (MAGIC_LITTLE, MAGIC_BIG):
        return 0
    size: int = struct.unpack_from(">I", wal, 8)[0]
    return size if size in SIZES else 0


def frames(wal: Bytes) -> Iterator[Frame]:
    """(page number, offset of its image, size of the database in pages where this frame ends a commit, else 0) of the present WAL."""
    if not (size := page_size(wal)):
        return
    salts = wal[16:24]
    for at in range(HEAD, len(wal) - FRAME_HEAD - size + 1, FRAME_HEAD + size):
        number, commit = struct.unpack_from(">II", wal, at)
        if wal[at + 8 : at + 16] == salts and number > 0:
            yield number, at + FRAME_HEAD, commit


def certain(wal: Bytes) -> int:
    """How many of the frames belong to commits that are there or were there.

    That is what SQLite reads, and behind a damaged frame what has a whole commit after it: nothing is written there before the flush
    of the one before. The rest may be a commit that a kill or a power cut interrupted: it never was.
    """
    found = list(frames(wal))
    valid = _valid(wal, found)
    for last in range(len(found) - 1, valid, -1):
        if found[last][2] and _follows(wal, found[last]):
            return max((at + 1 for at in range(valid, last) if found[at][2]), default=valid)
    return valid


def _valid(wal: Bytes, found: list[Frame]) -> int:
    """Frames of the commits in the unbroken chain from the start."""
    count, wanted = 0, HEAD + FRAME_HEAD
    for at, frame in enumerate(found):
        if frame[1] != wanted or not _follows(wal, frame):
            break
        wanted += FRAME_HEAD + page_size(wal)
        if frame[2]:
            count = at + 1
    return count


def _follows(wal: Bytes, frame: Frame) -> bool:
    """Its checksum goes on from that of the frame before it."""
    size, at = page_size(wal), frame[1] - FRAME_HEAD
    before = 24 if at == HEAD else at - size - FRAME_HEAD + 16
    order = ">" if struct.unpack_from(">I", wal)[0] == MAGIC_BIG else "<"
    one, two = struct.unpack_from(">II", wal, before)
    words = struct.unpack(f"{order}{2 + size // 4}I", wal[at : at + 8] + wal[frame[1] : frame[1] + size])
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = one + first + two & 0xFFFFFFFF
        two = two + second + one & 0xFFFFFFFF
    return (one, two) == struct.unpack_from(">II", wal, at + 16)
