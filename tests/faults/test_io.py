"""A disk that fails or is slow while edged runs: refused with a reason or accepted and delivered; it goes on when the disk does."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import pytest

from tests.faults.layer import SLOW, SYNC_ERROR, SYNCS, WRITE_ERROR, Layer, needs_cc
from tests.faults.test_disk import PATH, publish, until
from tests.harness import Sidecar, component
from tests.harness_mqtt import expect, mosquitto, needs_mosquitto, watching

pytestmark = [needs_cc, needs_mosquitto]


def layered(folder: Path, url: str) -> tuple[Sidecar, Layer]:
    layer = Layer(folder, folder / "data")
    resources = {
        "wire.yaml": component("wire", "pubsub.mqtt3", {"url": url, "consumerID": "io"}),
        "store.yaml": component("store", "state.in-memory"),
    }
    return Sidecar(folder, resources=resources, flags=["--log-level", "warn"], env=layer.env), layer


@pytest.mark.parametrize(("fault", "error"), [(WRITE_ERROR, errno.EIO), (SYNC_ERROR, errno.EIO), (WRITE_ERROR, errno.EROFS)])
def test_failing_writes_refuse_until_they_work_again(fault: int, error: int, tmp_path: Path) -> None:
    with mosquitto(tmp_path, start=False) as broker:
        expect(broker)
        one, layer = layered(tmp_path, broker.url)
        one.start()
        try:
            statuses = publish(one, 0, 1, size=10)
            layer[fault] = error
            statuses |= publish(one, 2, 3, size=10)
            assert statuses[2] in (500, 507), statuses
            message = one.call("POST", PATH, b"9").json()["message"]
            assert "edged.db" in message
            assert one.call("POST", "/v1.0/state/store", [{"key": "k", "value": 1}]).status == 204
            layer[fault] = 0
            assert until(lambda: publish(one, 4, size=10)[4] == 204) < 5
            statuses[4] = 204
            with watching(broker) as peer:
                accepted = {n for n, status in statuses.items() if status == 204}
                until(lambda: accepted <= {int(m.payload.split()[0]) for m in peer.got})
            one.kill()
            one.start()
            assert "Traceback" not in one.log()
            assert not (tmp_path / "data" / "test" / "damaged").exists()
        finally:
            one.kill()


def test_syncs_of_two_seconds_hold_up_nothing_else(tmp_path: Path) -> None:
    with mosquitto(tmp_path, start=False) as broker:
        expect(broker)
        one, layer = layered(tmp_path, broker.url)
        one.start()
        try:
            layer[SLOW] = 2000
            began, syncs = time.monotonic(), layer[SYNCS]
            assert set(publish(one, 1, size=10).values()) == {204}
            took = time.monotonic() - began
            assert layer[SYNCS] > syncs
            assert took > 1.9
            import threading

            slow = threading.Thread(target=publish, args=(one, 2))
            slow.start()
            time.sleep(0.2)
            began = time.monotonic()
            assert one.call("POST", "/v1.0/state/store", [{"key": "k", "value": 1}]).status == 204
            assert one.call("GET", "/v1.0/state/store/k").body == b"1"
            assert time.monotonic() - began < 1.0
            slow.join()
        finally:
            layer[SLOW] = 0
            one.kill()
