"""The pub/sub suite over real Redis, NATS and RabbitMQ servers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.pubsub import SCENARIOS, Can, Candidate, Suite
from tests.harness_brokers import Nats, Rabbit, nats_server, needs_nats, needs_rabbitmq, rabbitmq_server
from tests.harness_components import opened
from tests.harness_servers import Redis, needs_redis, redis_server

ALL = Can.RETRIES | Can.WAITS | Can.REMEMBERS


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    with nats_server(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture(scope="module")
def rabbit() -> Iterator[Rabbit]:
    with rabbitmq_server() as server:
        yield server


def over(type_: str, folder: Path, raw: dict[str, str], *, other: bool = False) -> Any:
    return opened(type_, folder, raw)


@needs_redis
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_redis(scenario: str, tmp_path: Path, redis: Redis) -> None:
    import redis as client

    with client.Redis(port=redis.port) as plain:
        plain.flushall()
    one = partial(over, "pubsub.redis", tmp_path, {"redisHost": redis.host})
    asyncio.run(getattr(Suite(), scenario)(Candidate("pubsub.redis", one, ALL)))


@needs_nats
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_jetstream(scenario: str, tmp_path: Path, nats: Nats) -> None:
    asyncio.run(_jetstream(scenario, tmp_path, nats))


async def _jetstream(scenario: str, folder: Path, server: Nats) -> None:
    import nats

    async with await nats.connect(server.url) as plain:
        stream = plain.jetstream()
        await stream.add_stream(name="plants", subjects=["plant/>", "plant/*", "plant/1", "plant/2"][2:])
        try:
            raw = {"natsURL": server.url}
            if scenario in ("a_subscription_outlives_a_restart",):
                raw["durableName"] = "keeper"
            await getattr(Suite(), scenario)(Candidate("pubsub.jetstream", partial(over, "pubsub.jetstream", folder, raw), ALL))
        finally:
            await stream.delete_stream("plants")


@needs_rabbitmq
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_rabbitmq(scenario: str, tmp_path: Path, rabbit: Rabbit) -> None:
    asyncio.run(_rabbitmq(scenario, tmp_path, rabbit))


async def _rabbitmq(scenario: str, folder: Path, server: Rabbit) -> None:
    """Queues are made by their subscribers, so nothing waits for one that never was."""
    import aio_pika

    raw = {"connectionString": server.url, "deletedWhenUnused": str(scenario != "a_subscription_outlives_a_restart").lower()}
    one = partial(over, "pubsub.rabbitmq", folder, raw)
    try:
        await getattr(Suite(), scenario)(Candidate("pubsub.rabbitmq", one, Can.RETRIES | Can.REMEMBERS))
    finally:
        async with await aio_pika.connect(server.url) as connection:
            channel = await connection.channel()
            for topic in ("plant/1", "plant/2"):
                await channel.queue_delete(f"app-{topic}")
                await channel.exchange_delete(topic)
