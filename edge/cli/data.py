"""`edged state, secret, config`: an app's data through its running sidecar, so the app's scopes and prefixes hold."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from urllib.parse import quote

import click

from edge.cli import api
from edge.cli.instance import data_dir_option
from edge.errors import ComponentError

app_option = click.option("-a", "--app-id", required=True, help="App id of a running sidecar.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def state() -> None:
    """Read and write an app's state.

    \b
      edged state set -a shop greeting '{"text": "hello"}'
      edged state get -a shop greeting
    """


def _key(store: str, key: str) -> str:
    return f"/v1.0/state/{quote(store, safe='')}/{quote(key, safe='')}"


store_option = click.option("-s", "--store", default="statestore", show_default=True, help="Name of the component.")


@state.command("get")
@click.argument("key")
@app_option
@store_option
@data_dir_option
def state_get(key: str, app_id: str, store: str, data_dir: str) -> None:
    """Print a value; exit code 1 when there is none."""
    status, body = api.call(api.instance(app_id, data_dir), "GET", _key(store, key))
    if status == 204:
        raise click.ClickException(f"no value for key {key} in store {store}")
    click.echo(api.checked(status, body).decode(errors="replace"))


@state.command("set")
@click.argument("key")
@click.argument("value")
@click.option("--ttl", type=int, help="Seconds until it expires.")
@app_option
@store_option
@data_dir_option
def state_set(key: str, value: str, ttl: int | None, app_id: str, store: str, data_dir: str) -> None:
    """Store a value; text that is no JSON is stored as a JSON string."""
    try:
        parsed = json.loads(value)
    except ValueError:
        parsed = value
    item = {"key": key, "value": parsed} | ({"metadata": {"ttlInSeconds": str(ttl)}} if ttl is not None else {})
    path = f"/v1.0/state/{quote(store, safe='')}"
    api.checked(*api.call(api.instance(app_id, data_dir), "POST", path, json.dumps([item]).encode()))


@state.command("del")
@click.argument("keys", nargs=-1, required=True)
@app_option
@store_option
@data_dir_option
def state_del(keys: tuple[str, ...], app_id: str, store: str, data_dir: str) -> None:
    """Delete keys."""
    one = api.instance(app_id, data_dir)
    for key in keys:
        api.checked(*api.call(one, "DELETE", _key(store, key)))


@state.command("ls")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--prefix", default="", help="Only keys that begin so (as stored: `<app-id>||key`).")
@click.option("--table", default="state", show_default=True)
@click.option("--limit", default=1000, show_default=True)
@json_option
def state_ls(file: Path, prefix: str, table: str, limit: int, as_json: bool) -> None:
    """List the keys in a state.sqlite file (Dapr's API has no listing). The file is only read.

    \b
      edged state ls ~/.local/state/edged/shop/state.db
    """
    import sqlite3  # only for this command

    if not table.replace("_", "").isalnum():
        raise click.UsageError("--table: letters, digits and _ only")
    query = f"SELECT key, length(value), expiration_time, update_time FROM {table} WHERE substr(key, 1, ?)=? ORDER BY key LIMIT ?"
    try:
        connection = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)
        rows = connection.execute(query, (len(prefix), prefix, limit)).fetchall()
        connection.close()
    except sqlite3.Error as error:
        raise click.ClickException(f"{file}: {error}; is it a state.sqlite file?") from error
    names = ("key", "size", "expires", "updated")
    shown = [dict(zip(names, row, strict=True)) for row in rows]
    api.show(shown, {"key": "KEY", "size": "SIZE", "expires": "EXPIRES", "updated": "UPDATED"}, as_json, "No keys.")


@click.group()
def secret() -> None:
    """Read secrets as an app sees them (its secret scopes hold).

    \b
      edged secret get -a shop -s secrets mqtt-password
    """


@secret.command("get")
@click.argument("name")
@app_option
@click.option("-s", "--store", required=True, help="Name of the secret store component.")
@data_dir_option
def secret_get(name: str, app_id: str, store: str, data_dir: str) -> None:
    """Print a secret as a JSON object."""
    status, body = api.call(api.instance(app_id, data_dir), "GET", f"/v1.0/secrets/{quote(store, safe='')}/{quote(name, safe='')}")
    click.echo(api.checked(status, body).decode(errors="replace"))


@secret.command("ls")
@app_option
@click.option("-s", "--store", required=True, help="Name of the secret store component.")
@json_option
@data_dir_option
def secret_ls(app_id: str, store: str, as_json: bool, data_dir: str) -> None:
    """List the names of the secrets that the app may read; never their values."""
    body = api.checked(*api.call(api.instance(app_id, data_dir), "GET", f"/v1.0/secrets/{quote(store, safe='')}/bulk"))
    names = [{"name": name} for name in sorted(json.loads(body or b"{}"))]
    api.show(names, {"name": "NAME"}, as_json, "No secrets.")


@click.group()
def config() -> None:
    """Read configuration items, and set them in a configuration.sqlite file.

    \b
      edged config get -a shop -s settings colour
      edged config set --file settings.db colour green
    """


@config.command("get")
@click.argument("keys", nargs=-1)
@app_option
@click.option("-s", "--store", required=True, help="Name of the configuration store component.")
@data_dir_option
def config_get(keys: tuple[str, ...], app_id: str, store: str, data_dir: str) -> None:
    """Print items as a JSON object; without keys all of them."""
    query = "&".join(f"key={quote(key, safe='')}" for key in keys)
    path = f"/v1.0/configuration/{quote(store, safe='')}" + (f"?{query}" if query else "")
    body = api.checked(*api.call(api.instance(app_id, data_dir), "GET", path))
    click.echo(body.decode(errors="replace") or "{}")


@config.command("set")
@click.argument("key")
@click.argument("value")
@click.option(
    "--file", "path", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The component's file (connectionString)."
)
@click.option("--table", default="configuration", show_default=True, help="The component's table.")
def config_set(key: str, value: str, path: Path, table: str) -> None:
    """Set an item in a configuration.sqlite file; subscribers are told. Prints its new version."""
    import sqlite3  # only for this command

    from components.configuration import sqlite as store

    try:
        with contextlib.closing(sqlite3.connect(path, timeout=10)) as connection, connection:
            store.create(connection, table)
            click.echo(store.put(connection, table, key, value))
    except (sqlite3.Error, ComponentError) as error:
        raise click.ClickException(f"{path}: {error}; is it a configuration.sqlite file that you may write?") from error
