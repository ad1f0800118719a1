"""daprd's command line as a table, and Go's flag rules: `-flag`, `--flag value`, `--flag=value`, booleans only with `=`.

Not click: these rules (one dash, `--bool=false`, repeated lists, usage on stderr with exit 2) are Go's, and scripts depend on them.
Source: Dapr cmd/daprd/options @2dcf2e3; edged's own flags are marked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from edge.durations import parse_go_duration
from edge.record import record


class UsageError(Exception):
    """The command line is wrong; the text is Go's."""


class HelpAsked(Exception):
    """`--help` or `-h` was given."""


@record
class Flag:
    """One flag. kind: string | strings (repeatable, comma lists) | int | bool | duration (seconds)."""

    name: str
    kind: str = "string"
    default: Any = ""
    doc: str = ""
    own: bool = False

    @property
    def key(self) -> str:
        return self.name.replace("-", "_")


FLAGS: tuple[Flag, ...] = (
    Flag("actors-disseminate-timeout", "duration", 30.0, "Longest placement round before it is started anew"),
    Flag("actors-service", "string", "", "Type and address of the actors service (no effect; kept for Dapr's command lines)"),
    Flag("allowed-origins", "string", "", "Allowed HTTP origins (CORS); empty = no CORS, * = all"),
    Flag("app-binding-options-timeout", "duration", 3.0, "Longest wait for the app's answer to an input binding probe"),
    Flag("app-channel-address", "string", "127.0.0.1", "The network address that the app listens on"),
    Flag("app-health-check-path", "string", "/healthz", "Path used for health checks; HTTP only"),
    Flag("app-health-probe-interval", "int", 5, "Seconds between health probes of the app"),
    Flag("app-health-probe-timeout", "int", 500, "Longest wait for a health probe in milliseconds"),
    Flag("app-health-threshold", "int", 3, "Failures in a row until the app counts as unhealthy"),
    Flag("app-id", "string", "", "The app's identity, used for state keys and discovery"),
    Flag("app-max-concurrency", "int", -1, "Calls to the app at once; -1 = no limit"),
    Flag("app-port", "string", "", "The port that the app listens on"),
    Flag("app-protocol", "string", "http", "Protocol of the app: grpc, grpcs, http, https, h2c"),
    Flag("app-ssl", "bool", False, "Deprecated: use --app-protocol https or grpcs"),
    Flag("build-info", "bool", False, "Print the build info"),
    Flag("components-path", "strings", (), "Deprecated: use --resources-path"),
    Flag("config", "strings", (), "Path of a Configuration file; may be given several times"),
    Flag("control-plane-address", "string", "", "Address of a Dapr control plane"),
    Flag("control-plane-namespace", "string", "default", "Namespace of the Dapr control plane"),
    Flag("control-plane-trust-domain", "string", "localhost", "Trust domain of the Dapr control plane"),
    Flag("dapr-block-shutdown-duration", "duration", None, "Keep the APIs up this long after a stop signal while subscriptions end"),
    Flag("dapr-graceful-shutdown-seconds", "int", 5, "Longest graceful stop in seconds"),
    Flag("dapr-grpc-port", "string", "50001", "gRPC port of the Dapr API"),
    Flag("dapr-http-max-request-size", "int", 0, "Deprecated: use --max-body-size (MB)"),
    Flag("dapr-http-port", "string", "3500", "HTTP port of the Dapr API"),
    Flag("dapr-http-read-buffer-size", "int", 0, "Deprecated: use --read-buffer-size (KB)"),
    Flag("dapr-internal-grpc-listen-address", "string", "", "Listen address of the internal gRPC API"),
    Flag("dapr-internal-grpc-port", "string", "", "gRPC port between sidecars; empty = a stable one per app id"),
    Flag("dapr-listen-addresses", "string", "", "Addresses that the Dapr API listens on, comma separated; empty = 127.0.0.1"),
    Flag("dapr-public-listen-address", "string", "", "Listen address of the public health and metadata port"),
    Flag("dapr-public-port", "string", "", "Extra port with health and metadata only"),
    Flag("disable-builtin-k8s-secret-store", "bool", False, "No built-in Kubernetes secret store"),
    Flag("disable-init-endpoints", "strings", (), "Init endpoints not to call on the app: config, subscribe"),
    Flag("enable-api-logging", "bool", None, "Log every API call"),
    Flag("enable-app-health-check", "bool", False, "Probe the app's health"),
    Flag("enable-metrics", "bool", True, "Serve Prometheus metrics"),
    Flag("enable-mtls", "bool", False, "Mutual TLS between sidecars"),
    Flag("enable-profiling", "bool", False, "No effect; kept for Dapr's command lines"),
    Flag("hot-reload-reconcile-interval", "duration", 0.0, "Period of the full compare of resources; 0 = 60 s"),
    Flag("log-as-json", "bool", False, "Log as JSON"),
    Flag("log-file", "string", "", "Also write the log to this file"),
    Flag("log-level", "string", "info", "debug, info, warn, error or fatal"),
    Flag("max-body-size", "string", "4Mi", "Largest request body of the APIs, as a quantity"),
    Flag("metrics-listen-address", "string", "127.0.0.1", "Listen address of the metrics"),
    Flag("metrics-port", "string", "9090", "Port of the metrics"),
    Flag("mode", "string", "standalone", "Runtime mode: standalone or kubernetes"),
    Flag("placement-host-address", "string", "", "Addresses of Dapr Placement servers; empty = embedded"),
    Flag("profile-port", "string", "7777", "No effect; kept for Dapr's command lines"),
    Flag("read-buffer-size", "string", "4Ki", "Largest request head, as a quantity"),
    Flag("reminders-service", "string", "", "No effect; kept for Dapr's command lines"),
    Flag("resources-path", "strings", (), "Directory of resource YAML; may be given several times"),
    Flag("scheduler-host-address", "strings", (), "Addresses of Dapr Scheduler servers; empty = embedded"),
    Flag("scheduler-job-streams", "int", 3, "Streams per Scheduler"),
    Flag("sentry-address", "string", "", "Address of the Sentry CA"),
    Flag("sentry-request-jwt-audiences", "strings", (), "JWT audiences asked of Sentry"),
    Flag("unix-domain-socket", "string", "", "Directory of unix sockets; the API listens there instead of TCP"),
    Flag("version", "bool", False, "Print the version"),
    Flag("wait", "bool", False, "Wait until a sidecar's outbound health is ready, then exit"),
    Flag("data-dir", "string", "", "Folder for this device's data; empty = $STATE_DIRECTORY, else $XDG_STATE_HOME/edged", own=True),
)
BY_NAME = {flag.name: flag for flag in FLAGS}


