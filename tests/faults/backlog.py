"""What a long backlog costs: `python -m tests.faults.backlog [messages]` (1,000,000): start, memory, drain rate, file size afterwards."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from edge.database import Database
from edge.journal import Journal
from edge.model import Message
from edge.runtime import DATABASE
from tests.harness import Sidecar, component
from tests.harness_mqtt import Broker, mosquitto

AT_ONCE, TOPICS = 5000, 10


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


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        base = Path(name)
        with mosquitto(base, start=False) as broker:
            (base / "empty").mkdir()
            for _ in range(2):
                one, empty_start, empty_memory = begin(base / "empty", broker)
                one.kill()
            file = base / "full" / "data" / "test" / "edged.db"
            asyncio.run(fill(file, count))
            print(f"backlog of {count}: file {file.stat().st_size >> 20} MiB")
            one, start, memory = begin(base / "full", broker)
            print(f"start {start:.2f} s (empty {empty_start:.2f} s), private memory {memory} KiB (empty {empty_memory} KiB)")
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
