"""Programs of the SDKs call apps behind another sidecar; found by a names file, as on one device."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest

from edge.rpc.pb import common_pb2
from tests.grpc_app import Reply, grpc_app
from tests.harness import Sidecar
from tests.sdk import programs


def names(folder: Path) -> str:
    resolution = {"component": "sqlite", "version": "v1", "configuration": {"connectionString": str(folder / "names.db")}}
    spec = {"nameResolution": resolution}
    return json.dumps({"apiVersion": "dapr.io/v1alpha1", "kind": "Configuration", "metadata": {"name": "c"}, "spec": spec})


class Cellar(BaseHTTPRequestHandler):
    """Says what it was asked: `/jam` as text, `/json` as JSON."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self._body().decode()
        asked = json.dumps([self.command, self.path, body])
        found = {"/jam": (200, "text/plain", f"{body} jam"), "/json": (200, "application/json", asked)}
        status, kind, text = found.get(self.path.partition("?")[0], (404, "text/plain", ""))
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def neighbours(folder: Path) -> Iterator[None]:
    """cellar speaks HTTP, attic gRPC; each behind a sidecar of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Cellar)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    reply = Reply(common_pb2.InvokeResponse(data={"value": b"attic jam"}, content_type="text/plain").SerializeToString())
    one = grpc.unary_unary_rpc_method_handler(lambda request, _: request.upper())
    with grpc_app(answers={"OnInvoke": reply}, handlers={"/jars.Jars/One": one}) as app:
        cellar = Sidecar(folder / "c", "cellar", server.server_port)
        sidecars = cellar, Sidecar(folder / "a", "attic", app.port, flags=("--app-protocol", "grpc"))
        try:
            for sidecar in sidecars:
                sidecar.folder.mkdir()
                sidecar.config = names(folder)
                sidecar.spawn()
            for sidecar in sidecars:
                sidecar.wait()
            yield
        finally:
            for sidecar in sidecars:
                sidecar.kill()
            server.shutdown()
            server.server_close()


PYTHON = {
    "http to HTTP": ["plum jam", "text/plain"],
    "grpc to HTTP": ["plum jam", "text/plain"],
    "grpc to gRPC": "attic jam",
    "proxied": "PLUM",
}
NODE = {"post": ["POST", "/json", '{"fruit":"plum"}'], "get": ["GET", "/json?x=1", ""]}
GO = {
    "cellar": "plum jam",
    "attic": "attic jam",
    "nobody": ["Internal", "failed to invoke, id: nobody, err: no host found with the given ID"],
}


@pytest.mark.parametrize(("language", "expected"), [("python", PYTHON), ("node", NODE), ("go", GO)])
def test_apps_behind_another_sidecar_are_called(tmp_path: Path, language: str, expected: dict[str, Any]) -> None:
    command = {"python": programs.python, "node": programs.node, "go": programs.go}[language]("invoke")

    with neighbours(tmp_path):
        (tmp_path / "k").mkdir()
        seen = dict(programs.run(command, tmp_path / "k", app_id="kitchen", needs_app=False, config=names(tmp_path)))

    assert seen == expected
