"""Everything that DaprClient offers an app without a port: state, transactions, query, secrets, configuration, locks, crypto, metadata."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import grpc
from dapr.clients import DaprClient
from dapr.clients.grpc._crypto import DecryptOptions, EncryptOptions
from dapr.clients.grpc._request import TransactionalStateOperation, TransactionOperationType
from dapr.clients.grpc._state import Concurrency, Consistency, StateItem, StateOptions
from report import say

STORE = "statestore"


def failure(call: Callable[[], Any]) -> list[Any]:
    """How a call fails: its code and its text."""
    try:
        return ["no error", str(call())]
    except grpc.RpcError as error:
        return [error.code().name, error.details()]


def state(dapr: DaprClient) -> None:
    dapr.save_state(STORE, "greeting", "hello", state_metadata={"contentType": "text/plain"})
    got = dapr.get_state(STORE, "greeting")
    say("get", [got.data.decode(), bool(got.etag)])
    say("missing", [dapr.get_state(STORE, "nothing").data.decode(), dapr.get_state(STORE, "nothing").etag])
    first = StateOptions(concurrency=Concurrency.first_write, consistency=Consistency.strong)
    say("wrong etag", failure(lambda: dapr.save_state(STORE, "greeting", "x", etag="123", options=first))[0])
    dapr.save_state(STORE, "greeting", json.dumps({"n": 1}), etag=got.etag, options=first)
    say("json", dapr.get_state(STORE, "greeting").json())
    dapr.save_bulk_state(STORE, [StateItem(f"k{n}", str(n)) for n in range(3)])
    items = dapr.get_bulk_state(STORE, ["k0", "k1", "k9"], parallelism=2).items
    say("bulk", sorted([item.key, item.data.decode(), item.error] for item in items))
    operations = [
        TransactionalStateOperation("k0", "changed", operation_type=TransactionOperationType.upsert),
        TransactionalStateOperation("k1", "", operation_type=TransactionOperationType.delete),
    ]
    dapr.execute_state_transaction(STORE, operations)
    say("transaction", [dapr.get_state(STORE, "k0").data.decode(), dapr.get_state(STORE, "k1").data.decode()])
    dapr.delete_state(STORE, "k0")
    say("deleted", dapr.get_state(STORE, "k0").data.decode())
    dapr.save_state(STORE, "brief", "x", state_metadata={"ttlInSeconds": "100"})
    say("ttl", "ttlExpireTime" in dapr.get_state(STORE, "brief").headers)
    say("no store", failure(lambda: dapr.get_state("nowhere", "k")))
    say("bad key", failure(lambda: dapr.get_state(STORE, "a||b")))


def others(dapr: DaprClient) -> None:
    say("secret", dict(dapr.get_secret("secrets", "mqtt").secret))
    say("secrets", sorted(dapr.get_bulk_secret("secrets").secrets))
    say("no secret", failure(lambda: dapr.get_secret("secrets", "none")))
    say("metadata", sorted(c.name for c in dapr.get_metadata().registered_components))
    dapr.set_metadata("place", "shed")
    say("extended", dapr.get_metadata().extended_metadata["place"])
    with dapr.try_lock("locks", "door", "ann", 60) as lock:
        say("lock", [lock.success, dapr.try_lock("locks", "door", "bob", 60).success])
    say("unlock", [dapr.unlock("locks", "door", "bob").status.name, dapr.try_lock("locks", "door", "bob", 60).success])
    answer = dapr.invoke_binding("files", "create", "some text!", {"fileName": "note.txt"})
    say("binding", sorted(json.loads(answer.data)))
    say("read", dapr.invoke_binding("files", "get", "", {"fileName": "note.txt"}).data.decode())
    say("bad operation", failure(lambda: dapr.invoke_binding("files", "fly", "")))
    say("published", dapr.publish_event("pubsub", "t", json.dumps({"a": 1}), data_content_type="application/json") is not None)
    say("bulk published", dapr.publish_events("pubsub", "t", [json.dumps({"a": n}) for n in range(3)]).failed_entries)
    say("no pubsub", failure(lambda: dapr.publish_event("nowhere", "t", "x")))


def configuration(dapr: DaprClient) -> None:
    items = dapr.get_configuration("settings", ["colour", "size"]).items
    say("configuration", {key: [item.value, item.version] for key, item in items.items()})


def crypto(dapr: DaprClient) -> None:
    plain = b"a secret " * 20_000
    secret = dapr.encrypt(plain, EncryptOptions("keys", "rsa", "RSA")).read()
    say("encrypted", [secret[:12].decode(), len(secret) > len(plain)])
    say("decrypted", dapr.decrypt(secret, DecryptOptions("keys", "rsa")).read() == plain)
    secret = dapr.encrypt(b"short", EncryptOptions("keys", "aes", "AES", data_encryption_cipher="chacha20-poly1305")).read()
    say("aes", dapr.decrypt(secret, DecryptOptions("keys")).read().decode())
    say("no key", failure(lambda: dapr.encrypt(b"x", EncryptOptions("keys", "none", "RSA")).read())[0])


def main() -> None:
    with DaprClient() as dapr:
        state(dapr)
        others(dapr)
        configuration(dapr)
        crypto(dapr)


timer = threading.Timer(60, lambda: __import__("os")._exit(3))
timer.daemon = True
timer.start()
main()
