"""A page of the journal goes bad under a running daemon: it rescues the file by itself, within seconds, and counts what is gone."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.faults.test_clock import until
from tests.harness import Sidecar, component
from tests.harness_mqtt import expect, mosquitto, needs_mosquitto, watching

COUNT = 6_000
BAD_PAGES = 3
PATIENCE = 10.0
BULK = "/v1.0-alpha1/publish/bulk/wire/t?metadata.rawPayload=true"
QUICK = ("max_inflight_messages 0", "autosave_on_changes false", "autosave_interval 600")

pytestmark = needs_mosquitto


def spoil(file: Path, pages: int) -> None:
    """Overwrite pages in the middle of what waits, as a dying card does. All commits are in the file before."""
    with sqlite3.connect(file) as connection:
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    with file.open("r+b") as stream:
        stream.seek(file.stat().st_size // size // 2 * size)
        stream.write(b"\xa5" * size * pages)


@pytest.mark.parametrize("met_by", ["reader", "writer"])
def test_a_page_that_goes_bad_is_rescued_while_it_runs(met_by: str, tmp_path: Path) -> None:
    """The reader meets it where a backlog is sent, the writer where what is too old expires."""
    data = tmp_path / "data" / "test"
    raw = {"consumerID": "lives"} | ({"journalMaxAge": "1s"} if met_by == "writer" else {})
    with mosquitto(tmp_path, *QUICK, start=False) as broker:
        expect(broker)
        wire = component("wire", "pubsub.mqtt3", {"url": broker.url, **raw})
        sidecar = Sidecar(tmp_path, resources={"wire.yaml": wire}, flags=["--log-level", "warn"]).start()
        try:
            publish(sidecar, COUNT)
            spoil(data / "edged.db", BAD_PAGES)
            began = time.monotonic()
            with watching(broker) if met_by == "reader" else nullcontext() as watcher:
                until((data / "damaged" / "1" / "report.json").exists)
                sidecar.wait()
                assert time.monotonic() - began < PATIENCE
                if watcher is not None:
                    until(lambda: not waiting(sidecar))
                    gone = lane_of(sidecar)["dropped"]["damaged"]
                    until(lambda: len({message.payload for message in watcher.got}) + gone == COUNT)
                    assert 0 < gone < 40
            lane = lane_of(sidecar)
            assert lane["dropped"]["damaged"] > 0
            assert lane["accepted"] == sum(lane[name] for name in ("delivered", "pending", "expired", "dead")) + sum(
                lane["dropped"].values()
            )
            assert sidecar.call("POST", "/v1.0/publish/wire/t", b"again").status == 204
            assert str(data / "damaged" / "1") in sidecar.call("GET", "/v1.0/metadata").json()["extended"]["edgedRescued"]
            assert not (data / "edged.db.doubt").exists()
            assert sidecar.process is not None and sidecar.process.poll() is None
        finally:
            sidecar.kill()


def test_a_file_that_goes_bad_again_at_once_does_not_restart_over_and_over(tmp_path: Path) -> None:
    data = tmp_path / "data" / "test"
    with mosquitto(tmp_path, *QUICK, start=False) as broker:
        expect(broker)
        wire = component("wire", "pubsub.mqtt3", {"url": broker.url, "consumerID": "lives"})
        sidecar = Sidecar(tmp_path, resources={"wire.yaml": wire}, flags=["--log-level", "warn"]).start()
        try:
            publish(sidecar, COUNT)
            spoil(data / "edged.db", BAD_PAGES)
            with watching(broker):
                until((data / "damaged" / "1" / "report.json").exists)
                sidecar.wait()
                until(lambda: not waiting(sidecar))
            broker.stop()
            publish(sidecar, COUNT)
            spoil(data / "edged.db", BAD_PAGES)
            with watching(broker):
                until(lambda: sidecar.log().count("it is rescued by a restart within the process, in 60 s") == 1)
                assert sidecar.log().count("it is rescued by a restart within the process, in 0 s") == 1
                time.sleep(2)
            assert not (data / "damaged" / "2").exists()
            assert sidecar.call("GET", "/v1.0/healthz/outbound").status == 204
            sidecar.kill()
            sidecar.start()
            assert (data / "damaged" / "2" / "report.json").exists()
        finally:
            sidecar.kill()


def publish(sidecar: Sidecar, count: int) -> None:
    entries = [{"entryId": str(n), "event": f"{n} ".ljust(400, "x"), "contentType": "text/plain"} for n in range(count)]
    for first in range(0, count, 2000):
        assert sidecar.call("POST", BULK, entries[first : first + 2000]).status == 204


def lane_of(sidecar: Sidecar) -> dict[str, Any]:
    told = sidecar.call("GET", "/v1.0/metadata").json()["extended"]
    found: dict[str, Any] = json.loads(told["edgedJournal"])["out/wire/t"]
    return found


def waiting(sidecar: Sidecar) -> int:
    try:
        told = sidecar.call("GET", "/v1.0/metadata").json()["extended"]
    except OSError:  # it starts anew
        return 1
    return int(json.loads(told.get("edgedJournal", "{}")).get("out/wire/t", {}).get("pending", 0))
