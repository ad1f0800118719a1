"""`edged run -f FILE` and `edged serve`: many apps in one daemon, with the apps' own commands beside it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge import systemd
from edge.cli import flags, openfiles, runfile
from edge.cli.group import Group, grouped
from edge.cli.run import Signals
from edge.datadir import DataDirError, base_dir
from edge.telemetry import logs

if TYPE_CHECKING:
    from edge.cli.fleet import Fleet

log = logging.getLogger("dapr.runtime")
SERVICE = "edged"
"""Name of the data folder of the device's daemon."""


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
    raise SystemExit(_many(lambda: [_loaded(path)], values, service=False))


def _loaded(path: str) -> runfile.RunFile:
    """The run file that -f names; `-` is standard input. Raises RunFileError."""
    if path == "-":
        return runfile.load(Path.cwd() / "dapr.yaml", sys.stdin.read(), _root())
    return runfile.load(runfile.locate(path), root=_root())


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
@click.option("--log-level", default="info", show_default=True, help="debug, info, warn, error, fatal.")
@click.option("--log-as-json", is_flag=True, help="Log lines as JSON.")
@click.option("--metrics-port", default=9090, show_default=True, help="Port of the metrics; 0 = none.")
def serve(config_dir: Path, data_dir: str, log_level: str, log_as_json: bool, metrics_port: int) -> None:
    """Run the daemon of this device: all apps of edged.yaml and apps.d/*.yaml, started and started again with back-off.

    \b
      edged serve --config-dir /etc/edged
      systemctl reload edged        # or kill -HUP: takes changed files over; a fault in them changes nothing
    """
    values, _ = flags.parse([])
    values |= {"data_dir": data_dir, "log_level": log_level, "log_as_json": log_as_json, "metrics_port": str(metrics_port)}
    values["enable_metrics"] = metrics_port > 0
    raise SystemExit(_many(lambda: _files(config_dir), values, service=True))


def _files(config_dir: Path) -> list[runfile.RunFile]:
    """The device's run files. Raises RunFileError."""
    main = config_dir / "edged.yaml"
    paths = [path for path in (main, *sorted(config_dir.glob("apps.d/*.yaml"))) if path.is_file()]
    if not paths:
        raise runfile.RunFileError(f"{main}: no such file; write one (edged init shows the form) or name another --config-dir")
    return [runfile.load(path.resolve(), allow_empty=True) for path in paths]


def _root() -> Path | None:
    """Dapr's install root, for its default resources."""
    if given := os.environ.get("DAPR_RUNTIME_PATH"):
        return Path(given) / ".dapr"
    home = os.environ.get("HOME")
    return Path(home) / ".dapr" if home else None


Load = Callable[[], list[runfile.RunFile]]


def _many(load: Load, values: dict[str, Any], *, service: bool) -> int:
    """Run the apps of run files until a signal comes. load: read again at each SIGHUP."""
    name = SERVICE if service else ""
    try:
        logs.setup("", values["log_level"], values["log_as_json"], values["log_file"])
        groups = grouped(load(), values, name)
    except (runfile.RunFileError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    base = base_dir(values["data_dir"], os.environ)
    try:
        return asyncio.run(_run(groups, base, service, lambda: grouped(load(), values, name)))
    except DataDirError as error:
        log.critical("Fatal error from runtime: %s", error)
        return 1


async def _run(groups: list[Group], base: Path, service: bool, again: Callable[[], list[Group]]) -> int:
    from edge.cli.fleet import Fleet  # the composition root, once the command line is known to be right
    from edge.cli.service import told
    from edge.runtime import StartFailed

    stop = asyncio.Event()
    signals = Signals(stop)
    signals.install()
    openfiles.raise_limit()
    openfiles.Watch(asyncio.get_running_loop())
    apps = [entry.settings.app_id for group in groups for entry in group.entries]
    try:
        async with Fleet(groups, base, stop, service=service) as fleet:
            signals.started()
            async with told(fleet.daemons, f"{len(apps)} apps: {', '.join(apps)}" if apps else "no apps"):
                if service:
                    _reload_on_hangup(fleet, again)
                await stop.wait()
    except StartFailed as error:
        log.critical("Fatal error from runtime: %s", error)
        return 1
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
    log.info("Daprd shutdown gracefully")
    return 0


def _reload_on_hangup(fleet: Fleet, again: Callable[[], list[Group]]) -> None:
    """SIGHUP reads the files again; one reload at a time."""
    import signal  # only the service reloads

    under_way: set[asyncio.Task[None]] = set()
    order = asyncio.Lock()

    async def reload() -> None:
        async with order:
            systemd.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            try:
                await fleet.reload(again())
            except (runfile.RunFileError, ValueError) as error:
                log.error("reload: %s; what runs stays as it is", error)
            systemd.notify("READY=1")

    def hangup() -> None:
        task = asyncio.create_task(reload(), name="reload")
        under_way.add(task)
        task.add_done_callback(under_way.discard)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hangup)
