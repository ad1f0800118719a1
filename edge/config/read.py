"""From a document to its resource. Every reader raises Unreadable for what can't be used and returns what is odd beside the resource."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from edge.cel import CelError, Condition
from edge.config.decode import Decoder
from edge.config.documents import Document, Map, Unreadable, get, text_of
from edge.config.resources import INIT_TIMEOUT, Component, Declared, Entry, HttpEndpoint, Other
from edge.durations import parse_go_duration
from edge.model import BulkSubscribe, Rule, Subscription, SubscriptionType
from edge.record import record
from edge.spec import Problem, near


@record
class _Reference:
    name: str = ""
    key: str = ""


@record
class _Pair:
    name: str = ""
    value: Any = None
    secret_key_ref: _Reference = _Reference()
    env_ref: str = ""


@record
class _ComponentSpec:
    type: str = ""
    version: str = ""
    init_timeout: str = ""
    ignore_errors: bool = False


@record
class _Rule:
    match: str = ""
    path: str = ""


@record
class _Routes:
    rules: tuple[_Rule, ...] = ()
    default: str = ""


@record
class _Bulk:
    enabled: bool = False
    max_messages_count: int = 0
    max_await_duration_ms: int = 0


@record
class _SubscriptionSpec:
    pubsubname: str = ""
    topic: str = ""
    route: str = ""
    routes: _Routes = _Routes()
    metadata: dict[str, str] = field(default_factory=dict)
    dead_letter_topic: str = ""
    bulk_subscribe: _Bulk = _Bulk()


@record
class _Tls:
    root_ca: _Pair | None = field(default=None, metadata={"key": "rootCA"})
    certificate: _Pair | None = None
    private_key: _Pair | None = None
    renegotiation: str = ""


@record
class _EndpointSpec:
    base_url: str = ""
    client_tls: _Tls = field(default=_Tls(), metadata={"key": "clientTLS"})


def scopes(document: Document, decoder: Decoder) -> tuple[str, ...]:
    """The app ids that may see a resource; empty = all. Raises Unreadable."""
    value = get(document.body, "scopes")
    found: tuple[str, ...] = () if value is None else decoder.value(tuple[str, ...], value, "scopes", document.body.lines.get("scopes", 0))
    return found


def component(document: Document) -> tuple[Component, list[Problem]]:
    """Raises Unreadable."""
    decoder = Decoder(document)
    spec = _part(document, "spec")
    fields_ = decoder.struct(_ComponentSpec, spec, "spec", document.line, ignore=frozenset(("metadata",)))
    found = Component(
        name=document.name,
        type=fields_.type,
        version=fields_.version,
        namespace=document.namespace,
        metadata=_entries(spec, "metadata", "spec.metadata", decoder),
        scopes=scopes(document, decoder),
        init_timeout=_init_timeout(fields_.init_timeout, spec, decoder),
        ignore_errors=fields_.ignore_errors,
        secret_store=_secret_store(document),
        where=document.where(),
        file=str(document.file),
        type_line=spec.lines.get("type", document.line),
    )
    _unknown_parts(document, decoder)
    return found, decoder.problems


def subscription(document: Document) -> tuple[Declared, list[Problem]]:
    """Raises Unreadable; a rule that is no CEL is a fatal problem, as in Dapr."""
    decoder = Decoder(document)
    raw = _part(document, "spec")
    spec = decoder.struct(_SubscriptionSpec, raw, "spec", document.line)
    rules = [Rule(rule.match.strip(), rule.path) for rule in spec.routes.rules]
    problems = [_condition(rule, document) for rule in rules if rule.match]
    if spec.routes.default or spec.route:
        rules.append(Rule("", spec.routes.default or spec.route))
    bulk = spec.bulk_subscribe
    made = Subscription(
        pubsub=spec.pubsubname,
        topic=spec.topic,
        rules=tuple(rules),
        dead_letter_topic=spec.dead_letter_topic,
        metadata=spec.metadata,
        bulk=BulkSubscribe(bulk.enabled, bulk.max_messages_count or 100, (bulk.max_await_duration_ms or 1000) / 1000),
        type=SubscriptionType.DECLARATIVE,
        scopes=scopes(document, decoder),
        name=document.name,
    )
    _unknown_parts(document, decoder)
    return Declared(made, document.namespace, document.where()), [*(p for p in problems if p), *decoder.problems]


def http_endpoint(document: Document) -> tuple[HttpEndpoint, list[Problem]]:
    """Raises Unreadable."""
    decoder = Decoder(document)
    raw = _part(document, "spec")
    spec = decoder.struct(_EndpointSpec, raw, "spec", document.line, ignore=frozenset(("headers",)))
    if not spec.base_url:
        raise Unreadable("spec.baseUrl is missing", document.line)
    tls = spec.client_tls
    named = (("rootCA", tls.root_ca), ("certificate", tls.certificate), ("privateKey", tls.private_key))
    made = HttpEndpoint(
        name=document.name,
        base_url=spec.base_url,
        namespace=document.namespace,
        headers=_entries(raw, "headers", "spec.headers", decoder),
        tls=tuple(_entry(name, pair, document.line) for name, pair in named if pair is not None),
        renegotiation=tls.renegotiation,
        scopes=scopes(document, decoder),
        secret_store=_secret_store(document),
        where=document.where(),
    )
    _unknown_parts(document, decoder)
    return made, decoder.problems


def other(document: Document) -> tuple[Other, list[Problem]]:
    """Raises Unreadable."""
    decoder = Decoder(document)
    spec = get(document.body, "spec")
    return Other(document.kind, document.name, document.namespace, scopes(document, decoder), spec, document.where()), []


def _part(document: Document, key: str) -> Map:
    value = get(document.body, key)
    if value is None:
        return Map(document.line)
    if not isinstance(value, Map):
        raise Unreadable(f"{key} is no mapping", document.body.lines.get(key, document.line))
    return value


def _secret_store(document: Document) -> str:
    return text_of(get(_part(document, "auth"), "secretStore"))


def _entries(spec: Map, key: str, path: str, decoder: Decoder) -> tuple[Entry, ...]:
    value = get(spec, key)
    if value is None:
        return ()
    pairs: tuple[_Pair, ...] = decoder.value(tuple[_Pair, ...], value, path, spec.lines.get(key, spec.line))
    items = [item for item in value if item is not None]
    return tuple(_entry(pair.name, pair, item.lines.get("name", item.line)) for pair, item in zip(pairs, items, strict=True))


def _entry(name: str, pair: _Pair, line: int) -> Entry:
    reference = pair.secret_key_ref
    secret = (reference.name, reference.key or reference.name) if reference.name else ("", "")
    return Entry(name, None if pair.value is None else text_of(pair.value), secret, pair.env_ref, line)


def _init_timeout(text: str, spec: Map, decoder: Decoder) -> float:
    if not text:
        return INIT_TIMEOUT
    try:
        return parse_go_duration(text)
    except ValueError as error:
        decoder.warn(f"spec.initTimeout: {error}; it is {INIT_TIMEOUT:g}s", spec.lines.get("initTimeout", 0))
        return INIT_TIMEOUT


def _condition(rule: Rule, document: Document) -> Problem | None:
    try:
        Condition(rule.match)
    except CelError as error:
        return Problem(f"subscription {document.name}: the rule {rule.match} can't be used: {error}", where=document.where())
    return None


TOP = {"apiversion", "kind", "metadata", "spec", "scopes", "auth", "status"}


def _unknown_parts(document: Document, decoder: Decoder) -> None:
    """A part at the wrong level (`metadata` beside `spec` holds no fields) is the likeliest slip; Dapr is silent about it."""
    for key, line in document.body.lines.items():
        if key.lower() not in TOP:
            decoder.warn(f"unknown field {key}{near(key, {name: name for name in TOP})}; it is ignored", line)
