"""About 30 seconds of a greenhouse: real readings, a broker that goes away and comes back, edged killed once with SIGKILL, a ledger.

`make demo` runs it. Without mosquitto it uses edged's embedded pub/sub and says so.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from sensors import PlainMqtt, ThroughEdged, every

HERE = Path(__file__).resolve().parent
SECONDS = float(os.environ.get("DEMO_SECONDS", "30"))
EVERY = float(os.environ.get("DEMO_EVERY", "1"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


class Device:
    """The processes of the demo: broker, app and sidecar, in one scratch folder."""

    def __init__(self, folder: Path, mosquitto: str | None) -> None:
        self.folder, self.mosquitto = folder, mosquitto
        self.broker_port, self.http_port, self.app_port = free_port(), free_port(), free_port()
        self.log = (folder / "log.txt").open("ab")
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start_broker(self) -> None:
        assert self.mosquitto is not None
        conf = self.folder / "mosquitto.conf"
        user = "user root\n" if os.geteuid() == 0 else ""
        conf.write_text(
            f"listener {self.broker_port} 127.0.0.1\nallow_anonymous true\n{user}persistence true\n"
            f"persistence_location {self.folder}/\nautosave_interval 1\nautosave_on_changes true\nmax_queued_messages 0\n"
        )
        self._start("broker", [self.mosquitto, "-c", str(conf)], {})

    def start_app(self) -> None:
        env = {"APP_PORT": str(self.app_port), "DAPR_HTTP_PORT": str(self.http_port), "GREENHOUSE_HOT": "20"}
        if not self.mosquitto:
            env["GREENHOUSE_EMBEDDED"] = "1"
        self._start("app", [sys.executable, str(HERE / "app.py")], env)

    def start_edged(self) -> None:
        resources = HERE / ("resources" if self.mosquitto else "resources-embedded")
        command = [sys.executable, "-m", "edge", "run", "--app-id", "greenhouse", "--app-port", str(self.app_port)]
        command += ["--dapr-http-port", str(self.http_port), "--dapr-grpc-port", str(free_port()), "--enable-metrics=false"]
        command += ["--resources-path", str(resources), "--data-dir", str(self.folder / "data")]
        env = {"GREENHOUSE_MQTT": f"mqtt://127.0.0.1:{self.broker_port}", "GREENHOUSE_STATE": str(self.folder / "greenhouse.db")}
        self._start("edged", command, env)
        self.wait_healthy()

    def _start(self, name: str, command: list[str], env: dict[str, str]) -> None:
        self.running[name] = subprocess.Popen(command, env=os.environ | env, stdout=self.log, stderr=self.log, cwd=HERE.parent.parent)

    def wait_healthy(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/v1.0/healthz/outbound", timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit(f"edged did not get healthy in 20 s; its log is {self.folder / 'log.txt'}")

    def stop(self, name: str, number: int = signal.SIGTERM) -> None:
        process = self.running.pop(name, None)
        if process is not None:
            process.send_signal(number)
            process.wait(20)

    def ledger(self) -> dict[str, dict[str, int]]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.app_port}/ledger", timeout=5) as answer:
            return json.load(answer)


def wait_delivered(device: Device, ways: list[PlainMqtt | ThroughEdged], timeout: float) -> None:
    """Give the backlog time to drain; a ledger with something missing after it is printed all the same."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        seen = device.ledger()["seen"]
        if all(len(w.count.accepted) > 0 and all(i in seen for i in w.count.accepted) for w in ways):
            return
        time.sleep(0.25)


def story(device: Device, stop: threading.Event) -> None:
    """The day of the greenhouse, in parts of SECONDS."""
    time.sleep(SECONDS * 0.25)
    if device.mosquitto:
        say("the broker stops; edged goes on accepting")
        device.stop("broker")
    time.sleep(SECONDS * 0.2)
    say("edged is killed with SIGKILL and started again")
    device.stop("edged", signal.SIGKILL)
    device.start_edged()
    time.sleep(SECONDS * 0.2)
    if device.mosquitto:
        say("the broker comes back")
        device.start_broker()
    time.sleep(SECONDS * 0.35)
    stop.set()


def print_ledger(device: Device, ways: dict[str, PlainMqtt | ThroughEdged]) -> int:
    ledger = device.ledger()
    seen, lost_in_all = ledger["seen"], 0
    print(f"\n{'':26}{'published':>10}{'accepted':>10}{'delivered':>10}{'duplicates':>11}{'lost':>6}")
    for label, way in ways.items():
        delivered = [i for i in way.count.published if i in seen]
        lost = [i for i in way.count.accepted if i not in seen]
        duplicates = sum(seen[i] - 1 for i in delivered)
        lost_in_all += len(lost)
        print(f"{label:26}{len(way.count.published):>10}{len(way.count.accepted):>10}{len(delivered):>10}{duplicates:>11}{len(lost):>6}")
    if device.mosquitto:
        print(f"commands sent to the fan: {ledger['fan']['sent']} (last: {'ON' if ledger['fan']['on'] else 'OFF'})")
    print(f"lost {lost_in_all}")
    return 1 if lost_in_all else 0


def main() -> int:
    mosquitto = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    folder = Path(tempfile.mkdtemp(prefix="greenhouse-"))
    device = Device(folder, mosquitto)
    if not mosquitto:
        say("mosquitto is not installed here: running on edged's embedded pub/sub (no broker part in the story)")
    try:
        if mosquitto:
            device.start_broker()
        device.start_app()
        device.start_edged()
        ways: dict[str, PlainMqtt | ThroughEdged] = {"through edged (HTTP)": ThroughEdged(device.http_port)}
        if mosquitto:
            ways["plain MQTT (QoS 1)"] = PlainMqtt(device.broker_port)
        say(f"readings of this machine, every {EVERY:g} s, for about {SECONDS:g} s")
        stop = threading.Event()
        sender = threading.Thread(target=every, args=(EVERY, list(ways.values()), stop))
        sender.start()
        story(device, stop)
        sender.join()
        say("waiting for what is still under way")
        wait_delivered(device, list(ways.values()), 30)
        return print_ledger(device, ways)
    finally:
        for name in ("edged", "app", "broker"):
            device.stop(name)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    raise SystemExit(main())
