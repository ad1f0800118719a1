"""The Configuration resource, typed. Without a file: no tracing, metrics on, access allowed, HotReload on.

Source: dapr pkg/config/configuration.go; docs in Dapr's configuration reference.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edge.spec import Duration

ON_BY_DEFAULT = ("HotReload", "WorkflowsRemoteActivityReminder")


@dataclass(frozen=True, slots=True)
class Zipkin:
    endpoint_address: str = ""


@dataclass(frozen=True, slots=True)
class Otel:
    """headers: `name=value`. timeout: seconds. An exporter is active when address and protocol are given."""

    protocol: str = ""
    endpoint_address: str = ""
    is_secure: bool = True
    headers: tuple[Any, ...] = ()
    timeout: Duration | None = None


@dataclass(frozen=True, slots=True)
class Tracing:
    """sampling_rate: text of a number 0…1."""

    sampling_rate: str = ""
    stdout: bool = False
    zipkin: Zipkin = Zipkin()
    otel: Otel = Otel()


@dataclass(frozen=True, slots=True)
class MetricHttp:
    increased_cardinality: bool = True
    path_matching: tuple[str, ...] = ()
    exclude_verbs: bool = False


@dataclass(frozen=True, slots=True)
class MetricLabel:
    """regex: replacement → pattern."""

    name: str = ""
    regex: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MetricRule:
    name: str = ""
    labels: tuple[MetricLabel, ...] = ()


@dataclass(frozen=True, slots=True)
class Metric:
    """latency_distribution_buckets: milliseconds."""

    enabled: bool = True
    record_error_codes: bool = False
    http: MetricHttp = MetricHttp()
    latency_distribution_buckets: tuple[int, ...] = ()
    rules: tuple[MetricRule, ...] = ()


@dataclass(frozen=True, slots=True)
class ApiLogging:
    enabled: bool = False
    obfuscate_urls: bool = False
    omit_health_checks: bool = False


@dataclass(frozen=True, slots=True)
class Logging:
    api_logging: ApiLogging = ApiLogging()


@dataclass(frozen=True, slots=True)
class ApiRule:
    """One API group in an allow or deny list; protocol is `http` or `grpc` in any case, anything else never matches."""

    name: str = ""
    version: str = ""
    protocol: str = ""


@dataclass(frozen=True, slots=True)
class Api:
    allowed: tuple[ApiRule, ...] = ()
    denied: tuple[ApiRule, ...] = ()

    def rules(self, which: str, protocol: str) -> frozenset[str]:
        """`version/name` of the rules for a protocol; which: allowed or denied."""
        found = self.allowed if which == "allowed" else self.denied
        return frozenset(f"{rule.version}/{rule.name}" for rule in found if rule.protocol.lower() == protocol)


@dataclass(frozen=True, slots=True)
class AppOperation:
    name: str = ""
    http_verb: tuple[str, ...] = ()
    action: str = ""


@dataclass(frozen=True, slots=True)
class AppPolicy:
    app_id: str = ""
    default_action: str = ""
    trust_domain: str = ""
    namespace: str = ""
    operations: tuple[AppOperation, ...] = ()


@dataclass(frozen=True, slots=True)
class AccessControl:
    """Who may invoke the app. default_action "" = deny if there are policies."""

    default_action: str = "allow"
    trust_domain: str = "public"
    policies: tuple[AppPolicy, ...] = ()


@dataclass(frozen=True, slots=True)
class Handler:
    """One middleware; selector has no effect, as in Dapr."""

    name: str = ""
    type: str = ""
    version: str = ""
    selector: Any = None


@dataclass(frozen=True, slots=True)
class Pipeline:
    handlers: tuple[Handler, ...] = ()


@dataclass(frozen=True, slots=True)
class NameResolution:
    component: str = ""
    version: str = ""
    configuration: Any = None


@dataclass(frozen=True, slots=True)
class SecretScope:
    """What apps may read from one secret store."""

    store_name: str = ""
    default_access: str = ""
    allowed_secrets: tuple[str, ...] = ()
    denied_secrets: tuple[str, ...] = ()

    def allows(self, key: str) -> bool:
        """A non-empty allow list decides alone, then the deny list, then the default."""
        if self.allowed_secrets:
            return key in self.allowed_secrets
        return key not in self.denied_secrets and self.default_access.lower() != "deny"


@dataclass(frozen=True, slots=True)
class Secrets:
    scopes: tuple[SecretScope, ...] = ()


@dataclass(frozen=True, slots=True)
class Feature:
    name: str = ""
    enabled: bool = False


@dataclass(frozen=True, slots=True)
class ComponentRules:
    """deny: `type` or `type/version`."""

    deny: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wasm:
    strict_sandbox: bool = False


@dataclass(frozen=True, slots=True)
class Concurrency:
    name: str = ""
    max_concurrent: int = 0


@dataclass(frozen=True, slots=True)
class Retention:
    """How long a finished workflow is kept, in seconds; None = for ever (any_terminal counts where the own one is None)."""

    any_terminal: Duration | None = None
    completed: Duration | None = None
    failed: Duration | None = None
    terminated: Duration | None = None


@dataclass(frozen=True, slots=True)
class Workflow:
    """Limits: 0 = none."""

    max_concurrent_workflow_invocations: int = 0
    max_concurrent_activity_invocations: int = 0
    global_max_concurrent_workflow_invocations: int = 0
    global_max_concurrent_activity_invocations: int = 0
    workflow_concurrency_limits: tuple[Concurrency, ...] = ()
    activity_concurrency_limits: tuple[Concurrency, ...] = ()
    state_retention_policy: Retention = Retention()


@dataclass(frozen=True, slots=True)
class TokenValidator:
    name: str = ""
    options: Any = None


@dataclass(frozen=True, slots=True)
class Mtls:
    """workload_cert_ttl, allowed_clock_skew: Go durations as text."""

    enabled: bool = False
    workload_cert_ttl: str = field(default="", metadata={"key": "workloadCertTTL"})
    allowed_clock_skew: str = ""
    sentry_address: str = ""
    control_plane_trust_domain: str = ""
    token_validators: tuple[TokenValidator, ...] = ()


@dataclass(frozen=True, slots=True)
class Configuration:
    """`spec` of the merged Configuration. name: of the last file's resource."""

    tracing: Tracing = Tracing()
    metric: Metric = Metric()
    logging: Logging = Logging()
    api: Api = Api()
    access_control: AccessControl = AccessControl()
    mtls: Mtls = Mtls()
    http_pipeline: Pipeline = Pipeline()
    app_http_pipeline: Pipeline = Pipeline()
    name_resolution: NameResolution = NameResolution()
    secrets: Secrets = Secrets()
    components: ComponentRules = ComponentRules()
    features: tuple[Feature, ...] = ()
    wasm: Wasm = Wasm()
    workflow: Workflow = Workflow()

    @property
    def enabled_features(self) -> tuple[str, ...]:
        """Names as the metadata API lists them: those written, then Dapr's that are on by default."""
        written = {feature.name for feature in self.features}
        enabled = [feature.name for feature in self.features if feature.enabled and feature.name]
        return (*dict.fromkeys(enabled), *(name for name in ON_BY_DEFAULT if name not in written))

    def secret_scope(self, store: str) -> SecretScope | None:
        """The scope written for a store, if any."""
        return next((scope for scope in self.secrets.scopes if scope.store_name == store), None)
