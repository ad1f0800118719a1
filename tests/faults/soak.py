"""The long run: `python -m tests.faults.soak HOURS [MINUTES between looks]` (make soak HOURS=n) publishes 50 messages a second for so long.

The broker goes away at random for up to 20 s. At each look (every 5 minutes) the file is checked, and memory, file size and what waits are
printed; at the end comes the ledger. It fails when something accepted is lost, the file is damaged, or memory or file have grown.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from edge.journal import tools
from tests.faults.backlog import private_kib
from tests.faults.ledger import Caller, Ledger, settled, stopped
from tests.harness import Sidecar, component
from tests.harness_mqtt import Broker, mosquitto, plain

RATE, TOPIC = 50, "t"
AWAY, THERE = (1.0, 20.0), (5.0, 60.0)
MOST_GROWTH_KIB, MOST_FILE_BYTES = 4096, 8 << 20


@dataclass
class Looks:
    """memory: private KiB, file_bytes: of the journal and its WAL, while the broker was there."""

    memory: list[int] = field(default_factory=list)
    file_bytes: list[int] = field(default_factory=list)

    def verdict(self) -> list[str]:
        """What is not flat: the last third against the first third, which includes the warming up."""
        third = max(1, len(self.memory) // 3)
        grown = max(self.memory[-third:]) - max(self.memory[:third])
        found = [f"memory grew by {grown} KiB"] if grown > MOST_GROWTH_KIB else []
        return found + ([f"the file has {self.file_bytes[-1]} bytes"] if self.file_bytes[-1] > MOST_FILE_BYTES else [])


async def publish(ledger: Ledger, sidecar: Sidecar) -> None:
    """A message each 20 ms in order; one without an answer is sent again."""
    loop, caller, began, number = asyncio.get_running_loop(), Caller(sidecar), asyncio.get_running_loop().time(), 0
    with closing(caller):
        while True:
            if await caller.post(f"/v1.0/publish/wire/{TOPIC}?metadata.rawPayload=true", b"%d" % number) == 204:
                ledger.accept(TOPIC, number)
                number += 1
            await asyncio.sleep(max(0.0, began + number / RATE - loop.time()))


async def outages(broker: Broker, ledger: Ledger) -> None:
    while True:
        await asyncio.sleep(random.uniform(*THERE))
        await asyncio.to_thread(broker.stop)
        ledger.kills += 1
        try:
            await asyncio.sleep(random.uniform(*AWAY))
        finally:
            await asyncio.to_thread(broker.start)


def look(file: Path, pid: int, looks: Looks, ledger: Ledger) -> None:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        (sound,) = connection.execute("PRAGMA integrity_check").fetchone()
    with tools.opened(file) as connection:
        lanes = [one.stats for one in tools.numbers(connection)]
    assert sound == "ok", sound
    assert all(one.balanced for one in lanes), lanes
    looks.memory.append(private_kib(pid))
    looks.file_bytes.append(sum(path.stat().st_size for path in (file, Path(f"{file}-wal")) if path.exists()))
    waits = sum(one.pending for one in lanes)
    print(f"memory {looks.memory[-1]} KiB, file {looks.file_bytes[-1]} bytes, {waits} wait, sound; {ledger}", flush=True)


async def soak(sidecar: Sidecar, broker: Broker, ledger: Ledger, seconds: float, every: float) -> Looks:
    looks, loop = Looks(), asyncio.get_running_loop()
    assert sidecar.process is not None
    file, end = sidecar.folder / "data" / "test" / "edged.db", loop.time() + seconds
    publishing, wobbling = asyncio.create_task(publish(ledger, sidecar)), asyncio.create_task(outages(broker, ledger))
    while loop.time() < end:
        await asyncio.sleep(min(every, max(0.0, end - loop.time())))
        look(file, sidecar.process.pid, looks, ledger)
    await stopped([wobbling, publishing])
    await settled(ledger, 60)
    await asyncio.sleep(6)  # the file shrinks when nothing is written
    look(file, sidecar.process.pid, looks, ledger)
    return looks


def main() -> None:
    seconds = float(sys.argv[1]) * 3600 if len(sys.argv) > 1 else 3600.0
    every = float(sys.argv[2]) * 60 if len(sys.argv) > 2 else 300.0
    ledger = Ledger()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name, mosquitto(Path(name)) as broker:
        wire = component("wire", "pubsub.mqtt3", {"url": broker.url, "consumerID": "soak"})
        sidecar = Sidecar(Path(name), resources={"wire.yaml": wire}, flags=["--log-level", "warn"]).start()
        with plain(broker.port, "watcher", clean=False) as watcher:
            watcher.client.on_message = lambda _c, _d, message: ledger.arrive(message.topic, int(message.payload))
            watcher.client.reconnect_delay_set(1, 2)
            watcher.subscribe("#")
            try:
                looks = asyncio.run(soak(sidecar, broker, ledger, seconds, every))
            finally:
                sidecar.kill()
    wrong = looks.verdict() + ([f"lost {ledger.lost()}"] if ledger.lost() else [])
    print(f"soak of {seconds / 3600:g} h: {ledger}; {'; '.join(wrong) or 'flat'}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
