"""The app that `edged run … -- command` starts beside the sidecar: its environment, its signals, its end.

The app runs in a process group of its own. If edged is killed the kernel ends the app (PR_SET_PDEATHSIG) and a tiny guard shell,
waiting on a pipe that only edged holds open, ends the rest of its group: SIGKILL leaves no child behind. The app tells the guard its
group before it becomes the app, so there is no moment without a guard.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge import tokens
from edge.cli import openfiles
from edge.settings import AppSettings

PR_SET_PDEATHSIG = 1
GUARD = 'read -r group; read -r line; [ -n "$group" ] && kill -KILL "-$group" 2>/dev/null'
SHELL = Path("/bin/sh")


class StartError(Exception):
    """The app's command can't be started; the text says why."""


def environment(base: Mapping[str, str], app: AppSettings, metrics_port: int) -> dict[str, str]:
    """What the app inherits plus what Dapr's launcher gives it (cli.md §3.3)."""
    env = dict(base)
    env |= {
        "APP_ID": app.app_id,
        "APP_CHANNEL_ADDRESS": app.app_channel_address,
        "APP_PROTOCOL": app.app_protocol,
        "DAPR_HTTP_PORT": str(app.http_port),
        "DAPR_GRPC_PORT": str(app.grpc_port),
        "DAPR_METRICS_PORT": str(metrics_port),
    }
    for name, value in ((tokens.API, app.api_token), (tokens.APP, app.app_token)):
        if value:
            env[name] = value  # SDKs read these variables, and no files
    if app.app_port:
        env["APP_PORT"] = str(app.app_port)
    return env


def _guard(pipe: int) -> subprocess.Popen[bytes] | None:
    if not SHELL.exists():
        return None
    arguments = [str(SHELL), "-c", GUARD, "edged-guard"]
    return subprocess.Popen(arguments, stdin=pipe, stdout=subprocess.DEVNULL, process_group=0, env={})


class Child:
    """One running app command."""

    def __init__(self, process: asyncio.subprocess.Process, guard: subprocess.Popen[bytes] | None, pipe: int) -> None:
        self.process, self._guard, self._pipe = process, guard, pipe

    @classmethod
    async def start(cls, command: Sequence[str], env: Mapping[str, str], cwd: Path | None = None, output: int | None = None) -> Child:
        """Run the command with this process's standard streams, or with `output` as its output and error. Raises StartError."""
        libc = ctypes.CDLL(None)
        parent = os.getpid()
        read, write = os.pipe2(os.O_CLOEXEC)
        guard = _guard(read)
        os.close(read)

        def before_the_app() -> None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            resource.setrlimit(resource.RLIMIT_NOFILE, openfiles.GIVEN)
            if guard is not None:
                os.write(write, b"%d\n" % os.getpid())
            if os.getppid() != parent:
                os._exit(1)

        try:
            process = await asyncio.create_subprocess_exec(
                *command, env=dict(env), cwd=cwd, stdout=output, stderr=output, process_group=0, preexec_fn=before_the_app
            )
        except OSError as error:
            _dismiss(guard, write)
            raise StartError(f"cannot start the app command {command[0]!r}: {error.strerror}") from error
        return cls(process, guard, write)

    @property
    def pid(self) -> int:
        return self.process.pid

    async def wait(self) -> int:
        """The exit code, negative for a signal."""
        return await self.process.wait()

    async def stop(self, grace: float, number: int = signal.SIGTERM) -> int:
        """Pass a signal on to the app's group, kill what is left after `grace` seconds, and return the exit code."""
        if self.process.returncode is None:
            self._signal_group(number)
            try:
                await asyncio.wait_for(self.process.wait(), grace)
            except TimeoutError:
                self._signal_group(signal.SIGKILL)
                await self.process.wait()
        self._signal_group(signal.SIGKILL)
        _dismiss(self._guard, self._pipe)
        self._guard, self._pipe = None, -1
        return self.process.returncode or 0

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


def _dismiss(guard: subprocess.Popen[bytes] | None, pipe: int) -> None:
    if guard is not None:
        guard.kill()
        guard.wait()
    with contextlib.suppress(OSError):
        os.close(pipe)
