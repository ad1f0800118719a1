"""How SDK programs are found and run beside a sidecar."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.harness import ROOT, free_port, sidecar

HERE = Path(__file__).parent
CACHE = ROOT / ".cache" / "sdk"


@cache
def _install(language: str) -> None:
    subprocess.run([str(ROOT / "packaging" / "sdk"), language], check=True)


def python(name: str) -> list[str]:
    """The command of tests/sdk/python/`name`.py."""
    return [sys.executable, str(HERE / "python" / f"{name}.py")]


def node(name: str) -> list[str]:
    """The command of tests/sdk/node/`name`.js. Skips the test when there is no Node."""
    if shutil.which("npm") is None:
        pytest.skip("the JavaScript SDK needs node and npm")
    _install("node")
    return ["node", str(HERE / "node" / f"{name}.js")]


def go(name: str) -> list[str]:
    """The command of the Go program `name`. Skips the test when there is no Go that is new enough."""
    _install("go")
    if not (CACHE / "go-sdk").exists():
        pytest.skip("the Go SDK needs a newer Go")
    return [str(CACHE / "go-sdk"), name]


def run(
    command: Sequence[str], folder: Path, *, app_protocol: str = "http", needs_app: bool = True, timeout: float = 90.0, **settings: Any
) -> list[list[Any]]:
    """Run a program beside its sidecar; what it reported, a [step, saw] for each line.

    needs_app: the program listens on APP_PORT. settings: of tests.harness.Sidecar.
    """
    port = free_port() if needs_app else 0
    flags = ("--app-protocol", app_protocol, *settings.pop("flags", ()))
    with sidecar(folder, app_port=port, flags=flags, **settings) as edged:
        ports = {"APP_PORT": str(port), "DAPR_HTTP_PORT": str(edged.http_port), "DAPR_GRPC_PORT": str(edged.grpc_port)}
        env = os.environ | ports | {"NODE_PATH": str(CACHE / "node" / "node_modules"), "DAPR_RUNTIME_HOST": "127.0.0.1"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout, cwd=folder)
        assert done.returncode == 0, (
            f"{command[-1]} ended with {done.returncode}\n{done.stderr[-4000:]}\n{done.stdout[-4000:]}\n{edged.log()}"
        )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"')]
    return [[line["step"], line["saw"]] for line in lines if "step" in line]
