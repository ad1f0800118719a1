"""Dapr's multi-app run file (`dapr run -f`): shared keys, app keys, precedence and paths as cli.md §4 says (layer 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.app import AppHealthCheck
from edge.quantity import parse_quantity
from edge.settings import LOOPBACK, PROTOCOLS, AppSettings

UNSET = (None, "", 0, False)


class RunFileError(Exception):
    """The file can't be used; the text names file, app and key."""


@dataclass(slots=True)
class AppEntry:
    """One app of the file. command: empty = somebody else starts it. directory: working directory of the app."""

    settings: AppSettings
    directory: Path
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    resources: tuple[Path, ...] = ()
    config: Path | None = None
    app_log: str = "fileAndConsole"
    daprd_log: str = "file"
    log_level: str = "info"
    metrics_port: int = -1
    given: frozenset[str] = frozenset()
    """Which of http_port and grpc_port the file names."""


@dataclass(slots=True)
class RunFile:
    """The whole file. common: the resources and the configuration of apps that name none."""

    path: Path
    name: str
    apps: list[AppEntry]
    common: tuple[tuple[Path, ...], Path | None] = ((), None)


def locate(given: str) -> Path:
    """The file that `-f` names: a directory means its dapr.yaml."""
    path = Path(given)
    path = path / "dapr.yaml" if path.is_dir() else path
    if path.suffix not in (".yaml", ".yml"):
        raise RunFileError(f"{path}: a run file ends in .yaml or .yml")
    if not path.is_file():
        raise RunFileError(f"{path}: no such file; name a run file or a directory with dapr.yaml")
    return path.resolve()


def load(path: Path, text: str | None = None, root: Path | None = None, allow_empty: bool = False) -> RunFile:
    """Read and check a run file. root: Dapr's install root for the last defaults. Raises RunFileError."""
    import yaml  # only when a file is given

    try:
        document = yaml.safe_load(path.read_text() if text is None else text)
    except (OSError, yaml.YAMLError) as error:
        raise RunFileError(f"{path}: {error}") from error
    if not isinstance(document, dict) or not document.get("version"):
        raise RunFileError(f"{path}: `version: 1` is missing")
    entries = document.get("apps")
    if entries == [] and allow_empty:
        return RunFile(path, str(document.get("name") or path.parent.name), [], _common(path, document.get("common") or {}, root))
    if not isinstance(entries, list) or not entries:
        raise RunFileError(f"{path}: `apps` is empty; give at least one app")
    common = document.get("common") or {}
    if wrong := [entry for entry in entries if not isinstance(entry, dict)]:
        raise RunFileError(f"{path}: `apps` has {wrong[0]!r}; each app is a mapping with appDirPath")
    apps = [_app(path, common, entry, root) for entry in entries]
    seen: set[str] = set()
    for app in apps:
        if app.settings.app_id in seen:
            raise RunFileError(f"{path}: app id {app.settings.app_id} stands there twice; give one of them another appID")
        seen.add(app.settings.app_id)
    return RunFile(path, str(document.get("name") or path.parent.name), apps, _common(path, common, root))


def _common(path: Path, common: Mapping[str, Any], root: Path | None) -> tuple[tuple[Path, ...], Path | None]:
    nowhere = path.parent / ".no-such-app"
    return _resources(path, common, {}, nowhere, root), _config(path, common, {}, nowhere, root)


