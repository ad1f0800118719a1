"""Resiliency resources as the rules of `edge.resiliency`; a resource with a mistake is left out as a whole, as in Dapr."""

from __future__ import annotations

from dataclasses import field

from edge.cel import CelError, Condition
from edge.config.decode import Decoder
from edge.config.documents import Document, Unreadable, get
from edge.config.resources import Resiliency
from edge.durations import parse_go_duration
from edge.record import record
from edge.resiliency import ActorTarget, AppTarget, BreakerSettings, ComponentTarget, PolicyNames, Retry, Rules
from edge.resiliency.policies import BUILT_IN, FEWEST_BUILT_IN, PROTECTED
from edge.resiliency.retry import GRPC_CODES, HTTP_CODES, parse_codes
from edge.spec import Problem, near

SCOPES = ("type", "id", "both")


@record
class _Matching:
    http_status_codes: str = ""
    grpc_status_codes: str = field(default="", metadata={"key": "gRPCStatusCodes"})


@record
class _Retry:
    policy: str = ""
    duration: str = ""
    max_interval: str = ""
    max_retries: int | None = None
    matching: _Matching = _Matching()


@record
class _Breaker:
    max_requests: int = 0
    interval: str = ""
    timeout: str = ""
    trip: str = ""


@record
class _Policies:
    timeouts: dict[str, str] = field(default_factory=dict)
    retries: dict[str, _Retry] = field(default_factory=dict)
    circuit_breakers: dict[str, _Breaker] = field(default_factory=dict)


@record
class _Names:
    timeout: str = ""
    retry: str = ""
    circuit_breaker: str = ""
    circuit_breaker_cache_size: int = 0
    circuit_breaker_scope: str = ""

    def plain(self) -> PolicyNames:
        return PolicyNames(self.timeout, self.retry, self.circuit_breaker)


@record
class _Directions:
    inbound: _Names = _Names()
    outbound: _Names = _Names()


@record
class _Targets:
    apps: dict[str, _Names] = field(default_factory=dict)
    actors: dict[str, _Names] = field(default_factory=dict)
    components: dict[str, _Directions] = field(default_factory=dict)


@record
class _Spec:
    policies: _Policies = _Policies()
    targets: _Targets = _Targets()


def read(document: Document, scopes: tuple[str, ...]) -> tuple[Resiliency, list[Problem]]:
    """The resource in a document. Raises Unreadable."""
    decoder = Decoder(document)
    spec = decoder.struct(_Spec, get(document.body, "spec"), "spec", document.line)
    try:
        rules = _rules(spec, decoder)
    except ValueError as error:
        raise Unreadable(f"Could not read resiliency policy {document.name}: {error}", document.line) from None
    return Resiliency(document.name, document.namespace, scopes, rules, document.where()), decoder.problems


def _rules(spec: _Spec, decoder: Decoder) -> Rules:
    rules = Rules(retries={})
    for name, text in spec.policies.timeouts.items():
        rules.timeouts[name] = _duration(text, f"timeout {name}")
    for name, retry in spec.policies.retries.items():
        if name == PROTECTED:
            decoder.warn(f"Attempted to override protected policy {name} which is not allowed. Ignoring provided policy and using default.")
        else:
            rules.retries[name] = _retry(name, retry, decoder)
    for name, breaker in spec.policies.circuit_breakers.items():
        rules.breakers[name] = _breaker(name, breaker)
    _targets(spec.targets, rules, decoder)
    return rules


def _retry(name: str, retry: _Retry, decoder: Decoder) -> Retry:
    policy = retry.policy.lower() or "constant"
    if policy not in ("constant", "exponential"):
        raise ValueError(f'invalid retry configuration "{name}": unexpected back off policy type: {retry.policy}')
    tries = -1 if retry.max_retries is None else retry.max_retries
    if name in BUILT_IN and tries < FEWEST_BUILT_IN:
        decoder.warn(f"Attempted override of {name} did not meet minimum retry count, resetting to 3.")
        tries = FEWEST_BUILT_IN
    return Retry(
        exponential=policy == "exponential",
        duration=_duration(retry.duration, f"retry {name}") if retry.duration else 5.0,
        max_interval=_duration(retry.max_interval, f"retry {name}") if retry.max_interval else 60.0,
        max_retries=tries,
        http=parse_codes(retry.matching.http_status_codes, HTTP_CODES),
        grpc=parse_codes(retry.matching.grpc_status_codes, GRPC_CODES),
    )


def _breaker(name: str, breaker: _Breaker) -> BreakerSettings:
    try:
        trip = Condition(breaker.trip) if breaker.trip else None
    except CelError as error:
        raise ValueError(f"circuit breaker {name}: trip: {error}") from None
    return BreakerSettings(
        max_requests=breaker.max_requests or 1,
        interval=_duration(breaker.interval, f"circuit breaker {name}") if breaker.interval else 0.0,
        timeout=(_duration(breaker.timeout, f"circuit breaker {name}") if breaker.timeout else 0.0) or 60.0,
        trip=trip,
    )


def _targets(targets: _Targets, rules: Rules, decoder: Decoder) -> None:
    for name, names in targets.apps.items():
        rules.apps[name] = AppTarget(names.timeout, names.retry, names.circuit_breaker, names.circuit_breaker_cache_size or 100)
        _known(f"targets.apps.{name}", names, rules, decoder)
    for name, names in targets.actors.items():
        scope = names.circuit_breaker_scope
        if names.circuit_breaker and not scope:
            raise ValueError("actor circuit breakers must include scope")
        if names.circuit_breaker and scope not in SCOPES:
            raise ValueError(f'unknown circuit breaker scope "{scope}"')
        size = names.circuit_breaker_cache_size or 5000
        rules.actors[name] = ActorTarget(names.timeout, names.retry, names.circuit_breaker, scope, size)
        _known(f"targets.actors.{name}", names, rules, decoder)
    for name, both in targets.components.items():
        rules.components[name] = ComponentTarget(both.inbound.plain(), both.outbound.plain())
        for direction, names in (("inbound", both.inbound), ("outbound", both.outbound)):
            _known(f"targets.components.{name}.{direction}", names, rules, decoder)


def _known(path: str, names: _Names, rules: Rules, decoder: Decoder) -> None:
    """Dapr takes an unknown policy name for no policy; say so."""
    for kind, name, known in (
        ("timeout", names.timeout, rules.timeouts),
        ("retry", names.retry, {**rules.retries, **BUILT_IN}),
        ("circuitBreaker", names.circuit_breaker, rules.breakers),
    ):
        if name and name not in known:
            hint = near(name, {key.lower(): key for key in known})
            decoder.warn(f"spec.{path}.{kind}: no policy {name} in this resource{hint}")


def _duration(text: str, what: str) -> float:
    """Seconds; a bare integer is milliseconds."""
    try:
        return int(text) / 1000
    except ValueError:
        pass
    try:
        return parse_go_duration(text)
    except ValueError as error:
        raise ValueError(f'invalid duration "{what}", {text}: {error}') from None
