"""The wall clock of a device without RTC, from outside (libfaketime): 1970, today, half an hour ahead, a day behind; TLS meanwhile."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.authority import authority
from tests.harness import Sidecar, component, free_port
from tests.harness_mqtt import expect, mosquitto, needs_mosquitto, plain, watching

LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)
JUMPS = ("-20700d", "+0d", "+30m", "-1d")
PATH = "/v1.0/publish/wire/t?metadata.ttlInSeconds=120"

pytestmark = [needs_mosquitto, pytest.mark.skipif(LIBRARY is None, reason="no libfaketime (apt install faketime; make faults does)")]


class WallClock:
    """What the sidecar takes for the time: an offset in a file that is read at each call. Its monotonic clock is the machine's."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "time"
        self.set(JUMPS[0])

    @property
    def env(self) -> dict[str, str]:
        given = {"FAKETIME_TIMESTAMP_FILE": str(self._file), "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1"}
        return {"LD_PRELOAD": str(LIBRARY), "FAKETIME_DONT_FAKE_MONOTONIC": "1", **given}

    def set(self, offset: str) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(offset + "\n")
        new.replace(self._file)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_jumps_of_the_wall_clock_expire_nothing_and_drop_no_connection(tmp_path: Path) -> None:
    with mosquitto(tmp_path, start=False) as broker:
        expect(broker)
        clock = WallClock(tmp_path)
        wire = component("wire", "pubsub.mqtt3", {"url": broker.url, "consumerID": "jumper", "keepAlive": "1s"})
        sidecar = Sidecar(tmp_path, resources={"wire.yaml": wire}, flags=["--log-level", "warn"], env=clock.env).start()
        try:
            for number, offset in enumerate(JUMPS):
                clock.set(offset)
                assert sidecar.call("POST", PATH, b"%d" % number).status == 204
            with watching(broker) as watcher:
                until(lambda: len(watcher.got) == len(JUMPS))
                for number, offset in enumerate(JUMPS, len(JUMPS)):
                    clock.set(offset)
                    time.sleep(0.05)
                    assert sidecar.call("POST", PATH, b"%d" % number).status == 204
                    until(lambda: len(watcher.got) == number + 1)  # noqa: B023
                events = [json.loads(message.payload) for message in watcher.got]
            assert [int(event["data"]) for event in events] == list(range(2 * len(JUMPS)))
            assert [event["time"][:2] for event in events] == ["19", "20", "20", "20"] * 2
            yesterday = datetime.now(UTC) - timedelta(days=1)  # by which clock the first four were sent
            # (the very first was with the MQTT client already, waiting for the connection)
            left = [(datetime.fromisoformat(event["expiration"]) - yesterday).total_seconds() for event in events[1 : len(JUMPS)]]
            assert all(90 < one < 122 for one in left), left
            assert "expired" not in sidecar.log()
        finally:
            sidecar.kill()
        assert broker.log().count("as jumper") == 1


def test_tls_waits_for_the_clock_and_says_so(tmp_path: Path) -> None:
    signer, port = authority(), free_port()
    for name, text in zip(("cert", "key"), signer.issue("localhost"), strict=True):
        (tmp_path / f"{name}.pem").write_text(text)
    tls = (f"listener {port} 127.0.0.1", f"certfile {tmp_path}/cert.pem", f"keyfile {tmp_path}/key.pem", "allow_anonymous true")
    raw = {"url": f"mqtts://localhost:{port}", "caCert": signer.pem}
    kinds = {"three": "pubsub.mqtt3", "five": "pubsub.mqtt5"}
    resources = {f"{name}.yaml": component(name, kind, raw | {"consumerID": name}) for name, kind in kinds.items()}
    with mosquitto(tmp_path, *tls) as broker, plain(broker.port) as reader:
        reader.subscribe("#")
        clock = WallClock(tmp_path)
        sidecar = Sidecar(tmp_path, resources=resources, flags=["--log-level", "info"], env=clock.env).start()
        try:
            until(lambda: sidecar.log().count("clock-not-synced") == len(kinds))
            told = json.loads(sidecar.call("GET", "/v1.0/metadata").json()["extended"]["edgedUnhealthy"])
            assert all("clock-not-synced" in told[name] and "1970-0" in told[name] for name in kinds)
            for name in kinds:
                assert sidecar.call("POST", f"/v1.0/publish/{name}/t", b"kept").status == 204
            clock.set("-20699d")
            time.sleep(3)
            assert sidecar.log().count("clock-not-synced") == len(kinds)  # told once, whatever the wrong clock says meanwhile
            clock.set("+0d")
            set_at = time.monotonic()
            until(lambda: len(reader.got) == len(kinds))
            assert time.monotonic() - set_at < 4
            assert "edgedUnhealthy" not in sidecar.call("GET", "/v1.0/metadata").json()["extended"]
        finally:
            sidecar.kill()
