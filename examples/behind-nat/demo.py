"""A pump behind NAT is called from an office: their sidecars reach an MQTT broker and not each other.

`make behind-nat` runs it; it needs Python and mosquitto. In the middle the pump's link to the broker is gone for a while.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"


class Pump(BaseHTTPRequestHandler):
    """The app on the device: `POST /run` with seconds says how many litres that gave."""

    litres = 0.0

    def do_POST(self) -> None:
        seconds = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"0")
        Pump.litres += seconds * 0.5
        answer = json.dumps({"litres": Pump.litres, "asked by": self.headers.get("dapr-caller-app-id")}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Demo:
    """Broker and sidecars, in one scratch folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.broker_port = folder, free_port()
        self.office_port = free_port()
        self.log = (folder / "log.txt").open("ab")
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        self.running.append(subprocess.Popen(command, stdout=self.log, stderr=self.log, cwd=HERE.parent.parent))
        return self.running[-1]

    def broker(self) -> subprocess.Popen[bytes]:
        return self.start(MOSQUITTO, "-p", str(self.broker_port))

    def sidecar(self, app_id: str, http_port: int, *more: str) -> None:
        config = (HERE / "config.yaml").read_text().replace("127.0.0.1:1883", f"127.0.0.1:{self.broker_port}")
        folder = self.folder / app_id
        folder.mkdir()
        (folder / "config.yaml").write_text(config)
        ports = ["--dapr-http-port", str(http_port), "--dapr-grpc-port", str(free_port()), "--enable-metrics=false"]
        files = ["--config", str(folder / "config.yaml"), "--data-dir", str(folder / "data")]
        self.start(sys.executable, "-m", "edge", "run", "--app-id", app_id, *ports, *files, *more)

    def call(self, seconds: float) -> dict[str, Any]:
        """What the office's app does: ask its own sidecar for the app `pump`."""
        url = f"http://127.0.0.1:{self.office_port}/v1.0/invoke/pump/method/run"
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(seconds).encode()), timeout=30) as answer:
            value: dict[str, Any] = json.loads(answer.read())
        return value

    def patiently(self, seconds: float) -> dict[str, Any]:
        """Until the pump's sidecar is there."""
        deadline = time.monotonic() + 30
        while True:
            try:
                return self.call(seconds)
            except OSError as error:
                if time.monotonic() > deadline:
                    raise
                if isinstance(error, urllib.error.HTTPError):
                    say(json.loads(error.read())["message"])
                time.sleep(0.5)


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def demo(one: Demo) -> bool:
    broker = one.broker()
    app = ThreadingHTTPServer(("127.0.0.1", 0), Pump)
    threading.Thread(target=app.serve_forever, daemon=True).start()
    one.sidecar("office", one.office_port)
    one.sidecar("pump", free_port(), "--app-port", str(app.server_port))
    say(f"the office asks the pump for 10 s: {one.patiently(10)}")
    say("the broker is gone")
    broker.kill()
    broker.wait()
    try:
        one.call(10)
    except urllib.error.HTTPError as error:
        say(json.loads(error.read())["message"])
    one.broker()
    say("the broker is back")
    last = one.patiently(20)
    say(f"the office asks the pump for 20 s: {last}")
    return last == {"litres": 15.0, "asked by": "office"}


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="edged-behind-nat-") as scratch:
        one = Demo(Path(scratch))
        try:
            return 0 if demo(one) else 1
        finally:
            for process in reversed(one.running):
                process.kill()
                process.wait()
            one.log.close()


if __name__ == "__main__":
    sys.exit(main())
