"""What the command line or a multi-app file says of the daemon and of each app, typed and checked (layer 2)."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.app import App, AppHealthCheck
from edge.quantity import parse_quantity
from edge.tokens import TokenError, tokens

PROTOCOLS = ("http", "https", "h2c", "grpc", "grpcs")
MODES = ("standalone", "kubernetes")
INIT_ENDPOINTS = ("config", "subscribe")
LOOPBACK = ("127.0.0.1",)
GOS_LARGEST_HEAD = 1 << 20
NEEDED_PORTS = ("dapr_http_port", "dapr_grpc_port")


class SettingsError(Exception):
    """A setting can't be used; the text is Dapr's where Dapr has one."""


@dataclass(slots=True)
class AppSettings:
    """One hosted app. Ports: 0 = none (internal: 0 = choose). Durations in seconds, sizes in bytes (-1 = no limit)."""

    app_id: str
    app_port: int = 0
    app_protocol: str = "http"
    app_channel_address: str = "127.0.0.1"
    app_max_concurrency: int = -1
    http_port: int = 3500
    grpc_port: int = 50001
    internal_grpc_port: int = 0
    internal_listen_address: str = ""
    public_port: int = 0
    public_listen_address: str = ""
    listen_addresses: tuple[str, ...] = LOOPBACK
    unix_socket_dir: str = ""
    health_check: AppHealthCheck | None = None
    max_body_bytes: int = 4 << 20
    read_buffer_bytes: int = 4 << 10
    allowed_origins: str = ""
    api_logging: bool | None = None
    binding_options_timeout: float = 3.0
    disable_init_endpoints: frozenset[str] = frozenset()
    placement_addresses: tuple[str, ...] = ()
    scheduler_addresses: tuple[str, ...] = ()
    namespace: str = ""
    api_token: str = field(default="", repr=False)
    app_token: str = field(default="", repr=False)
    mtls: bool = False
    sentry_address: str = ""
    trust_domain: str = "localhost"
    inherited: Mapping[str, Sequence[socket.socket]] = field(default_factory=dict, repr=False)
    """Sockets that systemd opened, by API (`http`, `grpc`); they stand for the ports."""

    def app(self) -> App:
        """The App that blocks see."""
        return App(
            id=self.app_id,
            namespace=self.namespace or "default",
            namespace_set=bool(self.namespace),
            port=self.app_port,
            protocol=self.app_protocol,
            channel_address=self.app_channel_address,
            max_concurrency=self.app_max_concurrency,
            max_body_bytes=self.max_body_bytes,
            read_buffer_bytes=self.read_buffer_bytes,
            api_token=self.api_token,
            app_token=self.app_token,
            health_check=self.health_check,
            mtls=self.mtls,
        )


@dataclass(slots=True)
class DaemonSettings:
    """What all apps of the daemon share."""

    data_dir: Path
    apps: list[AppSettings]
    resources_paths: tuple[Path, ...] = ()
    config_paths: tuple[Path, ...] = ()
    default_resources: bool = True
    grace: float = 5.0
    block_shutdown: float | None = None
    metrics: bool = True
    metrics_address: str = "127.0.0.1"
    metrics_port: int = 9090
    hot_reload_interval: float = 60.0
    mode: str = "standalone"
    working_dir: Path | None = None


def is_loopback(address: str) -> bool:
    """Only this machine reaches it."""
    return address.startswith("127.") or address in ("::1", "[::1]", "localhost")


def free_port() -> int:
    """A TCP port that was free on loopback a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _port(values: Mapping[str, Any], key: str) -> int:
    text = str(values[key])
    if not text and key not in NEEDED_PORTS:
        return 0
    try:
        port = int(text)
    except ValueError:
        flag = key.replace("_", "-") + (" flag" if key != "app_port" else "")
        raise SettingsError(f'error parsing {flag}: strconv.Atoi: parsing "{text}": invalid syntax') from None
    if not 0 <= port <= 65535:
        raise SettingsError(f"error parsing {key.replace('_', '-')} flag: {text} is no port (0-65535)")
    return port


def _size(values: Mapping[str, Any], key: str, old: str, unit: int, default: int, none: int = -1) -> int:
    """none: what no size or one below zero means."""
    if values.get(old):
        size = int(values[old]) * unit
    else:
        try:
            size = parse_quantity(str(values[key]))
        except ValueError as error:
            raise SettingsError(f"invalid value for '{key.replace('_', '-')}' option: {error}") from None
    return default if size == -1 else none if size <= 0 else size


