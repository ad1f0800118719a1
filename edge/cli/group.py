"""Apps of run files grouped into what one set of components serves: a group is one daemon with one data folder (layer 6)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from edge.cli.runfile import AppEntry, RunFile, RunFileError
from edge.settings import DaemonSettings, free_port
from edge.tokens import tokens


@dataclass(slots=True)
class Group:
    """Apps that share components. name: of its data folder, the same at each start."""

    name: str
    entries: list[AppEntry]
    settings: DaemonSettings
    run_file: RunFile


def grouped(files: Sequence[RunFile], values: dict[str, Any], name: str = "") -> list[Group]:
    """One group per set of resources and configuration. Ports that were not given are chosen.

    name: of the folder, else the first file's. Raises RunFileError, TokenError.
    """
    found: dict[tuple[object, ...], Group] = {}
    seen: set[str] = set()
    ports: set[int] = set()
    for file in files:
        for entry in file.apps:
            if entry.settings.app_id in seen:
                raise RunFileError(f"{file.path}: app id {entry.settings.app_id} stands in another file too; give it another appID")
            seen.add(entry.settings.app_id)
            _fill(entry, ports)
            key = (entry.resources, entry.config)
            if key not in found:
                folder = _folder(name or files[0].name, files[0], entry)
                found[key] = Group(folder, [], _settings(entry, values, first=not found), file)
            found[key].entries.append(entry)
            found[key].settings.apps.append(entry.settings)
    return list(found.values())


def _folder(name: str, first: RunFile, entry: AppEntry) -> str:
    """The plain name for apps with the first file's common resources; others add what tells their resources apart."""
    paths = [*entry.resources, *([entry.config] if entry.config else [])]
    if (entry.resources, entry.config) == first.common or not paths:
        return name
    text = "\n".join(os.path.relpath(path, first.path.parent) for path in paths)
    return f"{name}-{crc32(text.encode()):08x}"


def _fill(entry: AppEntry, used: set[int]) -> None:
    for key in ("http_port", "grpc_port"):
        while getattr(entry.settings, key) < 0 or (getattr(entry.settings, key) in used and key not in entry.given):
            setattr(entry.settings, key, free_port())
        used.add(getattr(entry.settings, key))
    entry.settings.app_port = max(0, entry.settings.app_port)
    entry.settings.api_token, entry.settings.app_token = tokens(entry.settings.app_id, os.environ)
    entry.settings.namespace = os.environ.get("NAMESPACE", "")


def _settings(entry: AppEntry, values: dict[str, Any], first: bool) -> DaemonSettings:
    return DaemonSettings(
        data_dir=Path(),
        apps=[],
        resources_paths=entry.resources,
        config_paths=(entry.config,) if entry.config else (),
        default_resources=not entry.resources,
        grace=float(values["dapr_graceful_shutdown_seconds"]),
        metrics=values["enable_metrics"] and first,
        metrics_address=values["metrics_listen_address"],
        metrics_port=entry.metrics_port if entry.metrics_port > 0 else int(values["metrics_port"]),
        working_dir=entry.directory,
    )
