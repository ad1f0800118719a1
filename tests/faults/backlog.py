"""What a long backlog costs: `python -m tests.faults.backlog [messages]` (1,000,000): start, memory, drain rate, file size afterwards.

With `damaged` behind the number: how long its rescue takes.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from edge.database import Database
from edge.database.rescue import doubt
from edge.journal import Journal
from edge.model import Message
from edge.runtime import DATABASE
from tests.faults.test_damage import BAD_PAGES, spoil
from tests.harness import Sidecar, component
from tests.harness_mqtt import Broker, mosquitto

AT_ONCE, TOPICS = 5000, 10
ROUNDS = 9


async def fill(file: Path, count: int) -> None:
    file.parent.mkdir(parents=True)
    async with Database.open(file, DATABASE) as database, Journal.open(database) as journal:
        for first in range(0, count, AT_ONCE):
            lane = f"out/wire/t{first // AT_ONCE % TOPICS}"
            await journal.put(
                lane, *(Message(lane[9:], b"%d" % n + b"x" * 100, id=f"m{n}") for n in range(first, min(first + AT_ONCE, count)))
            )


def private_kib(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(("Private_Dirty", "Private_Clean")))


def begin(folder: Path, broker: Broker) -> tuple[Sidecar, float, int]:
    """A sidecar, seconds until it was healthy, and its private memory in KiB a second later."""
    wire = component("wire", "pubsub.mqtt3", {"url": broker.url, "consumerID": "backlog"})
    sidecar = Sidecar(folder, resources={"wire.yaml": wire}, flags=["--log-level", "warn"])
    began = time.monotonic()
    sidecar.start(timeout=60)
    took = time.monotonic() - began
    time.sleep(1)
    assert sidecar.process is not None
    return sidecar, took, private_kib(sidecar.process.pid)


def compare(folders: Sequence[Path], broker: Broker) -> list[tuple[float, float]]:
    """Medians of start and memory of each, started in turn, as a busy machine is slower at one time than at another."""
    found: list[list[tuple[float, int]]] = [[] for _ in folders]
    for _ in range(ROUNDS):
        for folder, rows in zip(folders, found, strict=True):
            one, *row = begin(folder, broker)
            rows.append((row[0], row[1]))
            one.kill()
    return [(median(start for start, _ in rows), median(memory for _, memory in rows)) for rows in found]


def rescue(count: int) -> None:
    """How long a start takes that finds pages in the middle of the backlog spoilt."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        file = Path(name) / "data" / "test" / "edged.db"
        asyncio.run(fill(file, count))
        spoil(file, BAD_PAGES)
        doubt(file, "a page could not be read")
        sidecar = Sidecar(Path(name), flags=["--log-level", "warn"])
        began = time.monotonic()
        sidecar.start(timeout=300)
        print(f"{count} waiting, damaged: up after {time.monotonic() - began:.1f} s")
        sidecar.kill()


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    if "damaged" in sys.argv:
        rescue(count)
        return
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        base = Path(name)
        with mosquitto(base, start=False) as broker:
            (base / "empty").mkdir()
            file = base / "full" / "data" / "test" / "edged.db"
            asyncio.run(fill(file, count))
            print(f"backlog of {count}: file {file.stat().st_size >> 20} MiB")
            (empty_start, empty_memory), (start, memory) = compare((base / "empty", base / "full"), broker)
            print(f"start {start:.2f} s (empty {empty_start:.2f} s): {start / empty_start:.2f}")
            print(f"private memory {memory:.0f} KiB (empty {empty_memory:.0f} KiB)")
            one, _, _ = begin(base / "full", broker)
            broker.lines = ("max_inflight_messages 0",)
            broker.start()
            began = time.monotonic()
            drain(one, file, count, began)
            one.kill()


def drain(one: Sidecar, file: Path, count: int, began: float) -> None:
    import sqlite3

    peak, pid = 0, one.process.pid if one.process else 0
    while True:
        time.sleep(0.5)
        peak = max(peak, private_kib(pid))
        connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        (left,) = connection.execute("SELECT sum(pending) FROM journal_lane").fetchone()
        connection.close()
        if not left:
            break
    rate = count / (time.monotonic() - began)
    time.sleep(6)
    print(f"drained at {rate:.0f}/s, private memory at most {peak} KiB; file then {file.stat().st_size >> 10} KiB")


if __name__ == "__main__":
    main()
