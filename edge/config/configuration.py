"""The Configuration resource, typed. Without a file: no tracing, metrics on, access allowed, HotReload on.

Source: dapr pkg/config/configuration.go; docs in Dapr's configuration reference.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any

from edge.record import record
from edge.spec import Duration

ON_BY_DEFAULT = ("HotReload", "WorkflowsRemoteActivityReminder")


@record
class Zipkin:
    endpoint_address: str = ""


@record
class Otel:
    """headers: `name=value`. timeout: seconds. An exporter is active when address and protocol are given."""

    protocol: str = ""
    endpoint_address: str = ""
    is_secure: bool = True
    headers: tuple[Any, ...] = ()
    timeout: Duration | None = None


@record
class Tracing:
    """sampling_rate: text of a number 0…1."""

    sampling_rate: str = ""
    stdout: bool = False
    zipkin: Zipkin = Zipkin()
    otel: Otel = Otel()

    @property
    def on(self) -> bool:
        """Trace context and baggage are handled at all: unless the rate is zero."""
        try:
            return float(self.sampling_rate) != 0 if self.sampling_rate else True
        except ValueError:
            return True


@record
class MetricHttp:
    increased_cardinality: bool = True
    path_matching: tuple[str, ...] = ()
    exclude_verbs: bool = False


@record
class MetricLabel:
    """regex: replacement → pattern."""

    name: str = ""
    regex: dict[str, str] = field(default_factory=dict)


@record
class MetricRule:
    name: str = ""
    labels: tuple[MetricLabel, ...] = ()


@record
class Metric:
    """latency_distribution_buckets: milliseconds."""

    enabled: bool = True
    record_error_codes: bool = False
    http: MetricHttp = MetricHttp()
    latency_distribution_buckets: tuple[int, ...] = ()
    rules: tuple[MetricRule, ...] = ()


@record
class ApiLogging:
    enabled: bool = False
    obfuscate_urls: bool = False
    omit_health_checks: bool = False


@record
class Logging:
    api_logging: ApiLogging = ApiLogging()


@record
class ApiRule:
    """One API group in an allow or deny list; protocol is `http` or `grpc` in any case, anything else never matches."""

    name: str = ""
    version: str = ""
    protocol: str = ""


@record
class Api:
    allowed: tuple[ApiRule, ...] = ()
    denied: tuple[ApiRule, ...] = ()

    def rules(self, which: str, protocol: str) -> frozenset[str]:
        """`version/name` of the rules for a protocol; which: allowed or denied."""
        found = self.allowed if which == "allowed" else self.denied
        return frozenset(f"{rule.version}/{rule.name}" for rule in found if rule.protocol.lower() == protocol)


@record
class AppOperation:
    name: str = ""
    http_verb: tuple[str, ...] = ()
    action: str = ""


@record
class AppPolicy:
    app_id: str = ""
    default_action: str = ""
    trust_domain: str = ""
    namespace: str = ""
    operations: tuple[AppOperation, ...] = ()


@record
class AccessControl:
    """Who may invoke the app. default_action: "" denies (but not beside `policies: []`), absent it allows. policies: None = absent."""

    default_action: str = "allow"
    trust_domain: str = "public"
    policies: tuple[AppPolicy, ...] | None = None


@record
class Handler:
    """One middleware; selector has no effect, as in Dapr."""

    name: str = ""
    type: str = ""
    version: str = ""
    selector: Any = None


@record
class Pipeline:
    handlers: tuple[Handler, ...] = ()


@record
class NameResolution:
    component: str = ""
    version: str = ""
    configuration: Any = None


@record
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


@record
class Secrets:
    scopes: tuple[SecretScope, ...] = ()


@record
class Feature:
    name: str = ""
    enabled: bool = False


@record
class ComponentRules:
    """deny: `type` or `type/version`."""

    deny: tuple[str, ...] = ()


@record
class Wasm:
    strict_sandbox: bool = False


@record
class Concurrency:
    name: str = ""
    max_concurrent: int = 0


@record
class Retention:
    """How long a finished workflow is kept, in seconds; None = for ever (any_terminal counts where the own one is None)."""

    any_terminal: Duration | None = None
    completed: Duration | None = None
    failed: Duration | None = None
    terminated: Duration | None = None


@record
class Workflow:
    """Limits: 0 = none."""

    max_concurrent_workflow_invocations: int = 0
    max_concurrent_activity_invocations: int = 0
    global_max_concurrent_workflow_invocations: int = 0
    global_max_concurrent_activity_invocations: int = 0
    workflow_concurrency_limits: tuple[Concurrency, ...] = ()
    activity_concurrency_limits: tuple[Concurrency, ...] = ()
    state_retention_policy: Retention = Retention()


@record
class TokenValidator:
    name: str = ""
    options: Any = None


@record
class Mtls:
    """workload_cert_ttl, allowed_clock_skew: Go durations as text."""

    enabled: bool = False
    workload_cert_ttl: str = field(default="", metadata={"key": "workloadCertTTL"})
    allowed_clock_skew: str = ""
    sentry_address: str = ""
    control_plane_trust_domain: str = ""
    token_validators: tuple[TokenValidator, ...] = ()


@record
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
