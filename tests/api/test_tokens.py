"""API tokens from files: both faces ask for them, nothing shows them, SIGHUP exchanges them."""

from __future__ import annotations

import asyncio
import io
import signal
import sys
import tarfile
from pathlib import Path

import grpc
import pytest

from tests.apps import Answer as ScriptedAnswer
from tests.apps import ScriptedApp
from tests.cli.edged import edged as command
from tests.cli.edged import until
from tests.cli.test_fleet import app, fleet, port_of, run_file
from tests.harness import Sidecar, component, free_port, sidecar

TOKEN, APP_TOKEN, NEXT = "file-token-3141", "app-token-2718", "next-token-1618"
APP = "/v1.0/invoke/test/method/x"
TELLING = """
import json, os
from http.server import BaseHTTPRequestHandler, HTTPServer

class Telling(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps([self.headers.get("dapr-api-token"), os.environ["DAPR_API_TOKEN"], os.environ["APP_API_TOKEN"]]).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

HTTPServer(("127.0.0.1", int(os.environ["APP_PORT"])), Telling).serve_forever()
"""
"""An app that answers with the token it was sent and those of its environment."""
METADATA = "/dapr.proto.runtime.v1.Dapr/GetMetadata"


def grpc_code(edged: Sidecar, token: str) -> str:
    with grpc.insecure_channel(f"127.0.0.1:{edged.grpc_port}") as channel:
        try:
            channel.unary_unary(METADATA)(b"", metadata=(("dapr-api-token", token),) if token else (), timeout=10)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


def http_status(edged: Sidecar, token: str) -> int:
    return edged.call("GET", "/v1.0/metadata", headers={"dapr-api-token": token} if token else {}).status


def guards(edged: Sidecar, right: str, wrong: str) -> None:
    assert [http_status(edged, token) for token in (right, wrong, "", right + "x", right[:-1])] == [200, 401, 401, 401, 401]
    assert [grpc_code(edged, token) for token in (right, wrong, "")] == ["OK", "UNAUTHENTICATED", "UNAUTHENTICATED"]


def test_tokens_of_files_guard_both_apis_and_show_nowhere(tmp_path: Path) -> None:
    files = {"DAPR_API_TOKEN_FILE": TOKEN, "APP_API_TOKEN_FILE": APP_TOKEN}
    for name, text in files.items():
        (tmp_path / name).write_text(f"{text}\n")
    env = {name: str(tmp_path / name) for name in files}

    flags = ("--enable-api-logging", "--log-level", "debug")
    with sidecar(tmp_path, app_port=free_port(), command=(sys.executable, "-c", TELLING), env=env, flags=flags) as edged:
        guards(edged, TOKEN, NEXT)
        until(lambda: edged.call("GET", APP, headers={"dapr-api-token": TOKEN}).status == 200, what="an answer of the app")
        sent = edged.call("GET", APP, headers={"dapr-api-token": TOKEN}).json()
        shown = edged.call("GET", "/v1.0/metadata", headers={"dapr-api-token": TOKEN}).body.decode()
        assert edged.process is not None
        proc = Path(f"/proc/{edged.process.pid}")
        shown += (proc / "cmdline").read_text() + (proc / "environ").read_text()
        bundle = tmp_path / "diag.tar.gz"
        done = command("diag", "-o", str(bundle), "--resources-path", str(tmp_path), env={**env, "STATE_DIRECTORY": str(tmp_path / "data")})
        assert done.returncode == 0, done.stderr
    with tarfile.open(bundle) as tar:
        parts = {one.name: (tar.extractfile(one) or io.BytesIO()).read().decode() for one in tar}

    assert sent == [APP_TOKEN, TOKEN, APP_TOKEN]
    assert '"id":"test"' in parts["edged-diag/test-metadata.txt"]
    for text in (shown, edged.log(), done.stdout + done.stderr, *parts.values()):
        assert TOKEN not in text and APP_TOKEN not in text


async def test_the_callers_token_does_not_reach_the_app_that_is_called(tmp_path: Path) -> None:
    def call(port: int) -> None:
        with sidecar(tmp_path, app_port=port, env={"DAPR_API_TOKEN": TOKEN}) as edged:
            until(
                lambda: edged.call("GET", APP, headers={"dapr-api-token": TOKEN, "x-own": "1"}).status == 200, what="an answer of the app"
            )

    async with ScriptedApp(default=ScriptedAnswer(200)) as app:
        await asyncio.to_thread(call, app.port)
        seen = [one for one in app.seen if one.header("x-own")]

    assert seen
    assert not any(TOKEN in text for one in seen for _, text in one.headers)


def test_a_token_is_exchanged_by_sighup_and_a_bad_file_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "dapr-api-token").write_text(TOKEN)

    with sidecar(tmp_path, env={"CREDENTIALS_DIRECTORY": str(tmp_path)}) as edged:
        guards(edged, TOKEN, NEXT)
        assert edged.process is not None

        (tmp_path / "dapr-api-token").write_text("")
        edged.process.send_signal(signal.SIGHUP)
        until(lambda: "dapr-api-token is empty" in edged.log(), what=edged.log())
        guards(edged, TOKEN, NEXT)

        (tmp_path / "dapr-api-token").write_text(NEXT)
        edged.process.send_signal(signal.SIGHUP)
        until(lambda: edged.log().count("dapr initialized") == 2, what="a second start")
        edged.wait()
        guards(edged, NEXT, TOKEN)


@pytest.mark.parametrize("text", [None, ""])
def test_without_the_token_it_was_told_of_it_does_not_start(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "token"
    if text is not None:
        path.write_text(text)
    done = command("run", "--app-id", "a", "--dapr-http-port", "0", env={"DAPR_API_TOKEN_FILE": str(path)}, home=tmp_path)

    assert done.returncode == 1 and f"DAPR_API_TOKEN_FILE {path}" in done.stdout + done.stderr


def test_an_apps_token_is_no_secret_of_its_credentials(tmp_path: Path) -> None:
    for name in ("dapr-api-token", "app-api-token.test", "mqtt"):
        (tmp_path / name).write_text(TOKEN)
    resources = {"s.yaml": component("s", "secretstores.systemd")}

    with sidecar(tmp_path / "s", resources=resources, env={"CREDENTIALS_DIRECTORY": str(tmp_path)}) as edged:
        found = edged.call("GET", "/v1.0/secrets/s/bulk", headers={"dapr-api-token": TOKEN})

    assert found.json() == {"mqtt": {"mqtt": TOKEN}}


def test_the_devices_daemon_exchanges_tokens_and_starts_the_apps_that_need_them(tmp_path: Path) -> None:
    (tmp_path / "dapr-api-token.one").write_text(TOKEN)
    first = app("one", sys.executable, "-c", "import os, time; print('mine is', os.environ['DAPR_API_TOKEN'], flush=True); time.sleep(600)")
    other = app("two")
    files = {"edged.yaml": run_file(first, other)}

    with fleet(tmp_path, "serve", "--config-dir", ".", files=files, env={"CREDENTIALS_DIRECTORY": str(tmp_path)}) as daemon:
        daemon.up(port_of(first), port_of(other))
        assert [daemon.call(port_of(each), "/v1.0/metadata")[0] for each in (first, other)] == [401, 200]
        daemon.says(f"mine is {TOKEN}")

        (tmp_path / "dapr-api-token.one").write_text(NEXT)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.says(f"mine is {NEXT}")
        assert daemon.call(port_of(other), "/v1.0/metadata")[0] == 200
