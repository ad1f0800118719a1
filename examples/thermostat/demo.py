"""Ten seconds of a house: a thermostat actor per room, edged killed with SIGKILL in between, a reminder that outlives it.

`make thermostat` runs it; it needs Python and nothing else.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TARGETS = {"kitchen": 20.0, "study": 21.5, "bath": 23.0}
NIGHT_IN = float(os.environ.get("THERMOSTAT_NIGHT", "6"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


class House:
    """The app and its sidecar, in one scratch folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.http_port, self.app_port = folder, free_port(), free_port()
        self.log = (folder / "log.txt").open("ab")
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start_app(self) -> None:
        self._start("app", [sys.executable, str(HERE / "app.py")])

    def start_edged(self) -> None:
        command = [sys.executable, "-m", "edge", "run", "--app-id", "house", "--app-port", str(self.app_port), "--enable-metrics=false"]
        command += ["--dapr-http-port", str(self.http_port), "--dapr-grpc-port", str(free_port()), "--data-dir", str(self.folder / "data")]
        self._start("edged", command)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/v1.0/healthz", timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit(f"edged did not start; see {self.folder}/log.txt")

    def _start(self, name: str, command: list[str]) -> None:
        env = os.environ | {"APP_PORT": str(self.app_port), "DAPR_HTTP_PORT": str(self.http_port)}
        self.running[name] = subprocess.Popen(command, env=env, stdout=self.log, stderr=self.log, cwd=HERE.parent.parent)

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def call(self, room: str, method: str, body: Any = None) -> dict[str, Any]:
        """Call a room's method through edged, as any app would."""
        url = f"http://127.0.0.1:{self.http_port}/v1.0/actors/Room/{room}/method/{method}"
        request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"}, method="PUT")
        with urllib.request.urlopen(request, timeout=10) as answer:
            value: dict[str, Any] = json.loads(answer.read())
        return value

    def show(self) -> dict[str, dict[str, Any]]:
        rooms = {room: self.call(room, "status") for room in TARGETS}
        texts = [f"{name} {r['temperature']:4.1f} → {r['target']:4.1f} {'heats' if r['heating'] else 'rests'}" for name, r in rooms.items()]
        say("   ".join(texts))
        return rooms


def demo(house: House) -> bool:
    house.start_app()
    house.start_edged()
    for room, degrees in TARGETS.items():
        house.call(room, "target", degrees)
        house.call(room, "start", f"{NIGHT_IN}s")
    night = time.monotonic() + NIGHT_IN
    for _ in range(3):
        time.sleep(NIGHT_IN / 6)
        before = house.show()

    say("edged is killed (SIGKILL): the timers go with it, state and reminders do not")
    house.kill("edged")
    time.sleep(0.5)
    house.start_edged()
    after = house.show()
    kept = all(abs(after[room]["temperature"] - before[room]["temperature"]) < 1 for room in TARGETS)
    say("waiting for the night, as set before the kill")
    nights = 0
    while time.monotonic() < night + 20 and nights < len(TARGETS):
        time.sleep(0.25)
        nights = sum(1 for room in TARGETS if house.call(room, "status")["nights"])
    late = time.monotonic() - night
    house.show()
    say(f"state kept over the kill: {'yes' if kept else 'NO'}; night came to {nights} of {len(TARGETS)} rooms, {late:.1f} s late")
    return kept and nights == len(TARGETS)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="edged-thermostat-") as scratch:
        house = House(Path(scratch))
        try:
            return 0 if demo(house) else 1
        except urllib.error.HTTPError as error:
            say(f"edged answered {error.code}: {error.read().decode()}")
            return 1
        finally:
            for name in list(house.running):
                house.kill(name)
            house.log.close()


if __name__ == "__main__":
    sys.exit(main())
