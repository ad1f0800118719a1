"""Sidecars by fork: a process that has imported edged makes each of them, so that one of dozens of restarts costs milliseconds.

`python -m tests.zygote` reads one JSON object a line ({"args", "env", "log"}) and answers each with the pid of the new sidecar.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from edge import crash
from edge.cli import run
from edge.registry import load
from tests.harness import ROOT, Sidecar


class Zygote:
    """The forking process, seen from a test."""

    def __init__(self) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([sys.executable, "-m", "tests.zygote"], stdin=pipe, stdout=pipe, cwd=ROOT, text=True)

    def fork(self, args: list[str], env: dict[str, str], log: Path) -> int:
        """Start a sidecar; its pid."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"args": args, "env": env, "log": str(log)}) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


@contextlib.contextmanager
def zygote() -> Iterator[Zygote]:
    one = Zygote()
    try:
        yield one
    finally:
        one.close()


@dataclass
class Forked:
    """A sidecar process that was forked."""

    pid: int
    handle: int

    def poll(self) -> int | None:
        """None while it lives, else 0."""
        return 0 if select.select([self.handle], [], [], 0)[0] else None

    def wait(self, timeout: float) -> int:
        assert select.select([self.handle], [], [], timeout)[0], "the sidecar did not end"
        return 0

    def send_signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, number)


class ForkedSidecar(Sidecar):
    """A `Sidecar` that comes from a zygote. crash_at: see edge/crash.py, for the next start."""

    zygote: Zygote
    crash_at = ""

    def spawn(self) -> Any:
        if isinstance(self.process, Forked):
            os.close(self.process.handle)
        env = dict(self.env) | ({"EDGED_CRASH_AT": self.crash_at} if self.crash_at else {})
        pid = self.zygote.fork(self.arguments(), env, self.log_path)
        self.process = Forked(pid, os.pidfd_open(pid))  # type: ignore[assignment]
        return self.process

    def ended(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None


def _serve() -> None:
    _preload()
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become_sidecar(order)
        print(pid, flush=True)
        _reap()


def _preload() -> None:
    for type_ in ("pubsub.mqtt3", "pubsub.sqlite", "state.sqlite", "bindings.mqtt3"):
        load(type_)
    for module in ("edge.runtime", "edge.api.http.server", "paho.mqtt.client"):
        import_module(module)


def _become_sidecar(order: dict[str, Any]) -> None:
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for target in (1, 2):
        os.dup2(log, target)
    os.close(0)
    for name in [name for name in os.environ if name.startswith(("DAPR_", "APP_", "NAMESPACE"))]:
        del os.environ[name]
    os.environ.update(order["env"])
    crash.arm(order["env"].get("EDGED_CRASH_AT", ""))
    code = 1
    try:
        code = run.run(order["args"])
    finally:
        sys.stdout.flush()
        os._exit(code)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    _serve()
