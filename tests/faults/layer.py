"""The C layer between a sidecar and its disk (power.c): what was not synced is forgotten, writes and syncs fail or take long."""

from __future__ import annotations

import mmap
import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("power.c")
CC = shutil.which("cc") or shutil.which("gcc")
needs_cc = pytest.mark.skipif(CC is None, reason="there is no C compiler")
SLOW, WRITE_ERROR, SYNC_ERROR, SYNCS, BYTES = 0, 1, 2, 8, 9
SECTOR = 512


class Layer:
    """data: the folder whose databases are watched. shadow: where what was synced is kept."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.data, self.shadow = data, folder / "shadow"
        self.shadow.mkdir()
        self._library = folder / "power.so"
        subprocess.run([str(CC), "-O1", "-shared", "-fPIC", "-o", str(self._library), str(SOURCE), "-ldl", "-lpthread"], check=True)
        with (self.shadow / "control").open("wb+") as file:
            file.truncate(4096)
            self._control = mmap.mmap(file.fileno(), 4096)

    @property
    def env(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self._library), "FAULTS_DIR": str(self.data), "FAULTS_SHADOW": str(self.shadow)}

    def __getitem__(self, at: int) -> int:
        return int(struct.unpack_from("=Q", self._control, at * 8)[0])

    def __setitem__(self, at: int, value: int) -> None:
        struct.pack_into("=Q", self._control, at * 8, value)

    def cut(self, dice: random.Random, written: float = 0.0) -> int:
        """After SIGKILL: every database file becomes what was synced, but for a share of the other sectors that reached the disk all the
        same; how many sectors were forgotten.
        """
        forgotten = 0
        for file in self.data.rglob("*.db*"):
            if file.name.endswith("-shm"):
                file.unlink()
                continue
            kept = self.shadow / str(file.stat().st_ino)
            if not kept.exists():
                file.unlink()
                continue
            real, synced = file.read_bytes(), bytearray(kept.read_bytes())
            for at in range(0, len(real), SECTOR):
                if real[at : at + SECTOR] != synced[at : at + SECTOR]:
                    if dice.random() < written:
                        if len(synced) < at:
                            synced.extend(bytes(at - len(synced)))
                        synced[at : at + SECTOR] = real[at : at + SECTOR]
                    else:
                        forgotten += 1
            with file.open("r+b") as stream:  # the same inode, so that its shadow stays
                stream.write(synced)
                stream.truncate(len(synced))
            kept.write_bytes(synced)
        return forgotten
