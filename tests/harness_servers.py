"""Real Redis and PostgreSQL servers on free ports of loopback, in temporary folders, ended with their block."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REDIS = shutil.which("redis-server")
INITDB = max(Path("/usr/lib/postgresql").glob("*/bin/initdb"), default=None, key=lambda path: int(path.parts[-3]))
needs_redis = pytest.mark.skipif(REDIS is None, reason="redis-server is not installed (Debian: redis-server)")
needs_postgresql = pytest.mark.skipif(INITDB is None, reason="PostgreSQL is not installed (Debian: postgresql)")


def server_port() -> int:
    """A free port outside the range of outgoing connections: one that goes away must find it free when it comes back."""
    while True:
        port = random.randint(15000, 30000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_port(port: int, process: subprocess.Popen[bytes], timeout: float = 30.0) -> None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server ended with {process.returncode}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise AssertionError(f"nothing listens on {port}")


@dataclass
class Redis:
    """A redis-server; `stop` and `start` again for one that goes away, on the same port with the same data."""

    folder: Path
    port: int
    flags: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> Redis:
        assert REDIS is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--appendonly", "yes", "--save", ""]
        arguments += ["--notify-keyspace-events", "KEA", "--appendfsync", "no", *self.flags]
        with (self.folder / "log.txt").open("ab") as out:
            self.process = subprocess.Popen([REDIS, *arguments], stdout=out, stderr=out)
        wait_port(self.port, self.process)
        return self

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)

    async def command(self, *words: str, db: int = 3) -> Any:
        """One command by a client of its own."""
        from redis.asyncio import Redis as Client

        async with Client(port=self.port, db=db) as client:
            return await client.execute_command(*words)


@contextlib.contextmanager
def redis_server(folder: Path, *flags: str) -> Iterator[Redis]:
    one = Redis(folder, server_port(), flags)
    try:
        yield one.start()
    finally:
        one.stop()


@dataclass
class Postgres:
    """A PostgreSQL cluster of its own. It may not run as root: then it is the user `postgres`'s."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def words(self) -> str:
        return f"host=127.0.0.1 user=postgres port={self.port} dbname=postgres"

    def _command(self, name: str, *arguments: str) -> list[str]:
        assert INITDB is not None
        command = [str(INITDB.parent / name), *arguments]
        return ["runuser", "-u", "postgres", "--", *command] if os.getuid() == 0 else command

    def make(self) -> Postgres:
        """An empty cluster. As root not below pytest's folder, which is root's alone."""
        if os.getuid() == 0:
            self.folder = Path(tempfile.mkdtemp(prefix="edged-postgres-"))
            shutil.chown(self.folder, "postgres", "postgres")
        self.folder.mkdir(parents=True, exist_ok=True)
        options = ["-D", str(self.folder / "data"), "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale", "C.UTF-8"]
        subprocess.run(self._command("initdb", *options), check=True, stdout=subprocess.DEVNULL, cwd="/")
        return self

    def start(self) -> Postgres:
        flags = ["-D", str(self.folder / "data"), "-p", str(self.port), "-k", str(self.folder), "-h", "127.0.0.1", "-F"]
        with (self.folder / "log.txt").open("ab") as out:
            self.process = subprocess.Popen(self._command("postgres", *flags), stdout=out, stderr=out, cwd="/")
        wait_port(self.port, self.process)
        return self

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            pid = int((self.folder / "data/postmaster.pid").read_text().split("\n")[0])
            os.kill(pid, 2)  # SIGINT: fast shutdown; the runuser in front would not pass it on
            self.process.wait(20)

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def sql(self, text: str) -> str:
        """What psql prints of it."""
        done = subprocess.run(["psql", "-XAtq", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-c", text], capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()


@contextlib.contextmanager
def postgresql_server(folder: Path) -> Iterator[Postgres]:
    one = Postgres(folder, server_port())
    try:
        yield one.make().start()
    finally:
        one.close()
