"""A real Apache Kafka broker on free ports of loopback, in a temporary folder, ended with its block. Its jars: packaging/kafka."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.certificates import self_signed
from tests.harness_servers import server_port, wait_port

JARS = Path(__file__).parent.parent / ".cache/kafka"
JAVA = shutil.which("java") if (JARS / "made-from").exists() else None
needs_kafka = pytest.mark.skipif(JAVA is None, reason="Kafka's jars are not there (packaging/kafka gets them where Maven and Java are)")

SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{sasl},SSL://127.0.0.1:{tls},CONTROLLER://127.0.0.1:{controller}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl_plaintext.plain.sasl.jaas.config={login}.plain.PlainLoginModule required user_gardener="rose";
listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config={login}.scram.ScramLoginModule required;
listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config={login}.scram.ScramLoginModule required;
ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location={folder}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/trusted.pem
log.dirs={folder}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
log.flush.interval.messages=1
"""
LOGIN = "org.apache.kafka.common.security"
USERS = ["--add-scram", "SCRAM-SHA-256=[name=gardener,password=rose]", "--add-scram", "SCRAM-SHA-512=[name=gardener,password=rose]"]


@dataclass
class Kafka:
    """One broker that is its own controller: plain on `port`, for the user gardener (rose) on `sasl`, for our certificate on `tls`."""

    folder: Path
    port: int = field(default_factory=server_port)
    sasl: int = field(default_factory=server_port)
    tls: int = field(default_factory=server_port)
    controller: int = field(default_factory=server_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def brokers(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _java(self, *arguments: str) -> list[str]:
        flags = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        return [str(JAVA), *flags, "-cp", f"{JARS}/*", *arguments]

    def start(self) -> Kafka:
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self.folder / "server.properties"
        with (self.folder / "log.txt").open("ab") as out:
            if not settings.exists():
                private, certificate = self_signed()
                (self.folder / "server.pem").write_bytes(private + certificate)
                (self.folder / "trusted.pem").write_bytes(certificate)
                settings.write_text(SETTINGS.format_map(vars(self) | {"login": LOGIN}))
                command = self._java("kafka.tools.StorageTool", "format", "-t", "A" * 22, "-c", str(settings), *USERS)
                subprocess.run(command, stdout=out, stderr=out, check=True)
            self.process = subprocess.Popen(self._java("kafka.Kafka", str(settings)), stdout=out, stderr=out)
        wait_port(self.port, self.process, 60)
        return self

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(30)


@contextlib.contextmanager
def kafka_server(folder: Path) -> Iterator[Kafka]:
    one = Kafka(folder)
    try:
        yield one.start()
    finally:
        one.stop(signal.SIGKILL)
