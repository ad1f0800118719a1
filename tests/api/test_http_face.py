"""The HTTP API as a client of daprd knows it, where the recordings have no row."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from tests.harness import Sidecar, component, sidecar

SCOPES = {"secrets": {"scopes": [{"storeName": "safe", "defaultAccess": "deny"}]}}


@pytest.fixture(scope="module")
def edged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    folder = tmp_path_factory.mktemp("edged")
    (folder / "key").write_bytes(bytes(32))
    (folder / "safe.json").write_text("{}")
    resources = {
        "vault.yaml": component("vault", "crypto.dapr.localstorage", {"path": str(folder)}),
        "safe.yaml": component("safe", "secretstores.local.file", {"secretsFile": str(folder / "safe.json")}),
    }
    config = json.dumps({"kind": "Configuration", "metadata": {"name": "c"}, "spec": SCOPES})
    with sidecar(folder, resources=resources, config=config) as one:
        yield one


def test_a_document_whose_text_was_changed_has_no_code_of_its_own(edged: Sidecar) -> None:
    headers = {"dapr-key-name": "key", "dapr-key-wrap-algorithm": "AES"}
    document = edged.call("PUT", "/v1.0-alpha1/crypto/vault/encrypt", b"secret", headers).body

    answer = edged.call("PUT", "/v1.0-alpha1/crypto/vault/decrypt", document[:-1])

    assert answer.status == 500
    assert answer.json() == {"errorCode": "ERROR", "message": "error processing segment 0: failed to decrypt segment"}


def test_a_denied_secret_is_named_in_quotes(edged: Sidecar) -> None:
    answer = edged.call("GET", "/v1.0/secrets/safe/a%22b%00")

    assert answer.json()["message"] == 'access denied by policy to get "a\\"b\\x00" from "safe"'


def test_a_request_without_a_version_is_refused(edged: Sidecar) -> None:
    with socket.create_connection(("127.0.0.1", edged.http_port), 10) as one:
        one.sendall(b"GET /v1.0/healthz\r\n\r\n")

        assert one.recv(100).startswith(b"HTTP/1.1 400 Bad Request\r\n")
