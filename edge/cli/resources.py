"""What `edged check` finds in YAML: the daemon's own readers, with nothing opened."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge.config.configuration import NameResolution
from edge.config.plan import Plan, PlanError, read_plan
from edge.errors import ComponentError
from edge.loader import check
from edge.mesh.names import described, texts, type_of
from edge.registry import UnknownComponent

Row = tuple[str, str, str, str]
ADDRESS_FIELDS = ("url", "redishost", "natsurl", "host")


def _plan(paths: Sequence[Path], configs: Sequence[Path], strict: bool) -> Plan:
    return read_plan(list(paths), list(configs), [], os.environ, Path("/nonexistent"), strict=strict)


def findings(paths: Sequence[Path], configs: Sequence[Path]) -> Iterator[Row]:
    """Level, subject, text and what to do for everything that is odd in the YAML."""
    missing = [path for path in (*paths, *configs) if not path.exists()]
    for path in missing:
        yield "error", str(path), "no such file or directory", "create it or correct the path"
    if missing:
        return
    try:
        plan = _plan(paths, configs, strict=True)
    except PlanError as error:
        for problem in error.problems:
            yield "error", problem.where or "resources", problem.message, "correct it; the daemon does not start with it"
        return
    for problem in (*plan.problems, *check(plan)):
        yield "error" if problem.fatal else "warning", problem.where or "resources", problem.message, "correct it"
    yield from _names(plan.configuration.name_resolution)
    yield "ok", "resources", f"{len(plan.components)} components, {len(plan.subscriptions)} subscriptions", ""


def _names(settings: NameResolution) -> Iterator[Row]:
    """What keeps apps from being found by name; the daemon starts all the same."""
    try:
        described(settings)
    except (ComponentError, ImportError, UnknownComponent) as error:
        yield "warning", type_of(settings), str(error), "correct spec.nameResolution; until then no other app can be called by its id"


def addresses(paths: Sequence[Path], configs: Sequence[Path]) -> list[tuple[str, str]]:
    """Names and addresses of the servers that components and spec.nameResolution name in the clear."""
    plan = _readable(paths, configs)
    rows = [(c.name, e.value) for c in plan.components for e in c.metadata if e.name.lower() in ADDRESS_FIELDS]
    names = plan.configuration.name_resolution
    rows += [(type_of(names), value) for name, value in texts(names.configuration).items() if name.lower() in ADDRESS_FIELDS]
    return [(name, value) for name, value in rows if value]


def secret_files(paths: Sequence[Path]) -> list[tuple[str, Path]]:
    """Names and files of the secret stores that are a file."""
    stores = [c for c in _readable(paths, ()).components if c.type == "secretstores.local.file"]
    return [(c.name, Path(e.value)) for c in stores for e in c.metadata if e.name.lower() == "secretsfile" and e.value]


def _readable(paths: Sequence[Path], configs: Sequence[Path]) -> Plan:
    try:
        return _plan(paths, configs, strict=False) if all(path.exists() for path in (*paths, *configs)) else Plan()
    except PlanError:
        return Plan()
