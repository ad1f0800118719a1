"""`edged check`: reads all YAML as the daemon would and looks at the device; every finding says what to do.

Exit code 0: nothing wrong (warnings allowed), 1: an error that stops the daemon or loses something, 2: wrong use.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import click

from edge.cli import api

OLDEST_PLAUSIBLE = 1735689600  # 2025-01-01: a clock before that was never set
LEAST_FREE = 100 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. level: ok, warning, error. todo: what to do, empty when ok."""

    level: str
    subject: str
    text: str
    todo: str = ""


def clock() -> Iterator[Finding]:
    """The wall clock: a Pi without RTC boots in the past."""
    if time.time() < OLDEST_PLAUSIBLE:
        stamp = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
        yield Finding("error", "clock", f"the clock says {stamp}", "set it (timedatectl set-ntp true); until then TLS connections wait")
    elif not Path("/run/systemd/timesync/synchronized").exists() and Path("/run/systemd/system").exists():
        yield Finding(
            "warning", "clock", "systemd-timesyncd has not synchronised", "check timedatectl; without NTP ages go by device-up time"
        )
    else:
        yield Finding("ok", "clock", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))


def disk(folder: Path) -> Iterator[Finding]:
    """The data directory: there, writable, with room, on a file system that locks."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK):
        yield Finding(
            "error", "disk", f"{there} is not writable by uid {os.getuid()}", f"chown it, or give another --data-dir than {folder}"
        )
        return
    free = shutil.disk_usage(there).free
    if free < LEAST_FREE:
        yield Finding("error", "disk", f"{free >> 20} MiB free at {there}", "free some space; a full disk refuses publishes with 507")
    else:
        yield Finding("ok", "disk", f"{free >> 20} MiB free at {there}")


def name_of_host() -> Iterator[Finding]:
    """The host's own name resolves: other sidecars and logs use it."""
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, None)
    except OSError as error:
        yield Finding("warning", "dns", f"the host name {name} does not resolve: {error.strerror}", "add it to /etc/hosts")
    else:
        yield Finding("ok", "dns", f"{name} resolves")


def ports(wanted: dict[str, int]) -> Iterator[Finding]:
    """The ports the daemon would listen on are free."""
    for name, port in wanted.items():
        if port <= 0:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                yield Finding(
                    "error",
                    f"port {port}",
                    f"{name}: {error.strerror}",
                    f"stop what listens there (ss -ltnp 'sport = :{port}') or choose another",
                )
            else:
                yield Finding("ok", f"port {port}", f"{name}: free")


def server(subject: str, url: str, timeout: float = 3.0) -> Iterator[Finding]:
    """A broker's or database's address accepts connections now; being away is a warning, since edged starts all the same."""
    parts = urlsplit(url if "://" in url else f"tcp://{url}")
    defaults = {"mqtt": 1883, "tcp": 1883, "mqtts": 8883, "ssl": 8883, "redis": 6379, "postgres": 5432, "postgresql": 5432, "nats": 4222}
    port = parts.port or defaults.get(parts.scheme, 0)
    if not parts.hostname or not port:
        return
    try:
        socket.create_connection((parts.hostname, port), timeout).close()
    except OSError as error:
        yield Finding(
            "warning",
            subject,
            f"{parts.hostname}:{port} does not answer: {error}",
            "start it or correct the address; until then messages wait on disk",
        )
    else:
        yield Finding("ok", subject, f"{parts.hostname}:{port} answers")


def resources(paths: tuple[Path, ...], configs: tuple[Path, ...]) -> Iterator[Finding]:
    """All YAML, read by the daemon's own reader."""
    from edge.cli.resources import findings  # the readers of YAML, only when there is some

    for level, subject, text, todo in findings(paths, configs):
        yield Finding(level, subject, text, todo)


def secure(listen: str, paths: tuple[Path, ...], base: Path) -> Iterator[Finding]:
    """Who may reach the API, who may read data and secrets."""
    from edge.cli import resources, secure

    addresses = [each.strip() for each in listen.split(",") if each.strip()]
    for row in (*secure.access(addresses, os.environ), *secure.files(base, resources.secret_files(paths), os.environ)):
        yield Finding(*row)


MARKS = {"ok": ("ok", "green"), "warning": ("warn", "yellow"), "error": ("error", "red")}


@click.command()
@click.argument("resources_paths", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--resources-path", "more", multiple=True, type=click.Path(path_type=Path), help="Resources directory; may be given several times."
)
@click.option("--config", "configs", multiple=True, type=click.Path(path_type=Path), help="Configuration file.")
@click.option("--data-dir", default="", help="Data directory to look at.")
@click.option("--dapr-http-port", default=3500, show_default=True)
@click.option("--dapr-grpc-port", default=50001, show_default=True)
@click.option("--dapr-listen-addresses", default="127.0.0.1", show_default=True, help="Where the API would listen.")
@click.option("--offline", is_flag=True, help="Do not connect to brokers and databases.")
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON.")
def check(
    resources_paths: tuple[Path, ...],
    more: tuple[Path, ...],
    configs: tuple[Path, ...],
    data_dir: str,
    dapr_http_port: int,
    dapr_grpc_port: int,
    dapr_listen_addresses: str,
    offline: bool,
    as_json: bool,
) -> None:
    """Check all YAML and this device. Exit code 1 when something would stop the daemon.

    \b
      edged check /etc/edged/resources
    """
    paths = (*resources_paths, *more)
    steps: list[Callable[[], Iterator[Finding]]] = [
        lambda: resources(paths, configs),
        clock,
        lambda: disk(api.base(data_dir)),
        name_of_host,
        lambda: secure(dapr_listen_addresses, paths, api.base(data_dir)),
        lambda: ports({"HTTP API": dapr_http_port, "gRPC API": dapr_grpc_port}),
    ]
    found = [finding for step in steps for finding in step()]
    if not offline:
        found += [f for subject, url in _servers(paths, configs) for f in server(subject, url)]
    if as_json:
        api.show([asdict(f) for f in found], {}, True, "")
    else:
        for finding in found:
            mark, colour = MARKS[finding.level]
            click.echo(
                f"{click.style(f'{mark:>5}', fg=colour)}  {finding.subject}: {finding.text}"
                + (f" -> {finding.todo}" if finding.todo else "")
            )
    raise SystemExit(1 if any(f.level == "error" for f in found) else 0)


def _servers(paths: tuple[Path, ...], configs: tuple[Path, ...]) -> list[tuple[str, str]]:
    from edge.cli.resources import addresses

    return addresses(paths, configs)
