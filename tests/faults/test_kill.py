"""SIGKILL at named points and at random moments, over and over: what was accepted arrives, in order, at least once.

`KILLS=n` sets how many kills each test makes (make faults: hundreds).
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.apps import Answer, ScriptedApp, Seen
from tests.faults.ledger import Ledger, produce, settled, stopped
from tests.harness import component
from tests.harness_mqtt import Plain, Proxy, mosquitto, needs_mosquitto, plain
from tests.zygote import ForkedSidecar, Zygote, zygote

KILLS = int(os.environ.get("KILLS", "0"))
OUT = ["before-commit", "after-commit", "before-journal-commit", "after-journal-commit", "after-puback", ""]
IN = ["before-commit", "after-commit", "after-journal-commit", "before-inbox-put", "after-inbox-put", "after-app-answer", ""]
LONGEST_LIFE, LONGEST_BIRTH = 0.4, 2.0
TOPICS = ("a", "b", "c")


@pytest.fixture(scope="module")
def forge() -> Iterator[Zygote]:
    with zygote() as one:
        yield one


def sidecar_of(forge: Zygote, folder: Path, resources: dict[str, str], app_port: int = 0) -> ForkedSidecar:
    one = ForkedSidecar(folder, app_port=app_port, resources=resources, flags=["--log-level", "warn"])
    one.zygote = forge
    return one


async def kill_often(sidecar: ForkedSidecar, ledger: Ledger, points: Sequence[str], kills: int, dice: random.Random) -> None:
    """Start, let it live until it kills itself at a point or its time is over, start again…; in the end it lives."""
    for _ in range(kills):
        point = dice.choice(points)
        sidecar.crash_at = f"{point}:{dice.randint(1, 30)}" if point else ""
        sidecar.spawn()
        await born(sidecar, ledger)
        await lived(sidecar, dice.uniform(0.3, 1.0) * LONGEST_LIFE)
        sidecar.kill()
        ledger.kills += 1
    sidecar.crash_at = ""
    sidecar.spawn()


async def born(sidecar: ForkedSidecar, ledger: Ledger) -> None:
    """Return when somebody had an answer: on a busy machine a life takes its time to begin."""
    before = ledger.answers()
    await lived(sidecar, LONGEST_BIRTH, lambda: ledger.answers() > before)


async def lived(sidecar: ForkedSidecar, longest: float, until: Callable[[], bool] = lambda: False) -> None:
    """Return after so many seconds, or when it killed itself, or when `until` is true."""
    for _ in range(int(longest / 0.02)):
        await asyncio.sleep(0.02)
        if sidecar.ended() or until():
            return


async def answering(ledger: Ledger, topics: Sequence[str] = TOPICS) -> None:
    """Something of each topic was accepted."""
    async with asyncio.timeout(20):
        while not all(ledger.accepted.get(topic) for topic in topics):
            await asyncio.sleep(0.02)


def verdict(ledger: Ledger, name: str, seed: int, sidecar: ForkedSidecar) -> None:
    print(f"\nledger {name} (seed {seed}): {ledger}")
    assert "Traceback" not in sidecar.log(), sidecar.log()
    assert min(map(len, ledger.accepted.values())) > 0, sidecar.log()[-2000:]
    assert not ledger.lost(), (seed, ledger.lost())


@needs_mosquitto
@pytest.mark.parametrize("mode", ["either", "journal"])
def test_accepted_publishes_reach_the_broker_over_kills_and_a_bad_link(mode: str, forge: Zygote, tmp_path: Path) -> None:
    seed, ledger = random.randrange(1 << 30), Ledger()
    dice = random.Random(seed)

    async def run(port: int) -> ForkedSidecar:
        async with Proxy(port) as link:
            wire = component("wire", "pubsub.mqtt3", {"url": f"tcp://127.0.0.1:{link.port}", "consumerID": "killed", "durability": mode})
            sidecar = sidecar_of(forge, tmp_path, {"wire.yaml": wire})
            try:
                wobbling = asyncio.create_task(wobble(link, dice))
                path = "/v1.0/publish/wire/{}?metadata.rawPayload=true".format
                producers = [asyncio.create_task(produce(ledger, sidecar, path, topic)) for topic in TOPICS]
                await kill_often(sidecar, ledger, OUT, KILLS or 10, dice)
                await stopped([wobbling])
                link.frozen = False
                await asyncio.sleep(0.3)
                await answering(ledger)
                await stopped(producers)
                await settled(ledger, 30)
            finally:
                sidecar.kill()
            return sidecar

    with mosquitto(tmp_path) as broker, plain(broker.port) as watcher:
        watch(watcher, ledger)
        sidecar = asyncio.run(run(broker.port))

    verdict(ledger, f"out mqtt {mode}", seed, sidecar)
    assert not ledger.disorder(), (seed, ledger.disorder())


def watch(peer: Plain, ledger: Ledger) -> None:
    peer.client.on_message = lambda _c, _d, message: ledger.arrive(message.topic, int(message.payload))
    peer.subscribe("#")


async def wobble(link: Proxy, dice: random.Random) -> None:
    """The link freezes and breaks now and then."""
    while True:
        await asyncio.sleep(dice.uniform(0.05, 0.4))
        link.frozen = True
        await asyncio.sleep(dice.uniform(0.05, 0.3))
        link.frozen = False
        if dice.random() < 0.5:
            link.cut()


class Receiver:
    """The app: it notes what it took; now and then it says RETRY, is slow or hangs up. calm: it does none of that."""

    def __init__(self, ledger: Ledger, dice: random.Random) -> None:
        self.ledger, self.dice, self.calm = ledger, dice, False

    def __call__(self, seen: Seen) -> Answer:
        chance = 1.0 if self.calm else self.dice.random()
        if chance < 0.05:
            return Answer.json({"status": "RETRY"})
        if chance < 0.08:
            return Answer(hangup=True)
        topic, data = seen.json()["topic"], seen.json()["data"]
        self.ledger.arrive(topic, int(data))
        return Answer(200, after=0.0 if self.calm else self.dice.choice((0.0, 0.0, 0.02, 0.1)))


def listening(ledger: Ledger, dice: random.Random, pubsub: str) -> tuple[ScriptedApp, Receiver]:
    receiver = Receiver(ledger, dice)
    told = [{"pubsubname": pubsub, "topic": topic, "route": "/in"} for topic in TOPICS]
    return ScriptedApp({("GET", "/dapr/subscribe"): Answer.json(told), ("POST", "/in"): receiver}), receiver


@needs_mosquitto
@pytest.mark.parametrize("mode", ["either", "journal"])
def test_what_the_broker_had_reaches_the_app_over_kills(mode: str, forge: Zygote, tmp_path: Path) -> None:
    seed, ledger = random.randrange(1 << 30), Ledger()
    dice = random.Random(seed)

    async def send(peer: Plain, topic: str) -> None:
        for number in range(1 << 30):
            event = {"topic": topic, "data": number, "specversion": "1.0", "id": str(number), "type": "t", "source": "s"}
            info = peer.client.publish(topic, json.dumps(event), 1)
            while not info.is_published():
                await asyncio.sleep(0.002)
            ledger.accept(topic, number)
            await asyncio.sleep(0.002)

    async def run(peer: Plain, port: int) -> ForkedSidecar:
        app, receiver = listening(ledger, dice, "wire")
        async with app:
            wire = component("wire", "pubsub.mqtt3", {"url": f"tcp://127.0.0.1:{port}", "consumerID": "killed", "durability": mode})
            sidecar = sidecar_of(forge, tmp_path, {"wire.yaml": wire}, app.port)
            try:
                sidecar.spawn()
                await app.until(lambda: app.on("/dapr/subscribe"), 20)
                await asyncio.sleep(0.3)
                sidecar.kill()
                senders = [asyncio.create_task(send(peer, topic)) for topic in TOPICS]
                await kill_often(sidecar, ledger, IN, KILLS or 10, dice)
                receiver.calm = True
                await stopped(senders)
                await settled(ledger, 30)
            finally:
                sidecar.kill()
            return sidecar

    with mosquitto(tmp_path) as broker, plain(broker.port) as peer:
        sidecar = asyncio.run(run(peer, broker.port))

    verdict(ledger, f"in mqtt {mode}", seed, sidecar)


def test_local_publishes_reach_the_app_over_kills(forge: Zygote, tmp_path: Path) -> None:
    seed, ledger = random.randrange(1 << 30), Ledger()
    dice = random.Random(seed)

    async def run() -> ForkedSidecar:
        app, receiver = listening(ledger, dice, "local")
        async with app:
            sidecar = sidecar_of(forge, tmp_path, {"local.yaml": component("local", "pubsub.sqlite")}, app.port)
            try:
                path = "/v1.0/publish/local/{}".format
                producers = [asyncio.create_task(produce(ledger, sidecar, path, topic)) for topic in TOPICS]
                await kill_often(sidecar, ledger, IN, KILLS or 10, dice)
                receiver.calm = True
                await asyncio.sleep(0.3)
                await answering(ledger)
                await stopped(producers)
                await settled(ledger, 30)
            finally:
                sidecar.kill()
            return sidecar

    sidecar = asyncio.run(run())

    verdict(ledger, "local", seed, sidecar)
