"""How SDK programs are found and run beside a sidecar."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.harness import ROOT, Sidecar, free_port, sidecar

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


def java(folder: str, name: str) -> list[str]:
    """The command of the class `name` of tests/sdk/java/`folder`. Skips the test when there is no JDK, no Maven, or nothing fetched."""
    if shutil.which("javac") is None or shutil.which("mvn") is None:
        pytest.skip("the Java SDK needs a JDK and Maven")
    _install("java")
    made = CACHE / "java" / folder
    if not (made / "made-from").exists():
        pytest.skip(f"no JDK 17, or Maven could not fetch what tests/sdk/java/{folder} needs ({made}/maven.txt)")
    return ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{made}/classes:{made}/lib/*", name]


@contextmanager
def called(folder: Path, apps: Mapping[str, tuple[Sequence[str], str]], **settings: Any) -> Iterator[None]:
    """Apps that are only called, each beside a sidecar of its own. apps: app id -> its command and protocol."""
    sidecars, processes = [], []
    try:
        for app_id, (command, protocol) in apps.items():
            one = Sidecar(folder / app_id, app_id, free_port(), flags=("--app-protocol", protocol), **settings)
            one.folder.mkdir(parents=True)
            one.spawn()
            sidecars.append(one)
            with (one.folder / "app.txt").open("wb") as out:
                processes.append(subprocess.Popen(command, env=_environment(one), cwd=one.folder, stdout=out, stderr=out))
        for one in sidecars:
            one.wait(timeout=60)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
        for one in sidecars:
            one.kill()


def _environment(edged: Sidecar) -> dict[str, str]:
    ports = {"APP_PORT": str(edged.app_port), "DAPR_HTTP_PORT": str(edged.http_port), "DAPR_GRPC_PORT": str(edged.grpc_port)}
    return os.environ | ports | {"NODE_PATH": str(CACHE / "node" / "node_modules"), "DAPR_RUNTIME_HOST": "127.0.0.1"}


def run(
    command: Sequence[str], folder: Path, *, app_protocol: str = "http", needs_app: bool = True, timeout: float = 90.0, **settings: Any
) -> list[list[Any]]:
    """Run a program beside its sidecar; what it reported, a [step, saw] for each line.

    needs_app: the program listens on APP_PORT. settings: of tests.harness.Sidecar.
    """
    port = free_port() if needs_app else 0
    flags = ("--app-protocol", app_protocol, *settings.pop("flags", ()))
    with sidecar(folder, app_port=port, flags=flags, **settings) as edged:
        done = subprocess.run(command, env=_environment(edged), capture_output=True, text=True, timeout=timeout, cwd=folder)
        assert done.returncode == 0, (
            f"{command[-1]} ended with {done.returncode}\n{done.stderr[-4000:]}\n{done.stdout[-4000:]}\n{edged.log()}"
        )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"')]
    return [[line["step"], line["saw"]] for line in lines if "step" in line]
