"""systemd's protocols, against a real datagram socket and real descriptors."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from edge import systemd
from edge.cli.service import told


@pytest.mark.parametrize("abstract", [False, True])
def test_notify_sends_one_datagram(tmp_path: Path, abstract: bool) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        name = f"@edged-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
        listener.bind("\0" + name[1:] if abstract else name)

        assert systemd.notify("READY=1", {"NOTIFY_SOCKET": name})
        assert listener.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "relative", "/nonexistent/notify"])
def test_notify_without_a_listener_says_so(address: str) -> None:
    assert not systemd.notify("READY=1", {"NOTIFY_SOCKET": address})


def test_the_watchdog_is_fed_twice_per_interval_and_only_by_whom_it_is_set_for() -> None:
    assert systemd.watchdog_interval({"WATCHDOG_USEC": "60000000"}) == 30.0
    assert systemd.watchdog_interval({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}) == 30.0
    assert systemd.watchdog_interval({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}) is None
    assert systemd.watchdog_interval({"WATCHDOG_USEC": "soon"}) is None
    assert systemd.watchdog_interval({}) is None


class SlowCard:
    """A daemon whose file takes a while to commit."""

    async def probe(self) -> None:
        await asyncio.sleep(0.4)


def test_a_slow_card_does_not_starve_the_watchdog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "1000000")
        monkeypatch.setattr("edge.cli.service.TIDY_AFTER", 60.0)  # this process is not a daemon

        async def script() -> None:
            async with told(lambda: [SlowCard()], "1 apps: one"):
                await asyncio.sleep(4.2)

        asyncio.run(script())
        heard = []
        with suppress(BlockingIOError):
            while True:
                heard.append(listener.recv(100))

    assert heard.count(b"WATCHDOG=1") >= 6  # every 0.5 s, not 0.5 s after each commit


LISTENING = """
import json, os, socket
from edge.systemd import inherited
os.environ["LISTEN_PID"] = str(os.getpid())
found = {kind: [s.getsockname()[1] for s in sockets] for kind, sockets in inherited("shop", sole=%s).items()}
print(json.dumps([found, sorted(k for k in os.environ if k.startswith("LISTEN")), os.get_inheritable(3)]))
"""


def test_sockets_are_found_by_name_and_children_do_not_inherit_them() -> None:
    with socket.socket() as one, socket.socket() as two:
        for each in (one, two):
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in (one, two)]
        for sole, expected in ((True, {"http": [ports[0]], "grpc": [ports[1]]}), (False, {"http": [ports[0]]})):
            env = dict(os.environ) | {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "shop-http:grpc"}
            shell = f'exec "$0" -c "$1" 3<&{one.fileno()} 4<&{two.fileno()}'
            command = ["/bin/bash", "-c", shell, sys.executable, LISTENING % sole]
            out = subprocess.run(command, env=env, pass_fds=(one.fileno(), two.fileno()), capture_output=True, text=True, check=True).stdout

            assert json.loads(out) == [expected, [], False]


def test_sockets_for_another_process_are_left_alone() -> None:
    environ = {"LISTEN_FDS": "1", "LISTEN_PID": "1"}

    assert systemd.listen_sockets(environ) == {}
