"""Real sensors: readings of the machine this runs on, once a second, each by two ways: plain MQTT to the broker, and through edged."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from typing import Any

import psutil


def reading(sensor: str, number: int) -> dict[str, Any]:
    """One reading: load, memory, disk, network, and a temperature where the kernel has one."""
    sensors = getattr(psutil, "sensors_temperatures", dict)() or {}
    temperature = next((entry.current for entries in sensors.values() for entry in entries), None)
    net = psutil.net_io_counters()
    return {
        "id": f"{sensor}-{number}",
        "sensor": sensor,
        "time": time.time(),
        "cpu_pct": psutil.cpu_percent(),
        "memory_pct": psutil.virtual_memory().percent,
        "disk_pct": psutil.disk_usage("/").percent,
        "sent_bytes": net.bytes_sent,
        "received_bytes": net.bytes_recv,
        "temperature_c": temperature,
    }


@dataclass
class Count:
    """What one way of publishing did: ids tried, ids that were accepted (PUBACK, HTTP 204)."""

    published: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)


class PlainMqtt:
    """A device that knows only MQTT: QoS 1 to the broker; what the broker does not take is tried again, as firmware does."""

    def __init__(self, port: int) -> None:
        import paho.mqtt.client as mqtt

        self.count = Count()
        self._ids: dict[int, str] = {}
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="tasmota-host", clean_session=False)
        self._client.on_publish = self._taken
        self._client.reconnect_delay_set(1, 2)
        self._client.connect_async("127.0.0.1", port, keepalive=10)
        self._client.loop_start()

    def send(self, number: int) -> None:
        values = reading("host", number)
        self.count.published.append(values["id"])
        info = self._client.publish("tele/host/SENSOR", json.dumps(values), qos=1)
        self._ids[info.mid] = values["id"]

    def _taken(self, _client: Any, _userdata: Any, mid: int, *_: Any) -> None:
        if mid in self._ids:
            self.count.accepted.append(self._ids.pop(mid))

    def close(self) -> None:
        self._client.loop_stop()
        self._client.disconnect()


class ThroughEdged:
    """A program that publishes through its sidecar's HTTP API; a refused or broken call counts as not accepted."""

    def __init__(self, http_port: int) -> None:
        self.count = Count()
        self._url = f"http://127.0.0.1:{http_port}/v1.0/publish/pubsub/greenhouse/readings"

    def send(self, number: int) -> None:
        values = reading("edge", number)
        self.count.published.append(values["id"])
        request = urllib.request.Request(self._url, json.dumps(values).encode(), {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                if answer.status == 204:
                    self.count.accepted.append(values["id"])
        except OSError:
            return

    def close(self) -> None:
        return


def every(seconds: float, ways: list[Any], stop: threading.Event) -> None:
    """Send a reading by each way until told to stop."""
    number = 0
    while not stop.wait(seconds):
        for way in ways:
            way.send(number)
        number += 1