def app_settings(values: Mapping[str, Any], environ: Mapping[str, str]) -> AppSettings:
    """One app from daprd's flags. Raises SettingsError with daprd's texts."""
    if not values["app_id"]:
        raise SettingsError("parameter app-id cannot be empty")
    if "." in values["app_id"]:
        raise SettingsError("parameter app-id cannot contain dots")
    protocol = values["app_protocol"].lower() or "http"
    if protocol not in PROTOCOLS:
        raise SettingsError(f"invalid value for 'app-protocol': {values['app_protocol']}")
    if values["app_ssl"]:
        protocol = {"http": "https", "grpc": "grpcs"}.get(protocol, protocol)
    for endpoint in values["disable_init_endpoints"]:
        if endpoint not in INIT_ENDPOINTS:
            raise SettingsError(f"invalid value for 'disable-init-endpoints': {endpoint}")
    app_port, http_port, grpc_port = (_port(values, key) for key in ("app_port", "dapr_http_port", "dapr_grpc_port"))
    if app_port and app_port in (http_port, grpc_port):
        kind = "dapr-http-port" if app_port == http_port else "dapr-grpc-port"
        raise SettingsError(f"the '{kind}' argument value {app_port} conflicts with 'app-port'")
    try:
        found = tokens(values["app_id"], environ)
    except TokenError as error:
        raise SettingsError(str(error)) from error
    return AppSettings(
        app_id=values["app_id"],
        app_port=app_port,
        app_protocol=protocol,
        app_channel_address=values["app_channel_address"],
        app_max_concurrency=values["app_max_concurrency"],
        http_port=http_port,
        grpc_port=grpc_port,
        internal_grpc_port=_port(values, "dapr_internal_grpc_port"),
        internal_listen_address=values["dapr_internal_grpc_listen_address"],
        public_port=_port(values, "dapr_public_port"),
        public_listen_address=values["dapr_public_listen_address"],
        listen_addresses=tuple(a.strip() for a in values["dapr_listen_addresses"].split(",") if a.strip()) or LOOPBACK,
        unix_socket_dir=values["unix_domain_socket"],
        health_check=_health_check(values),
        max_body_bytes=_size(values, "max_body_size", "dapr_http_max_request_size", 1 << 20, 4 << 20),
        read_buffer_bytes=_size(values, "read_buffer_size", "dapr_http_read_buffer_size", 1 << 10, 4 << 10, GOS_LARGEST_HEAD),
        allowed_origins=values["allowed_origins"],
        api_logging=values["enable_api_logging"],
        binding_options_timeout=values["app_binding_options_timeout"],
        disable_init_endpoints=frozenset(values["disable_init_endpoints"]),
        placement_addresses=tuple(a for a in values["placement_host_address"].split(",") if a),
        scheduler_addresses=tuple(values["scheduler_host_address"]),
        namespace=environ.get("NAMESPACE", ""),
        api_token=found.api,
        app_token=found.app,
        mtls=values["enable_mtls"],
        sentry_address=values["sentry_address"],
        trust_domain=values["control_plane_trust_domain"],
    )


def _health_check(values: Mapping[str, Any]) -> AppHealthCheck | None:
    if not values["enable_app_health_check"]:
        return None
    path = values["app_health_check_path"] or "/healthz"
    check = AppHealthCheck(
        path=path if path.startswith("/") else f"/{path}",
        interval=float(values["app_health_probe_interval"] if values["app_health_probe_interval"] > 0 else 5),
        timeout=(values["app_health_probe_timeout"] if values["app_health_probe_timeout"] > 0 else 500) / 1000,
        threshold=values["app_health_threshold"] if values["app_health_threshold"] > 0 else 3,
    )
    if check.timeout > check.interval:
        raise SettingsError("value for 'health-probe-timeout' must be smaller than 'health-probe-interval'")
    return check


def daemon_settings(values: Mapping[str, Any], apps: list[AppSettings], data_dir: Path) -> DaemonSettings:
    """What the same flags say of the daemon. Raises SettingsError."""
    if values["mode"] not in MODES:
        raise SettingsError(f"invalid mode: {values['mode']}")
    if values["scheduler_job_streams"] < 1:
        raise SettingsError(f"must define at least 1 scheduler stream, got {values['scheduler_job_streams']}")
    _port(values, "profile_port")
    paths = tuple(Path(p) for p in values["resources_path"] or values["components_path"])
    return DaemonSettings(
        data_dir=data_dir,
        apps=apps,
        resources_paths=paths,
        config_paths=tuple(Path(p) for p in values["config"]),
        default_resources=not paths,
        grace=float(values["dapr_graceful_shutdown_seconds"]),
        block_shutdown=values["dapr_block_shutdown_duration"],
        metrics=values["enable_metrics"],
        metrics_address=values["metrics_listen_address"],
        metrics_port=_port(values, "metrics_port"),
        hot_reload_interval=values["hot_reload_reconcile_interval"] or 60.0,
        mode=values["mode"],
    )
