"""Irrigation beside edged for about ten seconds: a bed is approved, one is not, a pump fails, and edged is killed on the way."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
BEDS = list(json.loads((HERE / "garden.json").read_text())["beds"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


HTTP, GRPC, METRICS, INTERNAL = (free_port() for _ in range(4))


def call(method: str, path: str, body: str = "") -> tuple[int, dict[str, object]]:
    """One request to the workflow API; status 0 while edged is away."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{HTTP}{path}", body.encode() or None, {"content-type": "application/json"}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else {}
    except urllib.error.HTTPError as error:
        return error.code, {}
    except OSError:
        return 0, {}


def start_edged(folder: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "edge", "run", "--app-id", "garden", "--data-dir", folder, "--log-level", "error"]
    command += ["--dapr-http-port", str(HTTP), "--dapr-grpc-port", str(GRPC), "--metrics-port", str(METRICS)]
    process = subprocess.Popen([*command, "--dapr-internal-grpc-port", str(INTERNAL)])
    while call("GET", "/v1.0/healthz/outbound")[0] != 204:
        if process.poll() is not None:
            raise SystemExit("edged did not start")
        time.sleep(0.05)
    return process


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="irrigation-") as folder:
        edged = start_edged(folder)
        env = os.environ | {"DAPR_GRPC_PORT": str(GRPC), "DAPR_RUNTIME_HOST": "127.0.0.1"}
        app = subprocess.Popen([sys.executable, str(HERE / "app.py")], env=env, stderr=subprocess.DEVNULL)
        try:
            return play(folder, edged)
        finally:
            app.terminate()
            app.wait()


def play(folder: str, edged: subprocess.Popen[bytes]) -> int:
    try:
        for bed in BEDS:
            call("POST", f"/v1.0/workflows/dapr/water/start?instanceID={bed}", json.dumps(bed))
        time.sleep(1)
        print("          (roses approved)", flush=True)
        call("POST", "/v1.0/workflows/dapr/roses/raiseEvent/approve", "{}")
        time.sleep(1)
        print("          (edged is killed, and started again)", flush=True)
        edged.send_signal(signal.SIGKILL)
        edged.wait()
        edged = start_edged(folder)
        return report()
    finally:
        edged.terminate()
        edged.wait()


def report() -> int:
    """Wait until every bed is done and print what came of it; 0 when all ended."""
    deadline = time.monotonic() + 60
    states = {bed: call("GET", f"/v1.0/workflows/dapr/{bed}")[1] for bed in BEDS}
    while any(state.get("runtimeStatus") != "COMPLETED" for state in states.values()) and time.monotonic() < deadline:
        time.sleep(0.2)
        states = {bed: call("GET", f"/v1.0/workflows/dapr/{bed}")[1] for bed in BEDS}
    print("\nbed      status      outcome")
    for bed, state in states.items():
        properties = state.get("properties") or {}
        print(f"{bed:8} {state.get('runtimeStatus', '?'):11} {properties.get('dapr.workflow.output', '')}")  # type: ignore[attr-defined]
    return 0 if all(state.get("runtimeStatus") == "COMPLETED" for state in states.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
