"""What the SDKs' clients offer an app without a port. The answers are those that the same programs got from daprd 1.18.3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.sdk import garden, programs

NO_SECRET = "failed getting secret with key none from secret store secrets: secret none not found"
NO_OPERATION = (
    "error invoking output binding files: binding files does not support operation fly. supported operations:create get list delete"
)
ETAG = "failed saving state in state store statestore: possible etag mismatch. error from state store"


def seen_by(command: list[str], folder: Path) -> dict[str, Any]:
    return dict(programs.run(command, folder, app_id="sdk", needs_app=False, resources=garden.resources(folder)))


def test_python_client(tmp_path: Path) -> None:
    assert seen_by(programs.python("client"), tmp_path) == {
        "get": ["hello", True],
        "missing": ["", ""],
        "wrong etag": "ABORTED",
        "json": {"n": 1},
        "bulk": [["k0", "0", ""], ["k1", "1", ""], ["k9", "", ""]],
        "transaction": ["changed", ""],
        "deleted": "",
        "ttl": False,
        "no store": ["INVALID_ARGUMENT", "state store nowhere is not found"],
        "bad key": ["INVALID_ARGUMENT", "input key/keyPrefix 'a||b' can't contain '||'"],
        "secret": {"mqtt": "geheim"},
        "secrets": ["db:user", "mqtt"],
        "no secret": ["INTERNAL", NO_SECRET],
        "metadata": garden.NAMES,
        "extended": "shed",
        "lock": [True, False],
        "unlock": ["lock_does_not_exist", True],
        "binding": ["fileName"],
        "read": "some text!",
        "bad operation": ["INTERNAL", NO_OPERATION],
        "published": True,
        "bulk published": [],
        "no pubsub": ["INVALID_ARGUMENT", "pubsub nowhere is not found"],
        "configuration": {"colour": ["green", "1"], "size": ["9", "2"]},
        "encrypted": ["dapr.io/enc/", True],
        "decrypted": True,
        "aes": "short",
        "no key": "INTERNAL",
    }


NODE = {
    "get": ["hello", {"n": 1}, ""],
    "transaction": ["changed", ""],
    "deleted": "",
    "secret": {"mqtt": "geheim"},
    "secrets": [["db:user", {"db:user": "u"}], ["mqtt", {"mqtt": "geheim"}]],
    "read": "some text!",
    "published": {},
    "event": {},
    "bulk published": {"failedMessages": []},
    "no pubsub": True,
    "lock": [{"success": True}, {"success": False}],
    "unlock": [{"status": 2}, {"status": 0}],
    "components": garden.NAMES,
    "extended": True,
    "health": [True],
}


def test_node_client_over_http(tmp_path: Path) -> None:
    assert seen_by([*programs.node("client"), "http"], tmp_path) == NODE | {
        "bulk": [["box", {"n": 1}], ["greeting", "hello"], ["none", None]],
        "wrong etag": ["no error", {"error": {}}],
        "no store": ["Error", "state store nowhere is not found"],
        "no secret": ["Error", NO_SECRET],
        "bad operation": ["Error", NO_OPERATION],
    }


def test_node_client_over_grpc(tmp_path: Path) -> None:
    seen = seen_by([*programs.node("client"), "grpc"], tmp_path)

    settings = {key: [item["value"], item["version"]] for key, item in seen.pop("configuration").items()}
    assert settings == {"colour": ["green", "1"], "size": ["9", "2"]}
    assert seen == NODE | {
        "bulk": [["box", {"n": 1}], ["greeting", "hello"], ["none", ""]],
        "wrong etag": [10, ETAG],
        "no store": [3, "state store nowhere is not found"],
        "no secret": [13, NO_SECRET],
        "bad operation": [13, NO_OPERATION],
        "crypto": [True, True],
    }


def test_go_client(tmp_path: Path) -> None:
    invalid = "rpc error: code = InvalidArgument desc = "
    assert seen_by(programs.go("client"), tmp_path) == {
        "get": ["hello", True],
        "wrong etag": ["Aborted", f"error saving state: rpc error: code = Aborted desc = {ETAG}"],
        "transaction": ["a", "1", ""],
        "deleted": ["no error"],
        "no store": ["InvalidArgument", f"error getting state: {invalid}state store nowhere is not found"],
        "secret": {"mqtt": "geheim"},
        "secrets": {"db:user": {"db:user": "u"}, "mqtt": {"mqtt": "geheim"}},
        "read": "some text!",
        "published": ["no error"],
        "bulk published": 0,
        "no pubsub": ["InvalidArgument", f"error publishing event unto t topic: {invalid}pubsub nowhere is not found"],
        "lock": [True, "LOCK_BELONGS_TO_OTHERS"],
        "configuration": ["green", "9"],
        "unsubscribed": ["no error"],
        "components": str(garden.NAMES).replace("'", '"').replace(", ", ","),
        "crypto": True,
    }
