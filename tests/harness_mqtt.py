"""A real mosquitto on loopback, plain MQTT clients for the other side, and a TCP proxy that cuts, freezes and slows a link."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.harness import free_port

MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
needs_mosquitto = pytest.mark.skipif(not Path(MOSQUITTO).exists(), reason="mosquitto is not installed")


@dataclass
class Broker:
    """A mosquitto process that keeps its sessions on disk, saved after each change. lines: more of mosquitto.conf."""

    folder: Path
    lines: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def start(self) -> Broker:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "mosquitto.conf"
        kept = ("persistence true", f"persistence_location {self.folder}/", "autosave_on_changes true", "autosave_interval 1")
        listen = (f"listener {self.port} 127.0.0.1", "allow_anonymous true", "max_queued_messages 0", "user root")
        config.write_text("\n".join((*kept, *listen, *self.lines)) + "\n")
        with (self.folder / "mosquitto.log").open("ab") as out:
            self.process = subprocess.Popen([MOSQUITTO, "-v", "-c", str(config)], stdout=out, stderr=out)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        raise AssertionError(f"mosquitto did not start:\n{self.log()}")

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(10)

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def log(self) -> str:
        return (self.folder / "mosquitto.log").read_text(errors="replace")


@contextmanager
def mosquitto(folder: Path, *lines: str, start: bool = True) -> Iterator[Broker]:
    """A broker for one test."""
    broker = Broker(folder / "broker", lines)
    try:
        yield broker.start() if start else broker
    finally:
        broker.kill()


class Plain:
    """Another MQTT client (paho on a thread of its own), as a sensor or a dashboard would be."""

    def __init__(self, port: int, client_id: str = "", *, clean: bool = True, version: int = 4) -> None:
        from paho.mqtt.client import CallbackAPIVersion, Client, MQTTProtocolVersion

        self.got: list[Any] = []
        self._ready = threading.Event()
        self._subscribed = threading.Event()
        session = None if version == 5 else clean
        self.client = Client(CallbackAPIVersion.VERSION2, client_id, session, protocol=MQTTProtocolVersion(version))
        self.client.on_connect = lambda *_: self._ready.set()
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_message = lambda _c, _d, message: self.got.append(message)
        self.client.max_inflight_messages_set(100)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self._ready.wait(5)

    def publish(self, topic: str, *payloads: bytes | str, qos: int = 1, retain: bool = False, properties: Any = None) -> None:
        """Return when the broker has them all."""
        infos = [self.client.publish(topic, payload, qos, retain, properties) for payload in payloads]
        for info in infos:
            info.wait_for_publish(10)

    def subscribe(self, topic: str, qos: int = 1) -> None:
        self._subscribed.clear()
        self.client.subscribe(topic, qos)
        assert self._subscribed.wait(5)

    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.got]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@contextmanager
def plain(port: int, client_id: str = "", **options: Any) -> Iterator[Plain]:
    client = Plain(port, client_id, **options)
    try:
        yield client
    finally:
        client.close()


def expect(broker: Broker, *filters: str) -> None:
    """Make the session `watcher`, then stop the broker: from its next start on `watching` misses nothing, whoever connects first."""
    broker.start()
    with plain(broker.port, "watcher", clean=False) as peer:
        for one in filters or ("#",):
            peer.subscribe(one)
    broker.stop()


@contextmanager
def watching(broker: Broker) -> Iterator[Plain]:
    """Start a broker for which `expect` was called; the session's client."""
    broker.start()
    with plain(broker.port, "watcher", clean=False) as peer:
        yield peer


class Proxy:
    """A TCP proxy in the test's loop: `cut` closes every connection, `gone` refuses new ones, `frozen` swallows bytes.

    rate: bytes per second, 0 = any.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = free_port()
        self.frozen = self.gone = False
        self.rate = 0.0
        self.connections = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=2048)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

    def cut(self) -> None:
        writers, self._writers = self._writers, []
        for writer in writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.gone:
            writer.transport.abort()
            return
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target, limit=2048)
        except OSError:
            writer.transport.abort()
            return
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._writers += [writer, up_writer]
        for source, sink, upward in ((reader, up_writer, True), (up_reader, writer, False)):
            task = asyncio.create_task(self._pump(source, sink, upward))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, upward: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1024 if self.rate else 65536):
                while self.frozen:
                    await asyncio.sleep(0.01)
                if self.rate:
                    await asyncio.sleep(len(data) / self.rate)
                sink.write(data)
                await sink.drain()
            while self.frozen:  # nor does an end get through
                await asyncio.sleep(0.01)
        sink.transport.abort()


async def until(condition: Callable[[], bool], timeout: float = 10.0) -> None:
    """Wait until it is true; fails after `timeout` seconds."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "not in time"
        await asyncio.sleep(0.005)
