"""Real processes for tests: a sidecar on free ports, its log, its API over plain sockets."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
EDGED = (frozen,) if (frozen := os.environ.get("EDGED_PROGRAM")) else (sys.executable, "-m", "edge")
"""The executable under test: the source tree's, or a built one."""


PORTS = range(20_000, 32_000)
"""Below those that the kernel gives to clients, so that no connection of another test takes one."""
_reserved: list[socket.socket] = []


def free_port() -> int:
    """A port on loopback that nobody has, and that no other test process is given while this one lives."""
    for port in random.sample(PORTS, len(PORTS)):
        mark = socket.socket(socket.AF_UNIX)
        try:
            mark.bind(f"\0edged-tests-{port}")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            mark.close()
            continue
        _reserved.append(mark)
        return port
    raise AssertionError("no port is free")


def component(name: str, kind: str, metadata: Mapping[str, object] | None = None, **spec: object) -> str:
    """One Component document."""
    items = [{"name": key, "value": value} for key, value in (metadata or {}).items()]
    scopes = spec.pop("scopes", None)
    document = {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": name},
        "spec": {"type": kind, "version": "v1", "metadata": items, **spec},
    }
    if scopes is not None:
        document["scopes"] = scopes
    return json.dumps(document)


@dataclass
class Answer:
    """An HTTP answer, read whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Sidecar:
    """An `edged run` process. resources: file name -> YAML or JSON text; None = no --resources-path (the defaults)."""

    folder: Path
    app_id: str = "test"
    app_port: int = 0
    resources: Mapping[str, str] | None = None
    config: str | None = None
    flags: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    program: Sequence[str] = (*EDGED, "run")
    command: Sequence[str] = ()
    cwd: Path = ROOT

    def __post_init__(self) -> None:
        self.http_port, self.grpc_port, self.internal_port, self.metrics_port = (free_port() for _ in range(4))
        self.log_path = self.folder / "log.txt"
        self.process: subprocess.Popen[bytes] | None = None

    def arguments(self) -> list[str]:
        args = ["--app-id", self.app_id, "--dapr-http-port", str(self.http_port), "--dapr-grpc-port", str(self.grpc_port)]
        args += ["--dapr-internal-grpc-port", str(self.internal_port), "--metrics-port", str(self.metrics_port)]
        args += ["--data-dir", str(self.folder / "data")]
        if self.app_port:
            args += ["--app-port", str(self.app_port)]
        if self.resources is not None:
            folder = self.folder / "resources"
            folder.mkdir(exist_ok=True)
            for name, text in self.resources.items():
                (folder / name).write_text(text)
            args += ["--resources-path", str(folder)]
        if self.config is not None:
            (self.folder / "config.yaml").write_text(self.config)
            args += ["--config", str(self.folder / "config.yaml")]
        return [*args, *self.flags, *(["--", *self.command] if self.command else [])]

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the process and return at once."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("DAPR_", "APP_", "NAMESPACE"))} | dict(self.env)
        with self.log_path.open("ab") as out:
            self.process = subprocess.Popen([*self.program, *self.arguments()], stdout=out, stderr=out, env=env, cwd=self.cwd)
        return self.process

    def start(self, wait: str = "/v1.0/healthz/outbound", timeout: float = 20.0) -> Sidecar:
        """Start and wait until the health path answers 204."""
        self.spawn()
        self.wait(wait, timeout)
        return self

    def wait(self, path: str = "/v1.0/healthz", timeout: float = 20.0) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"edged ended with {self.process.returncode}:\n{self.log()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.call("GET", path).status == 204:
                    return
            time.sleep(0.02)
        raise AssertionError(f"{path} not 204 in {timeout} s:\n{self.log()}")

    def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, timeout: float = 10.0) -> Answer:
        """One request on a fresh connection; a body that is no bytes goes as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=timeout)
        try:
            sent = dict(headers or {})
            if body is not None and not isinstance(body, bytes):
                body = json.dumps(body).encode()
                sent.setdefault("content-type", "application/json")
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Send a signal and wait for the end; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(20)

    def stop(self) -> int:
        return self.kill(signal.SIGTERM)


@contextlib.contextmanager
def sidecar(folder: Path, **settings: Any) -> Iterator[Sidecar]:
    """A started sidecar that is ended with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    one = Sidecar(folder, **settings)
    try:
        yield one.start()
    finally:
        if one.process is not None and one.process.poll() is None:
            one.kill()
