"""Told when files of some folders change: the kernel's directory notifications (dnotify: no wake-up while nothing changes), and a look
now and then for what they don't tell (file systems over a network)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

try:
    import fcntl
except ImportError:  # not a Unix: the look now and then is all
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("dapr.runtime.hotreload.loader.disk")
QUIET = 0.05
LONGEST = 1.0


class FolderWatch:
    """Calls `changed` once things are quiet after a change of a file directly in one of the folders. every: seconds between looks."""

    _all: ClassVar[dict[FolderWatch, None]] = {}  # the signal does not say which folder it is about

    def __init__(self, folders: Sequence[Path], changed: Callable[[], None], every: float) -> None:
        self._folders, self._changed, self._every = folders, changed, every
        self._descriptors: list[int] = []
        self._quiet: asyncio.TimerHandle | None = None
        self._since = 0.0
        self._look: asyncio.TimerHandle | None = None
        self._seen: object = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._seen = self._state()
        if fcntl is not None and hasattr(fcntl, "F_NOTIFY"):
            FolderWatch._all[self] = None
            self._loop.add_signal_handler(signal.SIGIO, _on_signal, FolderWatch._all)
            events = fcntl.DN_CREATE | fcntl.DN_DELETE | fcntl.DN_RENAME | fcntl.DN_MODIFY | fcntl.DN_MULTISHOT
            for folder in self._folders:
                with contextlib.suppress(OSError):
                    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
                    self._descriptors.append(descriptor)
                    fcntl.fcntl(descriptor, fcntl.F_NOTIFY, events)
        self._look = self._loop.call_later(self._every, self._on_look)
        log.info("Watching directories: [%s]", " ".join(str(folder) for folder in self._folders))

    def stop(self) -> None:
        """Idempotent."""
        for handle in (self._quiet, self._look):
            if handle is not None:
                handle.cancel()
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []
        if FolderWatch._all.pop(self, 0) is None and not FolderWatch._all:
            self._loop.remove_signal_handler(signal.SIGIO)

    def look_soon(self) -> None:
        """An editor writes in several steps: wait until it is done, but not for ever."""
        now = self._loop.time()
        if self._quiet is None:
            self._since = now
        else:
            self._quiet.cancel()
        self._quiet = self._loop.call_at(min(now + QUIET, self._since + LONGEST), self._on_quiet)

    def _on_quiet(self) -> None:
        self._quiet = None
        if (state := self._state()) != self._seen:
            self._seen = state
            self._changed()

    def _on_look(self) -> None:
        self._look = self._loop.call_later(self._every, self._on_look)
        if self._quiet is None and (state := self._state()) != self._seen:
            self._seen = state
            self._changed()

    def _state(self) -> object:
        found = []
        for folder in self._folders:
            with contextlib.suppress(OSError):
                for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
                    with contextlib.suppress(OSError):
                        about = entry.stat()
                        found.append((entry.path, about.st_mtime_ns, about.st_size, about.st_ino))
        return found


def _on_signal(watches: dict[FolderWatch, None]) -> None:
    for watch in watches:
        watch.look_soon()