def parse(arguments: Sequence[str], flags: Iterable[Flag] = FLAGS) -> tuple[dict[str, Any], list[str]]:
    """Values by key (defaults filled in) and what stands after `--` or after the first word that is no flag.

    Raises UsageError with Go's text, HelpAsked for --help. A key `given` holds the set of names that were on the line.
    """
    table = {flag.name: flag for flag in flags}
    values: dict[str, Any] = {flag.key: list(flag.default) if flag.kind == "strings" else flag.default for flag in table.values()}
    given: set[str] = set()
    rest = list(arguments)
    while rest:
        word = rest[0]
        if word == "--":
            return values | {"given": given}, rest[1:]
        if not word.startswith("-") or word == "-":
            break
        rest.pop(0)
        name, equals, text = word.lstrip("-").partition("=")
        if name in ("help", "h"):
            raise HelpAsked
        flag = table.get(name)
        if flag is None:
            raise UsageError(f"unknown flag: --{name}")
        if not equals and flag.kind != "bool":
            if not rest:
                raise UsageError(f"flag needs an argument: --{name}")
            text = rest.pop(0)
        _store(values, flag, text if equals or flag.kind != "bool" else "true")
        given.add(name)
    return values | {"given": given}, rest


def _store(values: dict[str, Any], flag: Flag, text: str) -> None:
    try:
        match flag.kind:
            case "strings":
                values[flag.key].extend(part for part in text.split(",") if part)
            case "int":
                values[flag.key] = _integer(text)
            case "bool":
                values[flag.key] = _boolean(text)
            case "duration":
                values[flag.key] = parse_go_duration(text)
            case _:
                values[flag.key] = text
    except ValueError as error:
        raise UsageError(f'invalid argument "{text}" for "--{flag.name}" flag: {error}') from error


def _integer(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def _boolean(text: str) -> bool:
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')


def usage(program: str, flags: Iterable[Flag] = FLAGS) -> str:
    """The flags with their defaults, as Go's flag package prints them."""
    names = {"strings": "strings", "int": "int", "duration": "duration", "string": "string", "bool": ""}
    rows = [(f"      --{flag.name} {names[flag.kind]}".rstrip(), flag) for flag in sorted(flags, key=lambda f: f.name)]
    width = max(len(head) for head, _ in rows) + 3
    lines = [f"Usage of {program}:"]
    for head, flag in rows:
        default = "" if flag.default in ("", None, False, (), 0, 0.0) else f" (default {_shown(flag)})"
        lines.append(f"{head:<{width}}{flag.doc}{default}")
    return "\n".join(lines)


def _shown(flag: Flag) -> str:
    return f'"{flag.default}"' if flag.kind == "string" else f"{flag.default:g}s" if flag.kind == "duration" else str(flag.default).lower()
