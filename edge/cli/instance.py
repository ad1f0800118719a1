"""`edged list, stop, invoke, publish, logs`: the running sidecars of this machine."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from urllib.parse import quote, urlencode

import click

from edge import instances
from edge.cli import api
from edge.cli.output import tail

data_dir_option = click.option("--data-dir", default="", help="Where the data directories are (default as for `edged run`).")
JSON_COLUMNS = {
    "appId": "APP ID",
    "httpPort": "HTTP PORT",
    "grpcPort": "GRPC PORT",
    "appPort": "APP PORT",
    "command": "COMMAND",
    "age": "AGE",
    "created": "CREATED",
    "daprdPid": "DAPRD PID",
    "cliPid": "CLI PID",
    "appPid": "APP PID",
    "runTemplatePath": "RUN_TEMPLATE_PATH",
}


def row(one: instances.Instance) -> dict[str, object]:
    """An instance in the words of `dapr list -o json`."""
    age = max(0, int(time.time() - one.started_ms / 1000))
    return {
        "appId": one.app_id,
        "httpPort": one.http_port,
        "grpcPort": one.grpc_port,
        "appPort": one.app_port,
        "metricsEnabled": one.metrics,
        "command": one.command[:20],
        "age": f"{age // 86400}d" if age >= 86400 else f"{age // 3600}h" if age >= 3600 else f"{age // 60}m" if age >= 60 else f"{age}s",
        "created": time.strftime("%Y-%m-%d %H:%M.%S", time.localtime(one.started_ms / 1000)),
        "daprdPid": one.pid,
        "cliPid": one.pid if one.command else 0,
        "appPid": one.app_pid,
        "maxRequestBodySize": one.max_body_bytes,
        "httpReadBufferSize": one.read_buffer_bytes,
        "runTemplatePath": one.run_file,
        "runTemplateName": one.run_name,
        "appLogPath": one.app_log,
        "daprdLogPath": one.log_path,
    }


@click.command("list")
@click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", help="How to print.")
@click.option("--json", "as_json", is_flag=True, help="The same as -o json.")
@data_dir_option
def list_(output: str, as_json: bool, data_dir: str) -> None:
    """List the running sidecars."""
    rows = [row(one) for one in instances.running(api.base(data_dir))]
    if output == "yaml":
        import yaml  # only for this output

        click.echo(yaml.safe_dump(rows, sort_keys=False).rstrip())
        return
    api.show(rows, JSON_COLUMNS, as_json or output == "json", "No Dapr instances found.")


@click.command()
@click.argument("app_ids", nargs=-1)
@click.option("-a", "--app-id", "more", multiple=True, help="App id; may be given several times.")
@click.option("-f", "--run-file", default="", help="Stop what was started by this file.")
@data_dir_option
def stop(app_ids: tuple[str, ...], more: tuple[str, ...], run_file: str, data_dir: str) -> None:
    """Stop sidecars (and the apps they started) by app id or by run file. Exit code 1 if one was not found.

    \b
      edged stop shop
      edged stop -f dapr.yaml
    """
    wanted = {*app_ids, *more}
    if not wanted and not run_file:
        raise click.UsageError("name an app id, or a file with -f")
    path = str(_template(Path(run_file)).resolve()) if run_file else ""
    found = [one for one in instances.running(api.base(data_dir)) if one.app_id in wanted or (path and one.run_file == path)]
    for one in {one.pid: one for one in found}.values():
        os.kill(one.pid, signal.SIGTERM)
        names = ", ".join(other.app_id for other in found if other.pid == one.pid)
        click.echo(f"app stopped successfully: {names} (pid {one.pid})")
    missing = wanted - {one.app_id for one in found}
    if missing or (path and not found):
        raise click.ClickException(f"not running: {', '.join(sorted(missing)) or path}; see `edged list`")


def _template(path: Path) -> Path:
    return path / "dapr.yaml" if path.is_dir() else path


@click.command()
@click.option("-a", "--app-id", required=True, help="The app to call.")
@click.option("-m", "--method", required=True, help="Method or path, with a query if any.")
@click.option("-d", "--data", help="Body, JSON.")
@click.option("-f", "--data-file", type=click.Path(allow_dash=True), help="File with the body; - is standard input.")
@click.option("-v", "--verb", default="POST", show_default=True, help="HTTP verb.")
@data_dir_option
def invoke(app_id: str, method: str, data: str | None, data_file: str | None, verb: str, data_dir: str) -> None:
    """Call a method of an app through its own sidecar and print the answer.

    \b
      edged invoke -a shop -m orders/7 -v GET
    """
    one = api.instance(app_id, data_dir)
    status, body = api.call(one, verb.upper(), f"/v1.0/invoke/{quote(app_id)}/method/{method.lstrip('/')}", api.read_data(data, data_file))
    click.echo(api.checked(status, body).decode(errors="replace"))


@click.command()
@click.option("-i", "--publish-app-id", required=True, help="Publish through this app's sidecar.")
@click.option("-p", "--pubsub", required=True, help="Name of the pub/sub component.")
@click.option("-t", "--topic", required=True, help="Topic.")
@click.option("-d", "--data", help="Message, JSON.")
@click.option("-f", "--data-file", type=click.Path(allow_dash=True), help="File with the message; - is standard input.")
@click.option("-m", "--metadata", default="", help='Metadata as a JSON object, e.g. \'{"ttlInSeconds": "60"}\'.')
@data_dir_option
def publish(publish_app_id: str, pubsub: str, topic: str, data: str | None, data_file: str | None, metadata: str, data_dir: str) -> None:
    """Publish a message; success means it is on disk or the broker has it.

    \b
      edged publish -i shop -p pubsub -t orders -d '{"id": 7}'
    """
    try:
        pairs = {f"metadata.{key}": str(value) for key, value in json.loads(metadata).items()} if metadata else {}
    except (ValueError, AttributeError) as error:
        raise click.UsageError(f"--metadata is no JSON object: {error}") from error
    one = api.instance(publish_app_id, data_dir)
    path = f"/v1.0/publish/{quote(pubsub, safe='')}/{quote(topic)}" + (f"?{urlencode(pairs)}" if pairs else "")
    api.checked(*api.call(one, "POST", path, api.read_data(data, data_file) or b""))
    click.echo("Event published successfully")


@click.command()
@click.option("-a", "--app-id", required=True, help="App id.")
@click.option("-n", "--lines", default=200, show_default=True, help="Lines from the end.")
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until Ctrl-C.")
@click.option("-s", "--source", type=click.Choice(["app", "daprd"]), help="Whose log; default: the app's if it has one.")
@data_dir_option
def logs(app_id: str, lines: int, follow: bool, source: str | None, data_dir: str) -> None:
    """Show the log file of an app, or of its sidecar, started by `edged run -f`; under systemd the journal has both.

    \b
      edged logs -a shop
      edged logs -a shop --source daprd -f
    """
    one = api.instance(app_id, data_dir)
    path = {"app": one.app_log, "daprd": one.log_path, None: one.app_log or one.log_path}[source]
    if not path:
        raise click.ClickException(f"{app_id} logs to its standard output; under systemd: journalctl -u edged")
    try:
        shown, position = tail(Path(path), lines)
        for line in shown:
            click.echo(line)
        with Path(path).open(errors="replace") as file:
            file.seek(position)
            while follow:
                click.echo(text, nl=False) if (text := file.read()) else time.sleep(0.2)
    except KeyboardInterrupt:
        return
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from error
