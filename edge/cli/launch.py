"""`edged run -f FILE` and `edged serve`: many apps in one daemon, with the apps' own commands beside it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from edge.cli import flags, runfile
from edge.cli.group import Fleet, Group, grouped
from edge.cli.run import Signals
from edge.datadir import DataDirError, base_dir
from edge.telemetry import logs

log = logging.getLogger("dapr.runtime")


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    add_help_option=False,
)
@click.pass_context
def run(ctx: click.Context) -> None:
    """Run a sidecar (daprd's flags), or with -f all apps of a run file."""
    words = list(ctx.args)
    if "-h" in words or "--help" in words:
        click.echo(RUN_HELP + flags.usage("edged run"))
        return
    path, rest = _run_file(words)
    values, _ = _parsed(rest)
    raise SystemExit(_many(_load([runfile.locate(path)] if path != "-" else []), values, restart=False, stdin=path == "-"))


RUN_HELP = """Run a sidecar, with or without an app's command; or all apps of a run file.

  edged run --app-id shop --app-port 6000 -- python app.py
  edged run -f dapr.yaml

"""


def _parsed(words: list[str]) -> tuple[dict[str, Any], list[str]]:
    try:
        return flags.parse(words)
    except flags.UsageError as error:
        raise click.UsageError(str(error)) from error


def _run_file(words: list[str]) -> tuple[str, list[str]]:
    """The value of -f / --run-file, and the other words."""
    rest, path = [], ""
    source = iter(words)
    for word in source:
        if word in ("-f", "--run-file"):
            path = next(source, "")
        elif word.startswith("--run-file="):
            path = word.partition("=")[2]
        else:
            rest.append(word)
    if not path:
        raise click.UsageError("-f needs a run file")
    return path, rest


@click.command()
@click.option(
    "--config-dir", type=click.Path(path_type=Path), default=Path("/etc/edged"), show_default=True, help="edged.yaml, apps.d/*.yaml."
)
@click.option("--data-dir", default="", help="Folder for this device's data (default $STATE_DIRECTORY).")
@click.option("--log-level", default="info", show_default=True)
@click.option("--log-as-json", is_flag=True)
@click.option("--metrics-port", default=9090, show_default=True, help="Port of the metrics; 0 = none.")
def serve(config_dir: Path, data_dir: str, log_level: str, log_as_json: bool, metrics_port: int) -> None:
    """Run the daemon of this device: all apps of edged.yaml and apps.d/*.yaml, started and started again with back-off."""
    main = config_dir / "edged.yaml"
    files = [path for path in (main, *sorted(config_dir.glob("apps.d/*.yaml"))) if path.is_file()]
    if not files:
        raise click.ClickException(f"{main}: no such file; write one (edged init shows the form) or name another --config-dir")
    values, _ = flags.parse([])
    values |= {"data_dir": data_dir, "log_level": log_level, "log_as_json": log_as_json, "metrics_port": str(metrics_port)}
    values["enable_metrics"] = metrics_port > 0
    raise SystemExit(_many(_load(files, allow_empty=True), values, restart=True, files=files))


def _load(files: Iterable[Path], allow_empty: bool = False) -> list[runfile.RunFile]:
    try:
        return [runfile.load(path, root=_root(), allow_empty=allow_empty) for path in files]
    except runfile.RunFileError as error:
        raise click.ClickException(str(error)) from error


def _root() -> Path | None:
    """Dapr's install root, for its default resources."""
    if given := os.environ.get("DAPR_RUNTIME_PATH"):
        return Path(given) / ".dapr"
    home = os.environ.get("HOME")
    return Path(home) / ".dapr" if home else None


def _many(
    loaded: list[runfile.RunFile], values: dict[str, Any], *, restart: bool, stdin: bool = False, files: list[Path] | None = None
) -> int:
    try:
        if stdin:
            loaded = [runfile.load(Path.cwd() / "dapr.yaml", sys.stdin.read(), _root())]
        logs.setup("", values["log_level"], values["log_as_json"], values["log_file"])
        groups = grouped(loaded, values)
    except (runfile.RunFileError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    base = base_dir(values["data_dir"], os.environ)
    try:
        return asyncio.run(_run(groups, base, restart, files or []))
    except DataDirError as error:
        log.critical("Fatal error from runtime: %s", error)
        return 1


async def _run(groups: list[Group], base: Path, restart: bool, files: list[Path]) -> int:
    from edge.runtime import StartFailed  # after the command line was checked: importing takes the longest

    stop = asyncio.Event()
    signals = Signals(stop)
    signals.install()
    try:
        async with Fleet(groups, base, stop, restart, foreground=not restart) as fleet:
            if files:
                _reload_on_hangup(fleet, files)
            await stop.wait()
    except StartFailed as error:
        log.critical("Fatal error from runtime: %s", error)
        return 1
    log.info("Daprd shutdown gracefully")
    return 0


def _reload_on_hangup(fleet: Fleet, files: list[Path]) -> None:
    import signal  # only the daemon reloads

    def reload() -> None:
        try:
            loaded = [runfile.load(path, root=_root(), allow_empty=True) for path in files]
            values, _ = flags.parse([])
            wanted = grouped(loaded, values)
        except (runfile.RunFileError, ValueError) as error:
            log.error("reload: %s; what runs stays as it is", error)
            return
        fleet.reload(wanted)

    with contextlib.suppress(NotImplementedError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
