"""The pub/sub suite over a real Kafka, and the ways to sign in there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.model import Message
from tests.certificates import self_signed
from tests.conformance.pubsub import SCENARIOS, Can, Candidate, Suite
from tests.harness_components import Sink, opened
from tests.harness_kafka import Kafka, kafka_server, needs_kafka
from tests.harness_mqtt import until

ALL = Can.RETRIES | Can.WAITS | Can.REMEMBERS
# a connection that was refused is forgotten by aiokafka, not closed
pytestmark = [
    needs_kafka,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("forgotten"),
]


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    with kafka_server(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_kafka(scenario: str, tmp_path: Path, kafka: Kafka) -> None:
    """A group begins where it joins, so it is told to begin at the start; the topics are the scenario's own."""
    raw = {"brokers": kafka.brokers, "authType": "none", "initialOffset": "oldest"}

    def one(*, other: bool = False) -> Any:
        return opened("pubsub.kafka", tmp_path, raw)

    topics = (f"{scenario}-1", f"{scenario}-2")
    asyncio.run(getattr(Suite(), scenario)(Candidate("pubsub.kafka", one, ALL, topics=topics)))


@pytest.mark.parametrize("mechanism", ["PLAINTEXT", "SHA-256", "SHA-512"])
async def test_kafka_with_a_password(mechanism: str, tmp_path: Path, kafka: Kafka) -> None:
    raw = {"brokers": f"127.0.0.1:{kafka.sasl}", "authType": "password", "disableTls": "true", "initialOffset": "oldest"}
    raw |= {"saslUsername": "gardener", "saslPassword": "rose", "saslMechanism": mechanism}
    await _round(tmp_path, raw, f"signed-in-{mechanism}")


async def test_kafka_with_a_certificate(tmp_path: Path, kafka: Kafka) -> None:
    private, certificate = (pem.decode() for pem in self_signed())
    raw = {"brokers": f"127.0.0.1:{kafka.tls}", "authType": "mtls", "initialOffset": "oldest"}
    await _round(tmp_path, raw | {"caCert": certificate, "clientCert": certificate, "clientKey": private}, "over-tls")


async def test_kafka_with_a_wrong_password_says_so(tmp_path: Path, kafka: Kafka) -> None:
    raw = {"brokers": f"127.0.0.1:{kafka.sasl}", "authType": "password", "disableTls": "true"}
    raw |= {"saslUsername": "gardener", "saslPassword": "tulip", "saslMechanism": "SHA-256"}
    async with opened("pubsub.kafka", tmp_path, raw) as pubsub:
        await until(lambda: "uthentication" in (pubsub.unhealthy() or ""))
        assert "tulip" not in (pubsub.unhealthy() or "")


async def _round(folder: Path, raw: dict[str, str], topic: str) -> None:
    async with opened("pubsub.kafka", folder, raw) as pubsub:
        assert pubsub.unhealthy() is None
        sink = Sink()
        await pubsub.subscribe(topic, sink, {}, "app")
        await pubsub.publish(Message(topic, b"x"))
        await until(lambda: sink.payloads == [b"x"])
