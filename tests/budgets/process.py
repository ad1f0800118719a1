"""What the kernel says of a process."""

from __future__ import annotations

import os
import time
from pathlib import Path


def memory(pid: int) -> dict[str, int]:
    """Rss, Pss, Anonymous and the rest of smaps_rollup, in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}


def own(pid: int) -> int:
    """KiB that go when the process goes: its memory, and the file pages that nobody else maps counted whole."""
    found = memory(pid)
    return found["Private_Clean"] + found["Private_Dirty"]


def switches(pid: int) -> int:
    """How often all threads of the process woke up."""
    texts = [(task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int(line.split()[1]) for text in texts for line in text.splitlines() if line.startswith("voluntary_ctxt"))


def cpu(pid: int) -> float:
    """Seconds of CPU so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def settled(pid: int, quiet: float = 0.5, timeout: float = 30.0) -> None:
    """Wait until it did nothing for a while."""
    end, since, last = time.monotonic() + timeout, time.monotonic(), switches(pid)
    while time.monotonic() < end:
        time.sleep(0.05)
        now = switches(pid)
        if now != last:
            since, last = time.monotonic(), now
        elif time.monotonic() - since > quiet:
            return
    raise AssertionError(f"process {pid} does not come to rest: {last} wake-ups")
