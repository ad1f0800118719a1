"""The pub/sub suite over the components of the catalogue."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.pubsub import SCENARIOS, Can, Candidate, Suite
from tests.harness_components import opened
from tests.harness_mqtt import Broker, mosquitto, needs_mosquitto


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with mosquitto(tmp_path_factory.mktemp("mqtt"), "autosave_interval 1800", "autosave_on_changes false") as broker:
        yield broker


def over(type_: str, folder: Path, raw: dict[str, str], own: dict[str, str], *, other: bool = False) -> Any:
    """open() of a candidate. own: metadata that tell two instances apart, empty for the other one."""
    return opened(type_, folder, raw if other else raw | own)


def local(type_: str, can: Can, folder: Path) -> Candidate:
    return Candidate(type_, partial(over, type_, folder, {}, {}), can)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_in_memory(scenario: str, tmp_path: Path) -> None:
    asyncio.run(getattr(Suite(), scenario)(local("pubsub.in-memory", Can.NOTHING, tmp_path)))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_sqlite(scenario: str, tmp_path: Path) -> None:
    asyncio.run(getattr(Suite(), scenario)(local("pubsub.sqlite", Can.WAITS | Can.REMEMBERS, tmp_path)))


@needs_mosquitto
@pytest.mark.mosquitto
@pytest.mark.parametrize("mode", [{}, {"qos": "2", "eventMode": "binary"}, {"protocolVersion": "3.1.1"}])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_mqtt5(scenario: str, mode: dict[str, str], tmp_path: Path, broker: Broker) -> None:
    own = {"consumerID": "-".join((scenario, *mode.values()))}
    one = partial(over, "pubsub.mqtt5", tmp_path, {"url": broker.url, **mode}, own)
    asyncio.run(getattr(Suite(), scenario)(Candidate("pubsub.mqtt5", one, Can.RETRIES | Can.REMEMBERS, "plant/+")))


@needs_mosquitto
@pytest.mark.mosquitto
@pytest.mark.parametrize("qos", ["1", "2"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_mqtt3(scenario: str, qos: str, tmp_path: Path, broker: Broker) -> None:
    own = {"consumerID": f"{scenario}-{qos}"}
    one = partial(over, "pubsub.mqtt3", tmp_path, {"url": broker.url, "qos": qos}, own)
    asyncio.run(getattr(Suite(), scenario)(Candidate("pubsub.mqtt3", one, Can.RETRIES | Can.REMEMBERS, "plant/+")))
