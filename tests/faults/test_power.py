"""Power cuts: at SIGKILL every byte that was not synced is gone, or only some of it. What was accepted arrives all the same."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from tests.faults.layer import SYNCS, Layer, needs_cc
from tests.faults.ledger import Ledger, produce, settled, stopped
from tests.harness import Sidecar, component
from tests.harness_mqtt import mosquitto, needs_mosquitto, plain

CUTS = int(os.environ.get("CUTS", "2"))


@needs_cc
@needs_mosquitto
@pytest.mark.parametrize("written", [0.0, 0.5])
def test_accepted_messages_survive_power_cuts(written: float, tmp_path: Path) -> None:
    """written: share of the sectors without a sync that reached the disk."""
    seed, ledger = random.randrange(1 << 30), Ledger()
    dice, forgotten = random.Random(seed), 0
    data = tmp_path / "data"
    layer = Layer(tmp_path, data)

    async def cuts(sidecar: Sidecar) -> None:
        nonlocal forgotten
        path = "/v1.0/publish/wire/{}?metadata.rawPayload=true".format
        for _ in range(CUTS):
            await asyncio.to_thread(sidecar.start)
            producers = [asyncio.create_task(resume(ledger, sidecar, path, topic)) for topic in ("a", "b")]
            await asyncio.sleep(dice.uniform(0.1, 0.4))
            sidecar.kill()
            await stopped(producers)
            forgotten += layer.cut(dice, written)
            ledger.kills += 1

    with mosquitto(tmp_path, start=False) as broker:
        wire = component("wire", "pubsub.mqtt3", {"url": broker.url, "consumerID": "cut"})
        sidecar = Sidecar(tmp_path, resources={"wire.yaml": wire}, flags=["--log-level", "warn"], env=layer.env)
        asyncio.run(cuts(sidecar))
        broker.start()
        with plain(broker.port) as watcher:
            watcher.client.on_message = lambda _c, _d, message: ledger.arrive(message.topic, int(message.payload))
            watcher.subscribe("#")
            sidecar.start()
            try:
                asyncio.run(settled(ledger, 30))
            finally:
                sidecar.kill()

    print(f"\nledger power cuts, {written:.0%} of unsynced sectors written (seed {seed}): {ledger}, sectors forgotten {forgotten}")
    assert written or not (data / "test" / "damaged").exists(), sidecar.log()
    assert layer[SYNCS] > 2 * CUTS
    assert min(map(len, ledger.accepted.values())) > 10
    assert not ledger.lost(), (seed, ledger.lost())
    assert not ledger.disorder(), (seed, ledger.disorder())


async def resume(ledger: Ledger, sidecar: Sidecar, path: object, topic: str) -> None:
    """`produce`, going on with the number that has no answer yet."""
    await produce(ledger, sidecar, path, topic, first=len(ledger.accepted.get(topic, ())))  # type: ignore[arg-type]
