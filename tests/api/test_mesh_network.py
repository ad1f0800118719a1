"""Two machines: sidecars in network namespaces find each other by mDNS, over a link that goes down and comes back."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Sidecar

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("ip") is None, reason="needs root and iproute2"),
]
CALL = "import sys, urllib.request as r; print(r.urlopen(r.Request(sys.argv[1], b'plum'), timeout=20).read().decode())"


class Jam(BaseHTTPRequestHandler):
    """Answers everything with jam, and has no subscriptions."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        text = json.dumps({"jam for": self.headers.get("dapr-caller-app-id")}).encode()
        self.send_response(404 if self.path.startswith("/dapr/") else 200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST

    def log_message(self, *_: Any) -> None:
        pass


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextlib.contextmanager
def machines() -> Iterator[tuple[str, str]]:
    """Two namespaces with a cable between them: 10.77.0.1 and 10.77.0.2."""
    names = f"edged-a{os.getpid()}", f"edged-b{os.getpid()}"
    cables = f"ea{os.getpid()}", f"eb{os.getpid()}"
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", cables[0], "netns", names[0], "type", "veth", "peer", "name", cables[1], "netns", names[1])
        for number, (name, cable) in enumerate(zip(names, cables, strict=True), 1):
            ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", cable)
            for device in (cable, "lo"):
                ip("-n", name, "link", "set", device, "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def called(machine: str, sidecar: Sidecar, app: str) -> str:
    """What the app answers to a call through the sidecar, "" = it could not be called."""
    url = f"http://127.0.0.1:{sidecar.http_port}/v1.0/invoke/{app}/method/jam"
    done = subprocess.run(["ip", "netns", "exec", machine, sys.executable, "-c", CALL, url], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def until(machine: str, sidecar: Sidecar, app: str, wanted: str, timeout: float = 30.0) -> None:
    end = time.monotonic() + timeout
    while (got := called(machine, sidecar, app)) != wanted:
        assert time.monotonic() < end, f"{app} answers {got!r}, not {wanted!r}:\n{sidecar.log()}"


@pytest.mark.timeout(120)
def test_machines_find_each_other_and_again_after_a_cut(tmp_path: Path) -> None:
    with machines() as (here, there), contextlib.ExitStack() as up:
        sidecars = []
        for machine, app_id in ((here, "kitchen"), (there, "cellar")):
            program = ("ip", "netns", "exec", machine, sys.executable, "-m", "edge", "run")
            flags = ("--dapr-internal-grpc-listen-address", "0.0.0.0")
            one = Sidecar(tmp_path / app_id, app_id, program=program, flags=flags)
            one.folder.mkdir()
            one.app_port = serve_in(machine, up)
            one.spawn()
            up.callback(one.kill)
            sidecars.append(one)
        kitchen, cellar = sidecars

        until(here, kitchen, "cellar", '{"jam for": "kitchen"}')
        until(there, cellar, "kitchen", '{"jam for": "cellar"}')
        ip("-n", here, "link", "set", f"ea{os.getpid()}", "down")
        until(here, kitchen, "cellar", "")
        ip("-n", here, "link", "set", f"ea{os.getpid()}", "up")
        until(here, kitchen, "cellar", '{"jam for": "kitchen"}')


def serve_in(machine: str, up: contextlib.ExitStack) -> int:
    """The app, in that namespace; its port."""
    made: list[ThreadingHTTPServer] = []

    def enter_and_serve() -> None:
        with open(f"/run/netns/{machine}") as namespace:  # noqa: PTH123
            enter(namespace.fileno())
        made.append(ThreadingHTTPServer(("127.0.0.1", 0), Jam))
        ready.set()
        made[0].serve_forever()

    ready = threading.Event()
    threading.Thread(target=enter_and_serve, daemon=True).start()
    assert ready.wait(10)
    up.callback(made[0].server_close)
    up.callback(made[0].shutdown)
    return made[0].server_port


def enter(namespace: int) -> None:
    """This thread lives in that namespace from now on."""
    import ctypes

    if ctypes.CDLL(None, use_errno=True).setns(namespace, 0x40000000):
        raise OSError(ctypes.get_errno(), "setns")
