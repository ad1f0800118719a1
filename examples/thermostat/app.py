"""A thermostat per room, each a Dapr actor, with nothing but Python's standard library.

An actor is called one call at a time, so that a room needs no lock. Its state lives in edged; its heating loop is a timer (gone with the
process), its night setting a reminder (outlives everything).
"""

from __future__ import annotations

import json
import os
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

APP_PORT = int(os.environ.get("APP_PORT", "3000"))
DAPR = f"http://127.0.0.1:{os.environ.get('DAPR_HTTP_PORT', '3500')}/v1.0"
NEW = {"temperature": 17.0, "target": 20.0, "heating": False, "nights": 0}
NIGHT = 16.0


def dapr(method: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(DAPR + path, data, {"content-type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text else None


class Room:
    """One turn of one room: its state is read, changed by a method, and saved in one transaction."""

    def __init__(self, id_: str) -> None:
        self.path = f"/actors/Room/{id_}"
        self.state: dict[str, Any] = dapr("GET", f"{self.path}/state/room") or dict(NEW)

    def save(self) -> dict[str, Any]:
        dapr("PUT", f"{self.path}/state", [{"operation": "upsert", "request": {"key": "room", "value": self.state}}])
        return self.state

    def status(self, _: Any) -> dict[str, Any]:
        return self.state

    def target(self, degrees: float) -> dict[str, Any]:
        self.state["target"] = degrees
        return self.save()

    def start(self, night_in: str) -> dict[str, Any]:
        """Begin to regulate; the night setting comes after `night_in` (a Go duration), whatever happens until then."""
        dapr("PUT", f"{self.path}/timers/regulate", {"dueTime": "0s", "period": "250ms"})
        dapr("PUT", f"{self.path}/reminders/night", {"dueTime": night_in})
        return self.save()

    def regulate(self) -> None:
        """A quarter of a second in a room: half an hour's worth of heating or cooling, then the decision."""
        room = self.state
        room["temperature"] = round(room["temperature"] + (0.4 if room["heating"] else -0.1), 1)
        if abs(room["temperature"] - room["target"]) > 0.2:
            room["heating"] = room["temperature"] < room["target"]
        self.save()

    def night(self) -> None:
        self.state["target"] = NIGHT
        self.state["nights"] += 1
        self.save()


class App(BaseHTTPRequestHandler):
    """What edged asks of an app that hosts actors."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/dapr/config":
            self._answer(200, {"entities": ["Room"], "actorIdleTimeout": "1h"})
        else:
            self._answer(404)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        _, _, _, id_, _, *method = unquote(self.path).split("/")
        match method:
            case ["timer", "regulate"]:
                self._answer(200, Room(id_).regulate())
            case ["remind", "night"]:
                self._answer(200, Room(id_).night())
            case ["status" | "target" | "start"]:
                self._answer(200, getattr(Room(id_), method[0])(json.loads(body or b"null")))
            case _:
                self._answer(404)

    def do_DELETE(self) -> None:
        self._answer(200)

    def _answer(self, status: int, value: Any = None) -> None:
        data = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", APP_PORT), App).serve_forever()
