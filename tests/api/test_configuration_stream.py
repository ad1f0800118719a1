"""SubscribeConfiguration with a real sidecar: the id first, then what changes, until somebody unsubscribes or the client goes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.grpc_client import Client
from tests.harness import Sidecar, component, sidecar


class Dial:
    """A configuration table, and the sidecar that reads it."""

    def __init__(self, path: Path, edged: Sidecar) -> None:
        self.path, self.edged = path, edged

    def set(self, key: str, value: str, version: str = "1") -> None:
        with closing(sqlite3.connect(self.path)) as database:
            database.execute('INSERT OR REPLACE INTO configuration VALUES (?, ?, ?, \'{"k":"v"}\')', (key, value, version))
            database.commit()


@pytest.fixture(scope="module")
def dial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dial]:
    folder = tmp_path_factory.mktemp("dial")
    path = folder / "c.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE configuration (key TEXT PRIMARY KEY, value TEXT, version TEXT, metadata TEXT)")
        database.commit()
    fields = {"connectionString": str(path), "pollInterval": "20ms"}
    with sidecar(folder, resources={"d.yaml": component("dial", "configuration.sqlite", fields)}) as edged:
        yield Dial(path, edged)


def subscribed(client: Client, *keys: str, name: str = "SubscribeConfiguration") -> tuple[Any, str]:
    """An open subscription and its id."""
    from edge.rpc.pb import configuration_pb2

    request = configuration_pb2.SubscribeConfigurationRequest(store_name="dial", keys=keys)
    call = client.channel.unary_stream(
        client.path(name), response_deserializer=configuration_pb2.SubscribeConfigurationResponse.FromString
    )(request.SerializeToString())
    first = next(call)
    assert not first.items
    return call, first.id


@pytest.mark.parametrize("suffix", ["", "Alpha1"])
def test_changes_come_after_the_id_until_unsubscribed(dial: Dial, suffix: str) -> None:
    key = f"mesh{suffix}"
    with Client(dial.edged.grpc_port) as client:
        call, id_ = subscribed(client, key, name=f"SubscribeConfiguration{suffix}")
        dial.set(key, "wide", "7")
        change = next(call)
        dial.set(f"other{suffix}", "x")
        dial.set(key, "fine", "8")
        again = next(call)
        ended = client.call(f"UnsubscribeConfiguration{suffix}", {"storeName": "dial", "id": id_}).message
        rest = list(call)

    item = change.items[key]
    assert (change.id, list(change.items), item.value, item.version, dict(item.metadata)) == (id_, [key], "wide", "7", {"k": "v"})
    assert again.items[key].value == "fine"
    assert (ended, rest) == ({"ok": True}, [])


def test_subscriptions_are_independent_and_end_with_their_client(dial: Dial) -> None:
    with Client(dial.edged.grpc_port) as client:
        one, first = subscribed(client, "a")
        two, second = subscribed(client, "a", "b")
        one.cancel()
        dial.set("a", "1")
        change = next(two)
        gone = client.call("UnsubscribeConfiguration", {"storeName": "dial", "id": first}).message
        two.cancel()

    assert first != second
    assert (change.id, change.items["a"].value) == (second, "1")
    assert gone == {"message": f"failed to unsubscribe to configuration request {first}: subscription does not exist"}


def test_unknown_store_refuses_the_stream(dial: Dial) -> None:
    with Client(dial.edged.grpc_port) as client:
        result = client.call("SubscribeConfiguration", {"storeName": "knob", "keys": ["a"]})

    assert (result.code, result.text) == ("INVALID_ARGUMENT", "configuration store knob not found")
    assert result.details[0]["reason"] == "ERR_CONFIGURATION_STORE_NOT_FOUND"
