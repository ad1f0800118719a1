"""How the command line talks to a running sidecar: plain HTTP on its port or socket, with the API token of the environment."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from edge import instances, tokens
from edge.datadir import base_dir


def base(data_dir: str) -> Path:
    """Where this user's (or this service's) data directories are."""
    return base_dir(data_dir, os.environ)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def instance(app_id: str, data_dir: str) -> instances.Instance:
    """The running instance of an app id, or a click error that says what to do."""
    found = instances.find(base(data_dir), app_id)
    if found is None:
        known = ", ".join(sorted({one.app_id for one in instances.running(base(data_dir))})) or "none"
        raise click.ClickException(f"no running sidecar of app id {app_id} under {base(data_dir)} (running: {known}); see `edged list`")
    return found


def token(app_id: str) -> str:
    """What the app's sidecar wants to be sent, as this command's environment says; "" = nothing."""
    try:
        return tokens.token(tokens.API, os.environ, app_id)
    except tokens.TokenError as error:
        raise click.ClickException(str(error)) from error


def call(
    one: instances.Instance,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 30.0,
) -> tuple[int, bytes]:
    """One request; the status and the body. Raises a click error when the sidecar does not answer."""
    sent = {"content-type": "application/json", **(headers or {})}
    if given := token(one.app_id):
        sent["dapr-api-token"] = given
    connection = (
        _UnixConnection(one.http_socket, timeout)
        if one.http_socket
        else http.client.HTTPConnection(one.address, one.http_port, timeout=timeout)
    )
    try:
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise click.ClickException(f"sidecar of {one.app_id} (pid {one.pid}) does not answer: {error}") from error
    finally:
        connection.close()


def checked(status: int, body: bytes) -> bytes:
    """The body of a success; else a click error with the API's message."""
    if status < 400:
        return body
    try:
        answer = json.loads(body)
        text = f"{answer.get('errorCode', status)}: {answer.get('message', '')}"
    except (ValueError, AttributeError):
        text = f"HTTP {status}: {body.decode(errors='replace').strip()}"
    raise click.ClickException(text)


def read_data(data: str | None, data_file: str | None) -> bytes | None:
    """--data or --data-file (`-` = standard input)."""
    if data is not None and data_file is not None:
        raise click.UsageError("give --data or --data-file, not both")
    if data_file is not None:
        with click.open_file(data_file, "rb") as file:
            content: bytes = file.read()
            return content
    return None if data is None else data.encode()


def show(rows: list[dict[str, Any]], columns: Mapping[str, str], as_json: bool, empty: str) -> None:
    """A table for people or JSON for scripts. columns: key -> heading."""
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo(empty)
        return
    cells = [[str(row.get(key, "")) for key in columns] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(columns.values(), *cells, strict=True)]
    for line in [list(columns.values()), *cells]:
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
