"""The commands around a running sidecar, and those that need none; each with JSON where a script reads it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edge.cli.commands import COMMANDS, cli
from edge.cli.setup import redact_yaml
from tests.cli.edged import edged, until
from tests.harness import Sidecar, component, free_port

SECRETS = component("secrets", "secretstores.local.file", {"secretsFile": "{folder}/secrets.json"})

ECHO = """
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Echo(BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{self.command} {self.path} ".encode() + self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(200 if "orders" in self.path else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET

ThreadingHTTPServer(("127.0.0.1", int(os.environ["APP_PORT"])), Echo).serve_forever()
"""
MOSQUITTO = """
spec:
  metadata:
  - {name: url, value: "tcp://me:hunter2@broker:1883"}
  - {name: password, value: hunter3}
  - {name: clientKey, secretKeyRef: {name: mqtt-key, key: pem}}
  - {name: qos, value: 1}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def shop(home: Path) -> Iterator[Sidecar]:
    """A sidecar named test, with a real app that echoes."""
    (home / "secrets.json").write_text('{"mqtt": "hush", "other": "hush2"}')
    resources = {
        "state.yaml": component("statestore", "state.sqlite", {"connectionString": str(home / "state.db")}),
        "pubsub.yaml": component("pubsub", "pubsub.in-memory"),
        "secrets.yaml": SECRETS.replace("{folder}", str(home)),
        "settings.yaml": component("settings", "configuration.sqlite", {"connectionString": str(home / "settings.db")}),
    }
    one = Sidecar(home, app_port=free_port(), resources=resources, command=(sys.executable, "-c", ECHO))
    one.start("/v1.0/healthz")
    yield one
    one.kill()


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A command in this process, its data directory being the sidecar's."""
    for name in [key for key in os.environ if key.startswith(("DAPR_", "APP_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("STATE_DIRECTORY", str(home / "data"))

    def invoke(*words: str, text: str | None = None, code: int = 0) -> Result:
        done = CliRunner().invoke(cli, list(words), input=text, prog_name="edged")
        assert done.exit_code == code, done.output
        return done

    return invoke


def test_list_in_the_words_of_daprs_cli(shop: Sidecar, run: Any) -> None:
    (row,) = json.loads(run("list", "-o", "json").stdout)

    assert (row["appId"], row["httpPort"], row["grpcPort"], row["appPort"]) == ("test", shop.http_port, shop.grpc_port, shop.app_port)
    assert row["daprdPid"] == shop.process.pid and row["appPid"] > 0  # type: ignore[union-attr]
    assert run("list").stdout.split("\n")[0].split()[:3] == ["APP", "ID", "HTTP"]
    assert "appId: test" in run("list", "-o", "yaml").stdout


def test_state_set_get_del_and_ls(shop: Sidecar, run: Any, home: Path) -> None:
    run("state", "set", "-a", "test", "greeting", '{"text": "hello"}')
    run("state", "set", "-a", "test", "plain", "no json", "--ttl", "100")

    assert json.loads(run("state", "get", "-a", "test", "greeting").stdout) == {"text": "hello"}
    assert run("state", "get", "-a", "test", "plain").stdout == '"no json"\n'
    keys = {row["key"]: row for row in json.loads(run("state", "ls", str(home / "state.db"), "--json").stdout)}
    assert set(keys) == {"test||greeting", "test||plain"} and keys["test||plain"]["expires"]
    run("state", "del", "-a", "test", "greeting", "plain")
    assert "no value for key greeting" in run("state", "get", "-a", "test", "greeting", code=1).output


def test_invoke_prints_the_answer_and_passes_failures_on(shop: Sidecar, run: Any) -> None:
    assert run("invoke", "-a", "test", "-m", "orders/7?x=1", "-v", "GET").stdout == "GET /orders/7?x=1 \n"
    assert run("invoke", "-a", "test", "-m", "orders", "-d", '{"n": 1}').stdout == 'POST /orders {"n": 1}\n'
    assert run("invoke", "-a", "test", "-m", "orders", "-f", "-", text="from stdin").stdout == "POST /orders from stdin\n"
    assert "HTTP 404" in run("invoke", "-a", "test", "-m", "nothing", code=1).output
    assert "no running sidecar of app id x" in run("invoke", "-a", "x", "-m", "m", code=1).output


def test_publish_says_when_it_is_accepted_and_why_not(shop: Sidecar, run: Any) -> None:
    done = run("publish", "-i", "test", "-p", "pubsub", "-t", "a/b", "-d", '{"n": 1}', "-m", '{"ttlInSeconds": 60}')

    assert done.stdout == "Event published successfully\n"
    assert "ERR_PUBSUB_NOT_FOUND" in run("publish", "-i", "test", "-p", "no", "-t", "t", "-d", "1", code=1).output
    assert "--metadata is no JSON object" in run("publish", "-i", "test", "-p", "pubsub", "-t", "t", "-m", "[1]", code=2).output


def test_secrets_are_read_and_only_their_names_listed(shop: Sidecar, run: Any) -> None:
    assert json.loads(run("secret", "get", "-a", "test", "-s", "secrets", "mqtt").stdout) == {"mqtt": "hush"}
    names = run("secret", "ls", "-a", "test", "-s", "secrets", "--json").stdout
    assert [row["name"] for row in json.loads(names)] == ["mqtt", "other"] and "hush" not in names


def test_configuration_is_set_in_the_file_and_read_through_the_sidecar(shop: Sidecar, run: Any, home: Path) -> None:
    assert run("config", "set", "--file", str(home / "settings.db"), "colour", "green").stdout == "1\n"
    assert run("config", "set", "--file", str(home / "settings.db"), "colour", "blue").stdout == "2\n"

    assert json.loads(run("config", "get", "-a", "test", "-s", "settings", "colour").stdout) == {
        "colour": {"value": "blue", "version": "2"}
    }


def test_components_of_a_sidecar_and_of_this_build(shop: Sidecar, run: Any) -> None:
    loaded = {row["name"]: row["type"] for row in json.loads(run("components", "-a", "test", "--json").stdout)}
    assert loaded == {
        "statestore": "state.sqlite",
        "pubsub": "pubsub.in-memory",
        "secrets": "secretstores.local.file",
        "settings": "configuration.sqlite",
    }
    assert "pubsub.mqtt3" in [row["type"] for row in json.loads(run("components", "list", "--json").stdout)]
    fields = {row["name"] for row in json.loads(run("components", "describe", "pubsub.mqtt3", "--json").stdout)}
    assert {"url", "qos"} <= fields
    assert "pubsub.mqtt3" in run("components", "describe", "pubsub.mqtt33", code=1).output


def test_a_socket_of_the_sidecar_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Sidecar(tmp_path, flags=("--unix-domain-socket", str(tmp_path)))
    one.spawn()
    try:
        until(lambda: "dapr initialized" in one.log())
        monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "data"))
        until(lambda: "test" in CliRunner().invoke(cli, ["list"]).output)

        assert CliRunner().invoke(cli, ["state", "set", "-a", "test", "k", "1"]).exit_code == 0
        assert CliRunner().invoke(cli, ["state", "get", "-a", "test", "k"]).stdout == "1\n"
    finally:
        one.kill()


def test_diag_has_what_support_needs_and_no_secret(shop: Sidecar, run: Any, home: Path, tmp_path: Path) -> None:
    resources = tmp_path / "resources"
    resources.mkdir()
    (resources / "mq.yaml").write_text(MOSQUITTO)

    run("diag", "-o", str(tmp_path / "out.tar.gz"), "--resources-path", str(resources))

    with tarfile.open(tmp_path / "out.tar.gz") as bundle:
        parts = {m.name: bundle.extractfile(m).read().decode() for m in bundle.getmembers()}  # type: ignore[union-attr]
    assert (tmp_path / "out.tar.gz").stat().st_mode & 0o077 == 0
    assert '"id":"test"' in parts["edged-diag/test-metadata.txt"] and "state.sqlite" in parts["edged-diag/test-metadata.txt"]
    assert "hunter" not in "".join(parts.values()) and "hush" not in "".join(parts.values())
    shown = parts["edged-diag/resources/mq.yaml"]
    assert "value: 1" in shown and "mqtt-key" in shown and "tcp://<redacted>@broker:1883" in shown


@pytest.mark.parametrize(
    "text",
    [
        "- name: clientKey\n  value: |\n    -----BEGIN\n    hush\n- name: qos\n  value: 1\n",
        "auth: {password: hush, user: me}\nvalue: 1",
        "kind: Secret\ndata: {a: hush}\nvalue: 1",
        "- {value: hush, name: saslPassword}\n- {name: brokers, value: 1}",
        "name: x\nvalue: 1\nurl: https://u:hush@host/",
    ],
)
def test_redaction_knows_every_form_of_a_value(text: str) -> None:
    shown = redact_yaml(text)

    assert "hush" not in shown and "BEGIN" not in shown and "value: 1" in shown


@pytest.mark.parametrize(
    "name",
    ["apiToken", "redisPassword", "passwd", "clientSecret", "accessKey", "credentials", "connectionString", "dsn", "authHeader"]
    + ["privateKey", "caCert", "tls.pem"],
)
def test_redaction_knows_a_secret_by_the_name_of_its_field(name: str) -> None:
    shown = redact_yaml(f"spec:\n  metadata:\n  - name: {name}\n    value: hush\n  - name: host\n    value: broker\n  {name}: hush\n")

    assert "hush" not in shown and "broker" in shown


def test_redaction_leaves_out_what_is_no_yaml() -> None:
    assert redact_yaml("password: [hush").startswith("# left out, it is no YAML")


def test_init_writes_what_check_accepts_and_run_runs(tmp_path: Path, run: Any) -> None:
    run("init", str(tmp_path / "garden"))
    done = run("check", str(tmp_path / "garden/resources"), "--offline", "--dapr-http-port", "0", "--dapr-grpc-port", "0", "--json")

    assert "exist already; --force replaces them" in run("init", str(tmp_path / "garden"), code=1).output
    assert {row["level"] for row in json.loads(done.stdout) if row["subject"] == "resources"} == {"ok"}


def test_check_names_what_is_wrong_with_what_to_do(tmp_path: Path, run: Any) -> None:
    (tmp_path / "bad.yaml").write_text(component("x", "state.sqlit"))
    (tmp_path / "mq.yaml").write_text(component("mq", "pubsub.mqtt3", {"url": "tcp://127.0.0.1:1"}))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("check", str(tmp_path), "--dapr-http-port", str(port), "--dapr-grpc-port", "0", "--json", code=1)

    found = {row["subject"]: row for row in json.loads(done.stdout)}
    assert found[f"port {port}"]["level"] == "error" and "choose another" in found[f"port {port}"]["todo"]
    assert any("bad.yaml" in subject and "state.sqlite" in row["text"] + row["todo"] for subject, row in found.items())
    assert found["mq"]["level"] == "warning" and "messages wait on disk" in found["mq"]["todo"]
    assert run("check", str(tmp_path / "nowhere"), "--offline", code=1)


@pytest.mark.parametrize(
    ("component", "configuration", "text"),
    [
        ("mqtt", {"url": "mqtt://127.0.0.1:1"}, "127.0.0.1:1 does not answer"),
        ("mqtt", {}, "missing url"),
        ("mqqt", {}, "mqqt"),
    ],
)
def test_check_looks_at_the_name_resolution(component: str, configuration: dict[str, str], text: str, tmp_path: Path, run: Any) -> None:
    spec = {"nameResolution": {"component": component, "version": "v1", "configuration": configuration}}
    document = {"apiVersion": "dapr.io/v1alpha1", "kind": "Configuration", "metadata": {"name": "c"}, "spec": spec}
    (tmp_path / "config.yaml").write_text(json.dumps(document))
    done = run("check", "--config", str(tmp_path / "config.yaml"), "--dapr-http-port", "0", "--dapr-grpc-port", "0", "--json")
    found = [row for row in json.loads(done.stdout) if row["subject"] == f"nameresolution.{component}"]
    assert [row["level"] for row in found] == ["warning"] and text in found[0]["text"] and found[0]["todo"]


def test_configurations_are_listed(tmp_path: Path, run: Any) -> None:
    (tmp_path / "c.yaml").write_text("kind: Configuration\nmetadata: {name: c}\nspec: {metrics: {enabled: false}}\n---\nkind: Component\n")

    rows = json.loads(run("configurations", str(tmp_path), "--json").stdout)

    assert [(row["name"], row["tracing"], row["metrics"]) for row in rows] == [("c", False, False)]


def test_version_and_completion(run: Any) -> None:
    assert json.loads(run("version", "-o", "json").stdout)["Runtime version"] == "1.18.3"
    assert run("--version").stdout.startswith("edged ")
    for shell, word in (("bash", "complete -o"), ("zsh", "#compdef edged"), ("fish", "complete --no-files")):
        assert word in run("completion", shell).stdout
    asked = {"_EDGED_COMPLETE": "bash_complete", "COMP_WORDS": "edged pub", "COMP_CWORD": "1"}
    offered = subprocess.run([sys.executable, "-m", "edge"], env={**os.environ, **asked}, capture_output=True, text=True, check=False)
    assert offered.stdout == "plain,publish\n"


def test_stop_ends_the_sidecar_and_its_app_and_names_what_is_not_there(tmp_path: Path) -> None:
    one = Sidecar(tmp_path, command=("sleep", "100"))
    one.start()

    done = edged("stop", "test", "other", "--data-dir", str(tmp_path / "data"))

    assert done.returncode == 1 and "app stopped successfully: test" in done.stdout and "not running: other" in done.stderr
    assert one.process is not None and one.process.wait(30) == 0


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("journal", "workflow")])
def test_every_command_has_help(name: str) -> None:
    done = CliRunner().invoke(cli, [name, "--help"], prog_name="edged")

    assert done.exit_code == 0 and re.search(r"Usage|edged run", done.output) and len(done.output.splitlines()) > 4
