"""`edged init, diag, completion, version`: what is needed around the daemon. `check` is in edge.cli.doctor."""

from __future__ import annotations

import io
import json
import os
import platform
import re
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import click

from edge import instances, version
from edge.cli import api
from edge.cli.doctor import check

__all__ = ["check", "completion", "diag", "init", "version_"]

STARTER: dict[str, str] = {
    "dapr.yaml": """\
# Start everything here with:  edged run -f .
version: 1
common:
  resourcesPaths: [resources]
apps:
  - appID: myapp
    appDirPath: .
    appPort: 6000          # where your app listens; leave out if it only calls the API
    daprHTTPPort: 3500     # where your app finds the Dapr API
    daprGRPCPort: 50001
    # command: [python3, app.py]
""",
    "resources/statestore.yaml": """\
# State in one SQLite file. Your app: curl -X POST localhost:3500/v1.0/state/statestore -d '[{"key":"a","value":1}]'
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: statestore
spec:
  type: state.sqlite
  version: v1
  metadata:
    - name: connectionString
      value: myapp-state.db      # relative to where edged is started; use an absolute path for a service
""",
    "resources/pubsub.yaml": """\
# Messages over MQTT. A broker that is away never fails a publish: what is accepted waits on disk.
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: pubsub
spec:
  type: pubsub.mqtt3            # no broker? use pubsub.sqlite and delete the metadata
  version: v1
  metadata:
    - name: url
      value: mqtt://localhost:1883
    - name: qos
      value: 1
    # - name: consumerID        # MQTT client id, default: the app id; keep it stable
    #   value: myapp
    # user and password belong into a secret store, not here:
    # - name: url
    #   secretKeyRef: {name: mqtt-url, key: mqtt-url}
""",
    "resources/secrets.yaml": """\
# Secrets from the environment of edged; `secretstores.local.file` reads a JSON file, `secretstores.systemd` LoadCredential.
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: secrets
spec:
  type: secretstores.local.env
  version: v1
  metadata: []
""",
}


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), default=".")
@click.option("--force", is_flag=True, help="Replace files that are there.")
def init(directory: Path, force: bool) -> None:
    """Write a commented starter directory: a run file, a state store, a pub/sub, a secret store.

    \b
      edged init garden && cd garden && edged run -f .
    """
    there = [name for name in STARTER if (directory / name).exists()]
    if there and not force:
        raise click.ClickException(f"{directory}: {', '.join(there)} exist already; --force replaces them")
    for name, text in STARTER.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        click.echo(f"wrote {path}")
    click.echo(f"next: edit {directory / 'resources'}, then: edged check {directory / 'resources'} && edged run -f {directory}")


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    \b
      edged completion bash > /etc/bash_completion.d/edged
    """
    from click.shell_completion import get_completion_class  # only here

    from edge.cli.commands import cli

    kind = get_completion_class(shell)
    if kind is None:
        raise click.ClickException(f"no completion for {shell}")
    click.echo(kind(cli, {}, "edged", "_EDGED_COMPLETE").source())


@click.command("version")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
@click.option("--json", "as_json", is_flag=True, help="The same as -o json.")
def version_(output: str, as_json: bool) -> None:
    """Print the version with build facts."""
    facts = {
        "edged": version.VERSION,
        "Runtime version": version.DAPR,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "frozen": bool(getattr(sys, "frozen", False)),
    }
    if as_json or output == "json":
        click.echo(json.dumps(facts))
        return
    for key, value in facts.items():
        click.echo(f"{key}: {value}")


SECRET_NAME = re.compile(r"(?i)password|passwd|token|secret|key|credential|connectionstring|dsn|auth|private|cert|pem")
LOGIN = re.compile(r"(\w+://)[^/@\s]+@")
HIDDEN = "<redacted>"
REFERENCES = ("secretKeyRef", "envRef", "auth.secretStore")


def redact_yaml(text: str) -> str:
    """The documents with the values of fields whose name sounds secret, Secrets' data and logins in URLs replaced; references stay."""
    import yaml  # only for the bundle

    try:
        documents = [_redacted(document) for document in yaml.safe_load_all(text)]
    except yaml.YAMLError as error:
        return f"# left out, it is no YAML: {type(error).__name__}\n"  # its text may hold what stands around the mistake
    dumped: str = yaml.safe_dump_all(documents, sort_keys=False)
    return dumped


def _redacted(node: Any, under: str = "") -> Any:
    """under: the name of the field that holds it."""
    if under in REFERENCES:
        return node
    if isinstance(node, dict):
        if node.get("kind") == "Secret":
            node = {key: HIDDEN if key in ("data", "stringData") else value for key, value in node.items()}
        name = str(node.get("name", "")) if "value" in node else ""
        return {key: _redacted(value, name if key == "value" else str(key)) for key, value in node.items()}
    if isinstance(node, list):
        return [_redacted(each, under) for each in node]
    if SECRET_NAME.search(under) and under not in ("name", "keepAlive"):
        return HIDDEN
    return LOGIN.sub(rf"\1{HIDDEN}@", node) if isinstance(node, str) else node


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write (default edged-diag-<time>.tar.gz here).")
@click.option("--resources-path", "paths", multiple=True, type=click.Path(path_type=Path), help="YAML to include, redacted.")
@click.option("--data-dir", default="", help="Where the data directories are.")
def diag(output: Path | None, paths: tuple[Path, ...], data_dir: str) -> None:
    """Write a support bundle: versions, running sidecars, their metadata and health, YAML without secrets, sizes of the data files.

    No payload, no secret and no environment goes in.
    """
    output = output or Path(f"edged-diag-{time.strftime('%Y%m%d-%H%M%S')}.tar.gz")
    base = api.base(data_dir)
    found = list(instances.running(base))
    parts: dict[str, str] = {
        "machine.json": json.dumps({"edged": version.VERSION, "python": sys.version, "uname": platform.uname()._asdict()}, indent=2),
        "files.json": json.dumps({str(p): p.stat().st_size for p in sorted(base.rglob("*")) if p.is_file()}, indent=2),
    }
    for one in found:
        for name, path in (("metadata", "/v1.0/metadata"), ("health", "/v1.0/healthz")):
            try:
                status, body = api.call(one, "GET", path, timeout=5)
                parts[f"{one.app_id}-{name}.txt"] = f"HTTP {status}\n{body.decode(errors='replace')}"
            except click.ClickException as error:
                parts[f"{one.app_id}-{name}.txt"] = error.message
    for folder in paths:
        for file in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
            parts[f"resources/{file.name}"] = redact_yaml(file.read_text(errors="replace"))
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as raw, tarfile.open(fileobj=raw, mode="w:gz") as bundle:
        for name, text in parts.items():
            data = text.encode()
            info = tarfile.TarInfo(f"edged-diag/{name}")
            info.size, info.mtime = len(data), int(time.time())
            bundle.addfile(info, io.BytesIO(data))
    click.echo(f"wrote {output} ({len(parts)} files, {len(found)} running sidecars)")
