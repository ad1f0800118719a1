"""What edged writes: `python -m tests.faults.wear [seconds]` publishes 50 messages of 256 bytes a second with the broker there and away.

Prints bytes and syncs of the daemon's file (by the layer of power.c), in the units of docs/reliability.md.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.faults.layer import BYTES, SYNCS, Layer
from tests.faults.ledger import Caller
from tests.harness import Sidecar, component
from tests.harness_mqtt import mosquitto

RATE, SIZE = 50, 256
PATH = "/v1.0/publish/wire/t"


async def feed(sidecar: Sidecar, seconds: float) -> int:
    """Open loop: a message each 20 ms, whatever the answers take; how many were accepted."""
    loop, callers, results = asyncio.get_running_loop(), [Caller(sidecar) for _ in range(16)], []
    free = list(callers)
    began = loop.time()

    async def one() -> int | None:
        caller = free.pop() if free else Caller(sidecar)
        try:
            return await caller.post(PATH, b"x" * SIZE)
        finally:
            free.append(caller)

    for number in range(int(seconds * RATE)):
        await asyncio.sleep(max(0.0, began + number / RATE - loop.time()))
        results.append(asyncio.create_task(one()))
    answers = await asyncio.gather(*results)
    for caller in free:
        caller.close()
    return sum(status == 204 for status in answers)


def measure(folder: Path, seconds: float, *, online: bool) -> str:
    folder.mkdir()
    with mosquitto(folder, start=online) as broker:
        wire = component("wire", "pubsub.mqtt3", {"url": broker.url, "consumerID": "wear"})
        layer = Layer(folder, folder / "data")
        sidecar = Sidecar(folder, resources={"wire.yaml": wire}, flags=["--log-level", "warn"], env=layer.env).start()
        try:
            asyncio.run(feed(sidecar, 0.5))
            bytes_, syncs = layer[BYTES], layer[SYNCS]
            accepted = asyncio.run(feed(sidecar, seconds))
            bytes_, syncs = layer[BYTES] - bytes_, layer[SYNCS] - syncs
        finally:
            sidecar.kill()
    payload = accepted * SIZE
    return (
        f"{'online' if online else 'offline'}: accepted {accepted} in {seconds:g} s, written {bytes_} bytes "
        f"({bytes_ / payload:.1f} per payload byte), {syncs / seconds:.1f} syncs/s"
    )


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        for online in (True, False):
            print(measure(Path(folder) / str(online), seconds, online=online), flush=True)


if __name__ == "__main__":
    main()
