"""What an app and the daemon say under `edged run -f`: prefixed, coloured on a terminal, and in log files as `dapr run -f` keeps them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import sys
import time
from collections.abc import Awaitable, Iterable
from pathlib import Path

from edge.cli.runfile import AppEntry
from edge.telemetry.logs import Lines

log = logging.getLogger("dapr.runtime")
COLOURS = itertools.cycle((36, 33, 35, 32, 34, 31))
CHUNK = 64 * 1024
FILE, CONSOLE = ("file", "fileAndConsole"), ("console", "fileAndConsole")


def _log_file(entry: AppEntry, kind: str) -> tuple[str, int]:
    """Path and descriptor of a new `<appDirPath>/.dapr/logs/<id>_<kind>_<time>.log`; ("", -1) when it can't be written."""
    path = entry.directory / ".dapr" / "logs" / f"{entry.settings.app_id}_{kind}_{time.strftime('%Y%m%d%H%M%S')}.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return str(path), os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        log.warning("%s: %s; this log goes nowhere", path, error.strerror)
        return "", -1


class Logs:
    """The daemon's own lines: into a file for each app whose daprdLogDestination says so; the terminal keeps warnings."""

    def __init__(self, *, foreground: bool) -> None:
        self._foreground = foreground
        self._paths: dict[str, str] = {}
        self._handlers: list[Lines] = []

    def open(self, entries: Iterable[AppEntry]) -> None:
        """For apps that are about to start."""
        if not self._foreground:
            return
        root = logging.getLogger()
        for entry in entries:
            path, descriptor = _log_file(entry, "daprd") if entry.daprd_log in FILE else ("", -1)
            if descriptor >= 0:
                self._paths[entry.settings.app_id] = path
                self._handlers.append(Lines(entry.settings.app_id, fd=descriptor))
                root.addHandler(self._handlers[-1])
            else:
                self._paths.setdefault("", "console")
        quiet = logging.WARNING if self._handlers and "" not in self._paths else logging.NOTSET
        for handler in root.handlers:
            if isinstance(handler, Lines) and handler.fd == 1:
                handler.setLevel(quiet)

    def path(self, entry: AppEntry) -> str:
        """The daemon's log file for that app, "" = none."""
        return self._paths.get(entry.settings.app_id, "")

    def close(self) -> None:
        for handler in self._handlers:
            logging.getLogger().removeHandler(handler)
            os.close(handler.fd)
        self._handlers.clear()


class Prefixed:
    """A pipe whose lines go to this process's output with `== APP - <id> ==` before them, and to a file. path: of the file, "" = none."""

    def __init__(self, entry: AppEntry, foreground: bool) -> None:
        self._console = not foreground or entry.app_log in CONSOLE
        prefix = f"== APP - {entry.settings.app_id} == "
        self._prefix = (f"\x1b[{next(COLOURS)}m{prefix}\x1b[0m" if sys.stdout.isatty() else prefix).encode()
        self.path, self._file = _log_file(entry, "app") if foreground and entry.app_log in FILE else ("", -1)
        self._read, self._write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read, False)
        self._rest = b""

    def write_end(self) -> int:
        """The descriptor for the app's standard output and error."""
        return self._write

    async def follow(self, ended: Awaitable[int]) -> None:
        """Pass lines on until the app ended and its pipe is empty."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._read, self._readable)
        try:
            await ended
        finally:
            loop.remove_reader(self._read)
            self._readable()
            self._end_line()

    def _readable(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._read, CHUNK):
                self._pass_on(data)

    def _pass_on(self, data: bytes) -> None:
        if self._file >= 0:
            with contextlib.suppress(OSError):  # a full disk: the terminal still has the line
                os.write(self._file, data)
        if not self._console:
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > CHUNK:  # a line without end
            lines, self._rest = [*lines, self._rest], b""
        if lines:
            with contextlib.suppress(OSError):
                os.write(1, b"".join(self._prefix + line + b"\n" for line in lines))

    def _end_line(self) -> None:
        if self._rest:
            with contextlib.suppress(OSError):
                os.write(1, self._prefix + self._rest + b"\n")
            self._rest = b""

    def close(self) -> None:
        for descriptor in (self._read, self._write, self._file):
            if descriptor >= 0:
                os.close(descriptor)
        self._read = self._write = self._file = -1


def tail(path: Path, lines: int) -> tuple[list[str], int]:
    """The last lines of a file and where it ends, read from its end."""
    with path.open("rb") as file:
        end = position = file.seek(0, os.SEEK_END)
        data = b""
        while position > 0 and data.count(b"\n") <= lines:
            step = min(CHUNK, position)
            position -= step
            file.seek(position)
            data = file.read(step) + data
    return data.decode(errors="replace").splitlines()[-lines:], end