def _app(path: Path, common: Mapping[str, Any], own: Mapping[str, Any], root: Path | None) -> AppEntry:
    if not own.get("appDirPath"):
        raise RunFileError(f"{path}: app {own.get('appID', '?')}: appDirPath is missing")
    directory = _path(path.parent, str(own["appDirPath"]))
    app_id = str(own.get("appID") or directory.name)

    def value(key: str, default: Any = None) -> Any:
        for source in (own, common):
            if source.get(key) not in UNSET:
                return source[key]
        return default

    def size(key: str, default: str) -> int:
        try:
            number = parse_quantity(str(value(key, default)))
        except ValueError as error:
            raise RunFileError(f"{path}: app {app_id}: {key}: {error}") from error
        return parse_quantity(default) if number == -1 else -1 if number <= 0 else number

    protocol = str(value("appProtocol", "http")).lower()
    if protocol not in PROTOCOLS:
        raise RunFileError(f"{path}: app {app_id}: appProtocol {protocol}: use one of {', '.join(PROTOCOLS)}")
    addresses = tuple(a.strip() for a in str(value("apiListenAddresses", "")).split(",") if a.strip())
    settings = AppSettings(
        app_id=app_id,
        app_port=_port(path, app_id, own, "appPort", 0),
        app_protocol={"http": "https", "grpc": "grpcs"}.get(protocol, protocol) if value("appSSL") else protocol,
        app_channel_address=str(own.get("appChannelAddress") or "127.0.0.1"),
        app_max_concurrency=int(value("appMaxConcurrency", -1)),
        http_port=_port(path, app_id, own, "daprHTTPPort", -1),
        grpc_port=_port(path, app_id, own, "daprGRPCPort", -1),
        internal_grpc_port=max(0, _port(path, app_id, own, "daprInternalGRPCPort", -1)),
        listen_addresses=addresses or LOOPBACK,
        unix_socket_dir=str(own.get("unixDomainSocket") or ""),
        health_check=_health(value) if value("enableAppHealthCheck") else None,
        max_body_bytes=size("maxBodySize", "4Mi"),
        read_buffer_bytes=size("readBufferSize", "4Ki"),
        api_logging=True if value("enableApiLogging") else None,
    )
    return AppEntry(
        settings=settings,
        directory=directory,
        command=tuple(str(word) for word in own.get("command") or ()),
        env={str(k): str(v) for source in (common.get("env"), own.get("env")) for k, v in (source or {}).items()},
        resources=_resources(path, common, own, directory, root),
        config=_config(path, common, own, directory, root),
        app_log=str(value("appLogDestination", "fileAndConsole")),
        daprd_log=str(value("daprdLogDestination", "file")),
        log_level=str(value("logLevel", "info")),
        metrics_port=_port(path, app_id, own, "metricsPort", -1),
        given=frozenset(key for key, name in (("http_port", "daprHTTPPort"), ("grpc_port", "daprGRPCPort")) if own.get(name)),
    )


def _health(value: Any) -> AppHealthCheck:
    path = str(value("appHealthCheckPath", "/healthz"))
    return AppHealthCheck(
        path=path if path.startswith("/") else f"/{path}",
        interval=float(value("appHealthProbeInterval", 5)),
        timeout=float(value("appHealthProbeTimeout", 500)) / 1000,
        threshold=int(value("appHealthThreshold", 3)),
    )


def _port(path: Path, app_id: str, own: Mapping[str, Any], key: str, default: int) -> int:
    try:
        port = int(own.get(key, default))
    except (TypeError, ValueError):
        raise RunFileError(f"{path}: app {app_id}: {key}: {own[key]!r} is no port") from None
    if port > 65535:
        raise RunFileError(f"{path}: app {app_id}: {key}: {port} is no port (0-65535)")
    return port


def _path(base: Path, text: str) -> Path:
    path = Path(text).expanduser()
    path = path if path.is_absolute() else base / path
    if not path.exists():
        raise RunFileError(f"{path}: no such file or directory; create it or correct the path")
    return path.resolve()


def _listed(source: Mapping[str, Any]) -> list[str]:
    paths = [str(p) for p in source.get("resourcesPaths") or ()]
    return [*paths, str(source["resourcesPath"])] if source.get("resourcesPath") else paths


def _resources(path: Path, common: Mapping[str, Any], own: Mapping[str, Any], directory: Path, root: Path | None) -> tuple[Path, ...]:
    if listed := _listed(own):
        return tuple(_path(directory, p) for p in listed)
    if (default := directory / ".dapr" / "resources").is_dir():
        return (default,)
    if listed := _listed(common):
        return tuple(_path(path.parent, p) for p in listed)
    return (root / "components",) if root and (root / "components").is_dir() else ()


def _config(path: Path, common: Mapping[str, Any], own: Mapping[str, Any], directory: Path, root: Path | None) -> Path | None:
    if own.get("configFilePath"):
        return _path(directory, str(own["configFilePath"]))
    if (default := directory / ".dapr" / "config.yaml").is_file():
        return default
    if common.get("configFilePath"):
        return _path(path.parent, str(common["configFilePath"]))
    return root / "config.yaml" if root and (root / "config.yaml").is_file() else None
