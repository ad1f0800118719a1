"""`edged run` and the name `daprd`: one sidecar from daprd's flags, with or without the app's command after `--`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from edge import version
from edge.cli import flags, openfiles
from edge.cli.announce import announce, announced, extended, instance
from edge.datadir import DataDir, DataDirError, base_dir, hold
from edge.settings import DaemonSettings, SettingsError, app_settings, daemon_settings
from edge.systemd import inherited
from edge.telemetry import logs

log = logging.getLogger("dapr.runtime")
WAIT_SECONDS = 60.0


def daprd(arguments: Sequence[str]) -> int:
    """Exactly daprd's command line: flags only, version and errors as daprd prints them."""
    return _command("daprd", arguments, version.DAPR)


def run(arguments: Sequence[str]) -> int:
    """`edged run [flags] [-- command …]`."""
    return _command("edged run", arguments, f"edged {version.VERSION} (Dapr API {version.DAPR})")


def _command(program: str, arguments: Sequence[str], version_text: str) -> int:
    try:
        values, command = flags.parse(arguments)
    except flags.HelpAsked:
        print(flags.usage(program))  # noqa: T201
        return 0
    except flags.UsageError as error:
        print(f"{flags.usage(program)}\n{error}", file=sys.stderr)  # noqa: T201
        return 2
    if values["version"] or values["build_info"]:
        print(version_text if values["version"] else f"Version: {version.DAPR}\nGit Commit: \nGit Version: edged-{version.VERSION}")  # noqa: T201
        return 0
    try:
        logs.setup(values["app_id"], values["log_level"], values["log_as_json"], values["log_file"])
    except (ValueError, OSError) as error:
        logs.setup(values["app_id"])
        log.critical("%s", error)
        return 1
    if values["wait"]:
        return _wait(values["dapr_http_port"])
    return sidecar(values, command)


def sidecar(values: dict[str, Any], command: Sequence[str]) -> int:
    """Run one sidecar until it is told to stop; the exit code is the app's, if it ended by itself."""
    log.info("Starting Dapr Runtime -- version %s -- commit edged-%s", version.DAPR, version.VERSION)
    log.info("Log level set to: %s", values["log_level"])
    try:
        app = app_settings(values, os.environ)
        with hold(base_dir(values["data_dir"], os.environ), app.app_id) as data:
            settings = daemon_settings(values, [app], data.path)
            return asyncio.run(_serve(settings, data, command))
    except (SettingsError, DataDirError) as error:
        log.critical("Fatal error from runtime: %s", error)
        return 1


class Signals:
    """Stop signals as an event; the number of the first one is kept for the app. A start under way is cancelled by them."""

    def __init__(self, stop: asyncio.Event) -> None:
        self.stop, self.number, self._count = stop, int(signal.SIGTERM), 0
        self._starting: asyncio.Task[Any] | None = None

    def install(self) -> None:
        """Call in the task that starts the daemon."""
        loop = asyncio.get_running_loop()
        self._starting = asyncio.current_task()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._received, number)

    def started(self) -> None:
        """From now on a signal only sets the event."""
        self._starting = None

    def _received(self, number: int) -> None:
        self._count += 1
        if self._count > 1:
            os._exit(1)
        self.number = number
        words = {signal.SIGTERM: "terminated", signal.SIGINT: "interrupt"}
        logging.getLogger("dapr.signals").info("Received signal '%s'; beginning shutdown", words[signal.Signals(number)])
        self.stop.set()
        if self._starting is not None:
            self._starting.cancel()


async def _serve(settings: DaemonSettings, data: DataDir, command: Sequence[str]) -> int:
    from edge.cli.service import told
    from edge.renewal import renewable  # after the signal handlers' event exists: importing takes the longest
    from edge.runtime import StartFailed

    stop = asyncio.Event()
    signals = Signals(stop)
    signals.install()
    openfiles.raise_limit()
    openfiles.Watch(asyncio.get_running_loop())
    settings.apps[0].inherited = inherited(settings.apps[0].app_id, sole=True)
    try:
        async with renewable(settings, data, stop) as daemon:
            signals.started()
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, daemon.reload)
            rows = [instance(settings.apps[0], settings, command)]
            async with told(lambda: (daemon,), f"app {settings.apps[0].app_id}"):
                with announced(data.path, rows):
                    code = await _beside(settings, data, daemon, command, signals) if command else await _until(stop)
    except StartFailed as error:
        log.critical("Fatal error from runtime: %s", error)
        return 1
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
        code = 0
    log.info("Daprd shutdown gracefully")
    return code


async def _until(stop: asyncio.Event) -> int:
    await stop.wait()
    return 0


async def _beside(settings: DaemonSettings, data: DataDir, daemon: Any, command: Sequence[str], signals: Signals) -> int:
    from edge.cli.child import Child, StartError, environment  # only with an app command

    app = settings.apps[0]
    try:
        child = await Child.start(command, environment(os.environ, app, settings.metrics_port))
    except StartError as error:
        log.critical("%s", error)
        return 1
    one = instance(app, settings, command, child.pid)
    announce(data.path, [one])
    daemon.set_extended(app.app_id, extended(one))
    ended, asked = asyncio.create_task(child.wait(), name="app"), asyncio.create_task(signals.stop.wait(), name="stop")
    await asyncio.wait({ended, asked}, return_when=asyncio.FIRST_COMPLETED)
    by_itself = ended.done()
    code = await child.stop(5.0, signals.number)
    for task in (ended, asked):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    if by_itself:
        log.info("The app %s ended with exit code %d", app.app_id, code)
        return code if code >= 0 else 128 - code
    return code if 0 < code < 128 else 0


def _wait(port: str) -> int:
    from http.client import HTTPConnection, HTTPException  # only for --wait

    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        connection = HTTPConnection("127.0.0.1", int(port), timeout=1)
        try:
            connection.request("GET", "/v1.0/healthz/outbound")
            if connection.getresponse().status == 204:
                return 0
        except (OSError, HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    log.critical("the sidecar on port %s did not get ready in %d s; is it running?", port, WAIT_SECONDS)
    return 1
