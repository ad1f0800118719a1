"""systemd's notify protocol and socket activation, by its documented environment variables (sd_notify(3), sd_listen_fds(3))."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, MutableMapping, Sequence
from functools import cache

FIRST_FD = 3


def notify(state: str, environ: MutableMapping[str, str] | None = None) -> bool:
    """Send one state line (`READY=1`, `STOPPING=1`, `WATCHDOG=1`, `STATUS=…`); False when systemd does not listen."""
    address = (os.environ if environ is None else environ).get("NOTIFY_SOCKET", "")
    if not address or address[0] not in "/@":
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        try:
            out.sendto(state.encode(), "\0" + address[1:] if address[0] == "@" else address)
        except OSError:
            return False
    return True


def watchdog_interval(environ: MutableMapping[str, str] | None = None) -> float | None:
    """Seconds between WATCHDOG=1 messages (half of what systemd waits), None when no watchdog is set for this process."""
    env = os.environ if environ is None else environ
    if env.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    usec = env.get("WATCHDOG_USEC", "")
    return int(usec) / 2e6 if usec.isdigit() and int(usec) > 0 else None


def listen_sockets(environ: MutableMapping[str, str] | None = None) -> dict[str, list[socket.socket]]:
    """Sockets that systemd opened for this process, by FileDescriptorName; the variables are removed, children don't inherit them."""
    env = os.environ if environ is None else environ
    count, pid, names = (env.pop(key, "") for key in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"))
    if pid != str(os.getpid()) or not count.isdigit():
        return {}
    found: dict[str, list[socket.socket]] = {}
    labels = names.split(":")
    for index in range(int(count)):
        os.set_inheritable(FIRST_FD + index, False)
        name = labels[index] if index < len(labels) and labels[index] else "unknown"
        found.setdefault(name, []).append(socket.socket(fileno=FIRST_FD + index))
    return found


def inherited(app_id: str, *, sole: bool = False) -> Mapping[str, Sequence[socket.socket]]:
    """systemd's sockets for one app by API: named `<app id>-http` and `<app id>-grpc`, or plain `http` and `grpc` for a sole app."""
    found = _listening()
    names = {kind: [f"{app_id}-{kind}", *([kind] if sole else ())] for kind in ("http", "grpc")}
    return {kind: sockets for kind, wanted in names.items() if (sockets := [s for name in wanted for s in found.get(name, ())])}


@cache
def _listening() -> dict[str, list[socket.socket]]:
    return listen_sockets()
