"""The folder that holds one app's journal and state, and the lock that lets one process have it at a time.

`<base>/<app-id>` is the folder; a second instance of the same app id gets `<app-id>.2`, `.3`…; the first start that finds such a
folder without a holder reports it for adoption. The lock is flock: a crash releases it.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from edge.record import record

log = logging.getLogger("dapr.runtime")
MOST_INSTANCES = 64
PATIENCE = 0.25


class DataDirError(Exception):
    """The folder can't be used; the text names it, the reason and what to do."""


@record
class DataDir:
    """A held folder. number: 1 for the app's own, else of a further instance. orphans: folders of instances that ended (held too)."""

    path: Path
    number: int = 1
    orphans: tuple[Path, ...] = ()


def base_dir(given: str, environ: Mapping[str, str]) -> Path:
    """--data-dir, else $STATE_DIRECTORY (systemd), else $XDG_STATE_HOME/edged, else ~/.local/state/edged, else /var/tmp/edged-<uid>."""
    if given:
        return Path(given).absolute()
    if state := environ.get("STATE_DIRECTORY", "").split(":")[0]:
        return Path(state)
    if xdg := environ.get("XDG_STATE_HOME"):
        return Path(xdg) / "edged"
    home = environ.get("HOME") or _home_of_user()
    return Path(home) / ".local/state/edged" if home else Path(f"/var/tmp/edged-{os.getuid()}")


def _home_of_user() -> str:
    import pwd  # only when the environment names no home

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""


@contextmanager
def hold(base: Path, app_id: str, *, alone: bool = False) -> Iterator[DataDir]:
    """Hold the app's folder until the block ends. alone: a second holder is refused instead of getting a folder of its own.

    Raises DataDirError.
    """
    name = app_id.replace("/", "_").strip() or "_"
    locks: list[int] = []
    try:
        for number in range(1, 2 if alone else MOST_INSTANCES):
            path = base / (name if number == 1 else f"{name}.{number}")
            if (lock := _lock(path, PATIENCE if number == 1 else 0.0)) is not None:
                locks.append(lock)
                break
        else:
            raise DataDirError(_refusal(base / name, app_id, alone))
        if number > 1:
            log.warning("Another instance of app id %s on this machine holds %s; this one uses %s", app_id, base / name, path)
        yield DataDir(path, number, tuple(_orphans(base, name, locks)) if number == 1 else ())
    finally:
        for lock in locks:
            os.close(lock)


def _refusal(path: Path, app_id: str, alone: bool) -> str:
    if alone:
        holder = (path / "lock").read_text(errors="replace").strip() or "unknown"
        return f"data directory {path}: process {holder} holds it; stop that daemon, or give this one another --data-dir"
    return f"data directory {path}: {MOST_INSTANCES - 1} instances of app id {app_id} hold it already"


def _lock(path: Path, patience: float) -> int | None:
    """`_try_lock`, again for a moment: `edged list` tries a lock too, and a killed holder's is gone only with its last thread."""
    deadline = time.monotonic() + patience
    while (lock := _try_lock(path)) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return lock


def _orphans(base: Path, name: str, locks: list[int]) -> Iterator[Path]:
    for path in sorted(base.glob(f"{name}.[0-9]*")):
        if path.is_dir() and path.name[len(name) + 1 :].isdigit() and (lock := _try_lock(path)) is not None:
            locks.append(lock)
            yield path


def _try_lock(path: Path) -> int | None:
    """A locked descriptor, None if another process holds the folder."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataDirError(f"data directory {path}: {_reason(error)}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return None
        raise DataDirError(f"data directory {path}: cannot be locked: {error.strerror}; use a local file system or --data-dir") from error
    with suppress(OSError):  # on a full disk the lock holds all the same
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def holder(path: Path) -> int | None:
    """The process that holds a folder, None = nobody does."""
    try:
        with (path / "lock").open("r+") as file:
            text = file.read().strip()
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(text) if text.isdigit() else None
    except OSError:
        return None
    return None


def _reason(error: OSError) -> str:
    match error.errno:
        case errno.EROFS:
            return "the file system is read-only; remount it writable or give --data-dir on another one"
        case errno.EACCES | errno.EPERM:
            return "permission denied; give the user that runs edged write access, or --data-dir with a folder of its own"
        case errno.ENOSPC | errno.EDQUOT:
            return "no space left; free some, nothing was changed"
        case errno.ENOTDIR | errno.EEXIST:
            return "a file is in the way; move it or give another --data-dir"
    return f"{error.strerror}; check the path or give another --data-dir"
