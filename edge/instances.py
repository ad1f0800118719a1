"""The running sidecars of this machine, by what each writes into its data directory: no process table is searched.

A daemon writes `instance.json` beside its lock; a reader trusts it only while the lock is held, so a crash leaves no ghost.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, field, fields
from pathlib import Path

from edge.record import record

FILE = "instance.json"


@record
class Instance:
    """One hosted app of a running daemon. Ports: 0 = none. started_ms: epoch. command: of the app that edged started."""

    app_id: str
    pid: int
    http_port: int = 0
    grpc_port: int = 0
    app_port: int = 0
    metrics_port: int = 0
    http_socket: str = ""
    address: str = "127.0.0.1"
    started_ms: int = 0
    app_pid: int = 0
    command: str = ""
    run_file: str = ""
    run_name: str = ""
    app_log: str = ""
    log_path: str = ""
    metrics: bool = True
    max_body_bytes: int = 4 << 20
    read_buffer_bytes: int = 4 << 10
    data_dir: str = field(default="")


def write(data_dir: Path, instances: Iterable[Instance]) -> None:
    """Replace what this daemon says of itself."""
    temporary = data_dir / f"{FILE}.{os.getpid()}"
    temporary.write_text(json.dumps([asdict(one) for one in instances]))
    temporary.chmod(0o600)
    temporary.replace(data_dir / FILE)


def remove(data_dir: Path) -> None:
    """The daemon ends."""
    (data_dir / FILE).unlink(missing_ok=True)


def running(base: Path) -> Iterator[Instance]:
    """Apps of all daemons whose folders stand under `base` (or are `base` itself)."""
    known = {one.name for one in fields(Instance)}
    for path in sorted({base / FILE, *base.glob(f"*/{FILE}")}):
        if not _held(path.parent / "lock"):
            continue
        try:
            rows = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        for row in rows:
            yield Instance(**{key: value for key, value in row.items() if key in known} | {"data_dir": str(path.parent)})


def _held(lock: Path) -> bool:
    try:
        with lock.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def find(base: Path, app_id: str) -> Instance | None:
    """The running instance of an app id, the first if there are several."""
    return next((one for one in running(base) if one.app_id == app_id), None)
