"""Who may read what edged writes, and what `edged check` says of it."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from edge.cli.secure import access, files
from tests.cli.edged import edged, until
from tests.harness import Sidecar, component, sidecar


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_data_are_the_owners_alone(tmp_path: Path) -> None:
    with sidecar(tmp_path) as one:
        assert one.call("POST", "/v1.0/state/statestore", [{"key": "k", "value": 1}]).status == 204
        folder = tmp_path / "data" / "test"
        modes = {path.name: mode(path) for path in folder.iterdir() if path.name.startswith(("edged.db", "lock", "instance"))}

    assert mode(folder) == 0o700
    assert {"edged.db", "edged.db-wal", "lock", "instance.json"} <= set(modes) and set(modes.values()) == {0o600}


def test_unix_sockets_are_for_owner_and_group(tmp_path: Path) -> None:
    one = Sidecar(tmp_path, flags=("--unix-domain-socket", str(tmp_path)))
    one.spawn()
    try:
        until(lambda: "dapr initialized" in one.log(), what=one.log())
        assert [mode(tmp_path / f"dapr-test-{kind}.socket") for kind in ("http", "grpc")] == [0o660, 0o660]
    finally:
        one.kill()


@pytest.mark.parametrize(("address", "warned"), [("0.0.0.0", True), ("127.0.0.1", False)])
def test_an_api_that_is_open_without_a_token_is_warned_of(tmp_path: Path, address: str, warned: bool) -> None:
    with sidecar(tmp_path, flags=("--dapr-listen-addresses", address)) as one:
        assert (f"the API of app test is open on {address} without a token" in one.log()) is warned


def levels(rows: object) -> list[tuple[str, str]]:
    return [(level, subject) for level, subject, _, _ in rows]  # type: ignore[attr-defined]


def test_check_wants_a_token_where_the_api_is_open(tmp_path: Path) -> None:
    assert levels(access(["127.0.0.1", "::1", "localhost"], {})) == [("ok", "token")]
    assert levels(access(["0.0.0.0"], {})) == [("warning", "token")] == levels(access(["::"], {}))
    assert levels(access(["0.0.0.0"], {"DAPR_API_TOKEN": "t"})) == [("ok", "token")]
    assert levels(access(["127.0.0.1"], {"DAPR_API_TOKEN_FILE": str(tmp_path / "none")})) == [("error", "token")]


def test_check_names_what_others_can_read(tmp_path: Path) -> None:
    data, secrets, token = tmp_path / "data", tmp_path / "secrets.json", tmp_path / "token"
    (data / "shop").mkdir(parents=True)
    for path in (data / "shop" / "lock", secrets, token):
        path.touch(0o600)
    (data / "shop").chmod(0o700)
    environ = {"DAPR_API_TOKEN_FILE": str(token)}
    assert levels(files(data, [("secrets", secrets)], environ)) == [("ok", "files")]

    for path in (data / "shop", secrets, token):
        path.chmod(0o755)

    assert levels(files(data, [("secrets", secrets)], environ)) == [
        ("warning", "secrets"), ("warning", "$DAPR_API_TOKEN_FILE"), ("warning", "data"),
    ]  # fmt: skip


def test_the_command_shows_it(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets.json"
    secrets.write_text("{}")
    secrets.chmod(0o644)
    (tmp_path / "s.yaml").write_text(component("vault", "secretstores.local.file", {"secretsFile": str(secrets)}))
    words = ("--offline", "--json", "--dapr-http-port", "0", "--dapr-grpc-port", "0", "--dapr-listen-addresses", "0.0.0.0")

    done = edged("check", str(tmp_path), *words, home=tmp_path / "home")

    warned = {row["subject"]: row["todo"] for row in json.loads(done.stdout) if row["level"] == "warning"}
    assert warned["vault"] == f"chmod 600 {secrets}" and "DAPR_API_TOKEN_FILE" in warned["token"]
