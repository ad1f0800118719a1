"""What a daemon says of itself to `edged list` and to the metadata API: one place for `run`, `run -f` and `serve`."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edge import instances
from edge.instances import Instance
from edge.settings import AppSettings, DaemonSettings

log = logging.getLogger("dapr.runtime")
STARTED_MS = int(time.time() * 1000)


def instance(
    app: AppSettings,
    daemon: DaemonSettings,
    command: Sequence[str] = (),
    app_pid: int = 0,
    run_file: tuple[str, str] = ("", ""),
    logs: tuple[str, str] = ("", ""),
) -> Instance:
    """One hosted app. run_file: its path and name. logs: the app's and the daemon's log file."""
    return Instance(
        app_id=app.app_id,
        pid=os.getpid(),
        http_port=0 if app.unix_socket_dir else app.http_port,
        grpc_port=0 if app.unix_socket_dir else app.grpc_port,
        app_port=app.app_port,
        metrics_port=daemon.metrics_port if daemon.metrics else 0,
        http_socket=f"{app.unix_socket_dir}/dapr-{app.app_id}-http.socket" if app.unix_socket_dir else "",
        address=_reachable(app.listen_addresses),
        started_ms=STARTED_MS,
        app_pid=app_pid,
        command=" ".join(command),
        run_file=run_file[0],
        run_name=run_file[1],
        app_log=logs[0],
        log_path=logs[1],
        metrics=daemon.metrics,
        max_body_bytes=app.max_body_bytes,
        read_buffer_bytes=app.read_buffer_bytes,
    )


def _reachable(addresses: Sequence[str]) -> str:
    """Where this machine reaches a listener on these addresses."""
    first = addresses[0].strip("[]") if addresses else "127.0.0.1"
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(first, first)


def extended(one: Instance) -> dict[str, str]:
    """What Dapr's launcher writes into the metadata of an app that it started (cli.md §3.2, §4.4)."""
    pairs = {
        "cliPID": str(one.pid),
        "appPID": str(one.app_pid) if one.app_pid else "",
        "appCommand": one.command,
        "runTemplatePath": one.run_file,
        "runTemplateName": one.run_name,
        "appLogPath": one.app_log,
        "daprdLogPath": one.log_path,
    }
    return {key: value for key, value in pairs.items() if value}


def announce(data_dir: Path, rows: Sequence[Instance]) -> None:
    """Write them where `edged list` looks; a disk that is full is no reason to fail."""
    try:
        instances.write(data_dir, rows)
    except OSError as error:
        log.warning("%s: %s; `edged list` does not show this sidecar", data_dir / instances.FILE, error.strerror)


@contextmanager
def announced(data_dir: Path, rows: Sequence[Instance]) -> Iterator[None]:
    """Shown by `edged list` as long as the block runs."""
    announce(data_dir, rows)
    try:
        yield
    finally:
        instances.remove(data_dir)
