"""What of `pubsub.kafka` needs no cluster: fields, offsets, and a cluster that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.pubsub._kafka import Offsets
from edge.errors import Closed, Invalid, Unavailable
from edge.model import Message
from tests.harness import free_port
from tests.harness_components import opened

pytest.importorskip("aiokafka")


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ({}, "'authType' attribute was missing or empty"),
        ({"authType": "password"}, "missing SASL Username"),
        ({"authType": "password", "saslUsername": "u"}, "missing SASL Password"),
        ({"authType": "none", "excludeHeaderMetaRegex": "("}, "excludeHeaderMetaRegex"),
        ({"authType": "mtls", "caCert": "nowhere.pem"}, '"caCert" value is neither'),
    ],
)
async def test_bad_fields_are_named(tmp_path: Path, raw: dict[str, str], text: str) -> None:
    with pytest.raises(Invalid, match=text):
        async with opened("pubsub.kafka", tmp_path, {"brokers": "localhost:1", **raw}):
            pass


def test_an_offset_counts_when_all_before_it_do() -> None:
    offsets = Offsets()
    for offset in (7, 8, 9):
        offsets.begin(offset)

    offsets.end(8)
    assert offsets.next is None
    offsets.end(7)
    assert offsets.next == 9
    offsets.end(9)
    assert offsets.next == 10


async def test_a_cluster_that_is_away_is_no_failed_start(tmp_path: Path) -> None:
    raw = {"brokers": f"127.0.0.1:{free_port()}", "authType": "none"}
    async with opened("pubsub.kafka", tmp_path, raw) as pubsub:
        assert pubsub.unhealthy()
        with pytest.raises(Unavailable):
            pubsub.send(Message("t", b"x"))
    with pytest.raises(Closed):
        await pubsub.publish(Message("t", b"x"))
