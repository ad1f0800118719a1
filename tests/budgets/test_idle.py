"""What a sidecar may cost while nothing happens (README's numbers come from here: `make budgets` prints them)."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.budgets.process import cpu, memory, own, settled, switches
from tests.cli.test_fleet import app, fleet, port_of, run_file
from tests.harness import Sidecar, component, sidecar
from tests.harness_mqtt import mosquitto, needs_mosquitto

MIB = 1024


def pid_of(one: Sidecar) -> int:
    assert one.process is not None
    return one.process.pid


def test_with_the_defaults_it_keeps_within_its_memory(tmp_path: Path) -> None:
    with sidecar(tmp_path) as one:
        settled(pid_of(one))
        found = memory(pid_of(one))

    print(f"defaults: Pss {found['Pss']} Rss {found['Rss']} Anonymous {found['Anonymous']} KiB")
    assert found["Pss"] < 30_000 and found["Rss"] < 30 * MIB and found["Anonymous"] < 20 * MIB


@needs_mosquitto
@pytest.mark.mosquitto
def test_with_sqlite_and_mqtt_it_keeps_within_its_memory(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:
        resources = {
            "state.yaml": component("statestore", "state.sqlite", {"connectionString": str(tmp_path / "state.db")}),
            "mq.yaml": component("mq", "pubsub.mqtt3", {"url": broker.url}),
        }
        with sidecar(tmp_path, resources=resources) as one:
            assert one.call("POST", "/v1.0/publish/mq/t", {"n": 1}).status == 204
            settled(pid_of(one))
            found = memory(pid_of(one))

    print(f"sqlite and mqtt: Pss {found['Pss']} Rss {found['Rss']} Anonymous {found['Anonymous']} KiB")
    assert found["Pss"] < 30_000 and found["Rss"] < 32 * MIB


def test_the_tenth_app_costs_at_most_a_mebibyte(tmp_path: Path) -> None:
    def cost(count: int) -> int:
        folder = tmp_path / str(count)
        folder.mkdir()
        apps = [app(f"app{number}") for number in range(count)]
        with fleet(folder, "serve", "--config-dir", ".", "--metrics-port", "0", files={"edged.yaml": run_file(*apps)}) as one:
            one.up(*map(port_of, apps))
            settled(one.process.pid)
            return own(one.process.pid)

    one, ten = cost(1), cost(10)

    print(f"1 app {one} KiB, 10 apps {ten} KiB: {(ten - one) / 9:.0f} KiB each")
    assert (ten - one) / 9 < MIB


def test_an_idle_sidecar_sleeps(tmp_path: Path) -> None:
    # without mDNS: what other sidecars of this machine ask on the link would wake it
    names = {"component": "sqlite", "version": "v1", "configuration": {"connectionString": str(tmp_path / "names.db")}}
    document = {"apiVersion": "dapr.io/v1alpha1", "kind": "Configuration", "metadata": {"name": "c"}, "spec": {"nameResolution": names}}
    with sidecar(tmp_path, config=json.dumps(document)) as one:
        settled(pid_of(one))
        before, used, began = switches(pid_of(one)), cpu(pid_of(one)), time.monotonic()
        time.sleep(0.05)
        while time.monotonic() - began < 3.0:
            time.sleep(0.05)
        woken, used = switches(pid_of(one)) - before, cpu(pid_of(one)) - used

    print(f"idle: {woken} wake-ups and {used:.2f} s of CPU in 3 s")
    assert woken <= 3 and used <= 0.02
