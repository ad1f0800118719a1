"""Real NATS and RabbitMQ servers on free ports of loopback, in temporary folders, ended with their block."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.harness import free_port
from tests.harness_servers import wait_port

NATS = shutil.which("nats-server", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
RABBIT = shutil.which("rabbitmq-server", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/lib/rabbitmq/bin")
needs_nats = pytest.mark.skipif(NATS is None, reason="nats-server is not installed (Debian: nats-server)")
needs_rabbitmq = pytest.mark.skipif(RABBIT is None, reason="rabbitmq-server is not installed (Debian: rabbitmq-server)")


@dataclass
class Nats:
    """A nats-server with JetStream on disk."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> Nats:
        assert NATS is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log.txt").open("ab") as out:
            command = [NATS, "-js", "-a", "127.0.0.1", "-p", str(self.port), "-sd", str(self.folder / "js")]
            self.process = subprocess.Popen(command, stdout=out, stderr=out)
        wait_port(self.port, self.process)
        return self

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(20)


@contextlib.contextmanager
def nats_server(folder: Path) -> Iterator[Nats]:
    one = Nats(folder)
    try:
        yield one.start()
    finally:
        one.stop()


@dataclass
class Rabbit:
    """A RabbitMQ node of its own, in the foreground, with its own Erlang name service."""

    folder: Path
    port: int = field(default_factory=free_port)
    epmd: int = field(default_factory=free_port)
    distribution: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": f"edged{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.distribution),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "db"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "ERL_EPMD_PORT": str(self.epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
        }

    def start(self) -> Rabbit:
        assert RABBIT is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "plugins").write_text("[].\n")
        (self.folder / "rabbitmq.conf").write_text(f"listeners.tcp.default = 127.0.0.1:{self.port}\nloopback_users.guest = false\n")
        (self.folder / ".erlang.cookie").write_text("edged-tests")
        (self.folder / ".erlang.cookie").chmod(0o400)
        if os.getuid() == 0:
            subprocess.run(["chown", "-R", "rabbitmq:rabbitmq", str(self.folder)], check=True)
        program = ["/usr/lib/rabbitmq/bin/rabbitmq-server"] if Path("/usr/lib/rabbitmq/bin/rabbitmq-server").exists() else [RABBIT]
        command = ["runuser", "-u", "rabbitmq", "--", *program] if os.getuid() == 0 else program
        with (self.folder / "out.txt").open("ab") as out:
            self.process = subprocess.Popen(
                command, env=self.environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd="/", start_new_session=True
            )
        wait_port(self.port, self.process, 60)
        return self

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        os.killpg(self.process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        time.sleep(0.05)


@contextlib.contextmanager
def rabbitmq_server(*, start: bool = True) -> Iterator[Rabbit]:
    """Its folder is no test's: pytest keeps those from the user rabbitmq."""
    folder = Path(tempfile.mkdtemp(prefix="edged-rabbitmq-"))
    one = Rabbit(folder)
    try:
        yield one.start() if start else one
    finally:
        one.stop()
        shutil.rmtree(folder, ignore_errors=True)
