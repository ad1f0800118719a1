"""An app's output in the foreground: prefixed, coloured on a terminal, and written to its log file as `dapr run -f` does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Awaitable

from edge.cli.runfile import AppEntry

COLOURS = (36, 33, 35, 32, 34, 31)
CHUNK = 64 * 1024


class Prefixed:
    """A pipe whose lines go to this process's output with `== APP - <id> ==` before them, and to a file."""

    _next_colour = 0

    def __init__(self, entry: AppEntry, foreground: bool) -> None:
        self._console = not foreground or entry.app_log in ("console", "fileAndConsole")
        self._prefix = f"== APP - {entry.settings.app_id} == "
        if sys.stdout.isatty():
            self._prefix = f"\x1b[{COLOURS[Prefixed._next_colour % len(COLOURS)]}m{self._prefix}\x1b[0m"
            Prefixed._next_colour += 1
        self._file = self._open_file(entry) if foreground and entry.app_log in ("file", "fileAndConsole") else -1
        self._read, self._write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read, False)
        self._rest = b""

    @staticmethod
    def _open_file(entry: AppEntry) -> int:
        folder = entry.directory / ".dapr" / "logs"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{entry.settings.app_id}_app_{time.strftime('%Y%m%d%H%M%S')}.log"
            return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError:
            return -1

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

    def _readable(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._read, CHUNK):
                self._pass_on(data)
                if len(data) < CHUNK:
                    return

    def _pass_on(self, data: bytes) -> None:
        if self._file >= 0:
            os.write(self._file, data)
        if not self._console:
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        text = b"".join(self._prefix.encode() + line + b"\n" for line in lines)
        if text:
            with contextlib.suppress(OSError):
                os.write(1, text)

    def close(self) -> None:
        for descriptor in (self._read, self._write, self._file):
            with contextlib.suppress(OSError):
                if descriptor >= 0:
                    os.close(descriptor)
        self._read = self._write = self._file = -1
