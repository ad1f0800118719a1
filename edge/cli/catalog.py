"""`edged components, configurations`: what component types there are, their fields, and what a sidecar has loaded."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from edge.cli import api
from edge.cli.instance import data_dir_option


@click.group(invoke_without_command=True)
@click.option("-a", "--app-id", help="Show what the sidecar of this app has loaded.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@data_dir_option
@click.pass_context
def components(ctx: click.Context, app_id: str | None, as_json: bool, data_dir: str) -> None:
    """List or describe component types; with -a, what a running sidecar has loaded.

    \b
      edged components list
      edged components describe pubsub.mqtt3
      edged components -a shop
    """
    if ctx.invoked_subcommand is not None:
        return
    if app_id is None:
        click.echo(ctx.get_help())
        return
    body = json.loads(api.checked(*api.call(api.instance(app_id, data_dir), "GET", "/v1.0/metadata")))
    rows = [{**row, "capabilities": ", ".join(row.get("capabilities", ()))} for row in body.get("components", ())]
    columns = {"name": "NAME", "type": "TYPE", "version": "VERSION", "capabilities": "CAPABILITIES"}
    api.show(rows, columns, as_json, "No components loaded.")


@components.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_types(as_json: bool) -> None:
    """All component types of this build."""
    from edge import registry  # the catalogue of strings

    rows = [{"type": name.rpartition("/")[0], "version": name.rpartition("/")[2]} for name in registry.known()]
    api.show(rows, {"type": "TYPE", "version": "VERSION"}, as_json, "No component types.")


@components.command("describe")
@click.argument("type_")
@click.argument("version", default="v1")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def describe(type_: str, version: str, as_json: bool) -> None:
    """The metadata fields of a type: name, default, meaning. A version may stand behind the type: state.postgresql/v2."""
    from edge import registry
    from edge.spec import docs

    if "/" in type_:
        type_, _, version = type_.partition("/")
    try:
        found = registry.load(type_, version)
    except registry.UnknownComponent as error:
        raise click.ClickException(f"{error}{error.hint}; see `edged components list`") from error
    except ImportError as error:
        raise click.ClickException(f"{type_} needs a package that is not installed: {error.name}; install edged with its extra") from error
    rows = [asdict(field) for field in docs.describe(found.Metadata)]
    columns = {key: key.upper() for key in (rows[0] if rows else {"name": ""})}
    api.show(rows, columns, as_json, f"{type_} has no metadata fields.")


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def configurations(paths: tuple[Path, ...], as_json: bool) -> None:
    """Show the Configuration resources in files or directories."""
    import yaml  # only for this command

    rows = []
    files = [file for path in paths for file in ([path] if path.is_file() else sorted([*path.glob("*.yaml"), *path.glob("*.yml")]))]
    for file in files:
        try:
            documents = [d for d in yaml.safe_load_all(file.read_text()) if isinstance(d, dict)]
        except yaml.YAMLError as error:
            raise click.ClickException(f"{file}: {error}") from error
        for document in documents:
            if document.get("kind") == "Configuration":
                spec = document.get("spec") or {}
                rows.append(
                    {
                        "name": (document.get("metadata") or {}).get("name", ""),
                        "tracing": bool(spec.get("tracing")),
                        "metrics": (spec.get("metrics") or spec.get("metric") or {}).get("enabled", True),
                        "file": str(file),
                    }
                )
    api.show(rows, {"name": "NAME", "tracing": "TRACING-ENABLED", "metrics": "METRICS-ENABLED", "file": "FILE"}, as_json, "None found.")
