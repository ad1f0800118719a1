"""A full or read-only disk: what is accepted is delivered, the rest is refused with a reason, the rest of the API goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.disk import Disk, disk, needs_mounts
from tests.harness import Sidecar, component
from tests.harness_mqtt import Broker, expect, mosquitto, needs_mosquitto, watching

pytestmark = [needs_mounts, needs_mosquitto]
PATH = "/v1.0/publish/wire/t?metadata.rawPayload=true"


def sidecar(folder: Path, data: Disk, broker: Broker) -> Sidecar:
    wire = component("wire", "pubsub.mqtt3", {"url": broker.url, "consumerID": "disk"})
    store = component("store", "state.in-memory")
    flags = ["--data-dir", str(data.path / "data"), "--log-level", "warn"]
    return Sidecar(folder, resources={"wire.yaml": wire, "store.yaml": store}, flags=flags)


def publish(one: Sidecar, *numbers: int, size: int = 4000) -> dict[int, int]:
    """number → status"""
    return {n: one.call("POST", PATH, f"{n} ".encode().ljust(size, b"x"), timeout=20).status for n in numbers}


def until(condition: Callable[[], bool], timeout: float = 15.0) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout, "not in time"
        time.sleep(0.02)
    return time.monotonic() - began


def test_a_full_disk_refuses_and_loses_nothing(tmp_path: Path) -> None:
    with disk(tmp_path / "disk") as data, mosquitto(tmp_path, start=False) as broker:
        expect(broker)
        one = sidecar(tmp_path, data, broker).start()
        try:
            statuses = publish(one, *range(20))
            assert set(statuses.values()) == {204}
            data.fill()
            statuses |= publish(one, *range(20, 60))
            assert {status for n, status in statuses.items() if n >= 50} == {507}
            refused = one.call("POST", PATH, b"x")
            assert refused.headers["retry-after"] == "1"
            assert "no space left" in refused.json()["message"]
            one.call("POST", "/v1.0/state/store", [{"key": "k", "value": 1}])
            assert one.call("GET", "/v1.0/state/store/k").body == b"1"

            data.empty()
            assert until(lambda: publish(one, 60)[60] == 204) < 5
            data.fill()

            with watching(broker) as peer:
                accepted = {n for n, status in statuses.items() if status == 204} | {60}
                until(lambda: accepted <= {int(m.payload.split()[0]) for m in peer.got})
            data.empty()
            assert one.process is not None
            assert one.process.poll() is None
        finally:
            one.kill()


def test_a_read_only_disk_refuses_and_comes_back(tmp_path: Path) -> None:
    with disk(tmp_path / "disk") as data, mosquitto(tmp_path, start=False) as broker:
        expect(broker)
        one = sidecar(tmp_path, data, broker).start()
        try:
            assert publish(one, 1) == {1: 204}
            one.kill()
            data.remount("ro")
            one.spawn()
            assert one.process is not None
            assert one.process.wait(20) == 1
            assert "read-only" in one.log()
            data.remount("rw")
            one.start()
            assert publish(one, 2) == {2: 204}
            with watching(broker) as peer:
                until(lambda: {1, 2} <= {int(m.payload.split()[0]) for m in peer.got})
        finally:
            one.kill()


def test_a_first_start_on_a_full_disk_says_so(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", "2m") as data, mosquitto(tmp_path, start=False) as broker:
        data.fill()
        one = sidecar(tmp_path, data, broker)
        one.spawn()
        try:
            assert one.process is not None
            assert one.process.wait(20) == 1
            assert "no space left" in one.log()
            assert "Traceback" not in one.log()
            data.empty()
            one.start()
        finally:
            one.kill()


def test_a_restart_on_a_full_disk_sends_what_is_there(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", "2m") as data, mosquitto(tmp_path, start=False) as broker:
        expect(broker)
        one = sidecar(tmp_path, data, broker).start()
        try:
            assert publish(one, 1) == {1: 204}
            one.kill()
            data.fill()
            one.start()
            assert publish(one, 2) == {2: 507}
            with watching(broker) as peer:
                until(lambda: [int(m.payload.split()[0]) for m in peer.got] == [1])
            data.empty()
            until(lambda: publish(one, 3) == {3: 204}, 5)
            assert "Traceback" not in one.log()
        finally:
            one.kill()
