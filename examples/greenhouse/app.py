"""The greenhouse app: no SDK, standard library only. It hears readings, keeps the latest and hourly figures, and commands a fan.

Plain MQTT readings (as a Tasmota plug sends them) arrive on tele/+/SENSOR as raw payloads; readings published through edged arrive
on greenhouse/readings as CloudEvents. Run it with:  edged run --app-id greenhouse --app-port 6000 … -- python app.py
"""

import base64
import json
import os
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SIDECAR = f"http://127.0.0.1:{os.environ.get('DAPR_HTTP_PORT', '3500')}"
PORT = int(os.environ.get("APP_PORT", "6000"))
HOT_PERCENT = float(os.environ.get("GREENHOUSE_HOT", "60"))
SUBSCRIPTIONS = [
    {"pubsubname": "pubsub", "topic": "tele/+/SENSOR", "route": "/sensor", "metadata": {"rawPayload": "true"}},
    {"pubsubname": "pubsub", "topic": "greenhouse/readings", "route": "/reading"},
]
if os.environ.get("GREENHOUSE_EMBEDDED"):
    SUBSCRIPTIONS = SUBSCRIPTIONS[1:]

seen: dict[str, int] = {}
hours: dict[str, dict] = {}
fan = {"on": None, "sent": 0}
lock = threading.Lock()


def call(method: str, path: str, body: object) -> None:
    """One request to the sidecar; raises OSError when it refuses or is away."""
    request = urllib.request.Request(SIDECAR + path, json.dumps(body).encode(), {"content-type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=5) as answer:
        answer.read()


def keep(reading: dict) -> None:
    """Store the latest reading and this hour's figures in one transaction, then switch the fan when the load crosses the limit."""
    hour = time.strftime("%Y-%m-%dT%H", time.gmtime(reading["time"]))
    name = reading["sensor"]
    figures = hours.setdefault(f"{name}/{hour}", {"count": 0, "sum": 0.0, "max": 0.0})
    figures["count"] += 1
    figures["sum"] += reading["cpu_pct"]
    figures["max"] = max(figures["max"], reading["cpu_pct"])
    upserts = [
        {"operation": "upsert", "request": {"key": f"latest-{name}", "value": reading}},
        {"operation": "upsert", "request": {"key": f"hour-{name}-{hour}", "value": figures}},
    ]
    call("POST", "/v1.0/state/statestore/transaction", {"operations": upserts})
    want = reading["cpu_pct"] > HOT_PERCENT
    if want != fan["on"] and not os.environ.get("GREENHOUSE_EMBEDDED"):
        call("POST", "/v1.0/bindings/fan", {"operation": "create", "data": "ON" if want else "OFF"})
        fan["on"], fan["sent"] = want, fan["sent"] + 1


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/dapr/subscribe":
            self.answer(200, SUBSCRIPTIONS)
        elif self.path == "/ledger":
            with lock:
                self.answer(200, {"seen": seen, "fan": fan, "hours": hours})
        else:
            self.answer(404, {})

    def do_POST(self) -> None:
        event = json.loads(self.rfile.read(int(self.headers.get("content-length", "0"))))
        if "data_base64" in event:
            reading = json.loads(base64.b64decode(event["data_base64"]))
        else:
            reading = event["data"]
        with lock:
            try:
                if reading["id"] not in seen:
                    keep(reading)
            except (OSError, urllib.error.HTTPError):
                self.answer(200, {"status": "RETRY"})
                return
            seen[reading["id"]] = seen.get(reading["id"], 0) + 1
        self.answer(200, {"status": "SUCCESS"})

    def answer(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
