"""All resources of the directories and `--config` files: read, filtered, cross-checked, in load order.

What daprd refuses is a PlanError with every fatal problem at once; what it skips or ignores is in `Plan.problems`, each with its file
and line. Source: dapr pkg/internal/loader/disk, pkg/runtime/runtime.go; resources.md §1, §9, §10.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from edge.config import read as readers
from edge.config import resiliency as resiliency_reader
from edge.config.checks import references
from edge.config.configfile import ConfigurationError
from edge.config.configfile import load as load_configuration
from edge.config.configuration import Configuration
from edge.config.decode import Decoder
from edge.config.documents import Document, Unreadable, read_directory
from edge.config.plan import Plan, PlanError
from edge.config.resources import Component, Declared, HttpEndpoint, Other, Resiliency
from edge.spec import Problem, near

T = TypeVar("T", Component, Declared, HttpEndpoint, Other, Resiliency)
VERSIONS = {
    "Component": ("dapr.io/v1alpha1",),
    "Subscription": ("dapr.io/v1alpha1", "dapr.io/v2alpha1"),
    "HTTPEndpoint": ("dapr.io/v1alpha1",),
    "MCPServer": ("dapr.io/v1alpha1",),
    "WorkflowAccessPolicy": ("dapr.io/v1alpha1",),
    "Resiliency": (),
}
LAST_COUNTS = ("Subscription", "HTTPEndpoint")
NAMELESS = frozenset({"Resiliency", "Subscription"})  # what nothing refers to may do without a name, as in daprd
SILENT_KINDS = ("Configuration", "")


@dataclass(slots=True)
class _Found:
    """What a pass over the documents collects."""

    components: list[Component] = field(default_factory=list)
    subscriptions: list[Declared] = field(default_factory=list)
    resiliencies: list[Resiliency] = field(default_factory=list)
    http_endpoints: list[HttpEndpoint] = field(default_factory=list)
    others: list[Other] = field(default_factory=list)


def gather(
    resources: Sequence[Path], configs: Sequence[Path], app_ids: Sequence[str], environ: Mapping[str, str], *, strict: bool = False
) -> Plan:
    """The plan of these directories and files for these apps; `read_plan` says more. Raises PlanError."""
    try:
        configuration, problems = load_configuration(configs, environ)
    except ConfigurationError as error:
        raise PlanError([Problem(str(error))]) from None
    found, more = _collect(resources)
    problems += more
    namespace = environ.get("NAMESPACE", "")

    def keep(items: list[T], kind: str) -> tuple[T, ...]:
        near_by = [item for item in items if not (namespace and item.namespace and item.namespace != namespace)]
        return tuple(_once(_in_scope(near_by, app_ids), kind, problems))

    plan = Plan(
        components=_ordered(_allowed(keep(found.components, "Component"), configuration, problems)),
        subscriptions=keep(found.subscriptions, "Subscription"),
        configuration=configuration,
        resiliencies=tuple(_in_scope(found.resiliencies, app_ids)),
        http_endpoints=keep(found.http_endpoints, "HTTPEndpoint"),
        others=tuple(_in_scope(found.others, app_ids)),
    )
    problems += references(plan.components, plan.subscriptions, plan.http_endpoints)
    if fatal := [problem for problem in problems if problem.fatal or (strict and problem.lost)]:
        raise PlanError(fatal)
    return replace(plan, problems=tuple(problems))


def _collect(folders: Sequence[Path]) -> tuple[_Found, list[Problem]]:
    found, problems = _Found(), list[Problem]()
    for folder in folders:
        try:
            documents, more = read_directory(folder)
        except OSError as error:
            raise PlanError([Problem(f"open {folder}: {(error.strerror or str(error)).lower()}")]) from None
        problems += more
        for document in documents:
            try:
                problems += _add(found, document)
            except Unreadable as error:
                text = f"{document.kind} {document.name}: {error}; the resource is skipped"
                problems.append(Problem(text, fatal=False, where=document.where(error.line), lost=True))
    return found, problems


def _add(found: _Found, document: Document) -> list[Problem]:
    if document.kind not in VERSIONS:
        hint = near(document.kind, {kind.lower(): kind for kind in VERSIONS})
        about = f"unknown kind {document.kind}{hint}; the resource is ignored"
        return [] if document.kind in SILENT_KINDS else [Problem(about, fatal=False, where=document.where())]
    if VERSIONS[document.kind] and document.api_version not in VERSIONS[document.kind]:
        wanted = " or ".join(VERSIONS[document.kind])
        about = f'{document.kind} {document.name}: apiVersion "{document.api_version}" is not {wanted}; the resource is skipped'
        return [Problem(about, fatal=False, where=document.where(), lost=True)]
    name = document.name
    if name in (".", "..") or "/" in name or "%" in name or (not name and document.kind not in NAMELESS):
        raise Unreadable(f'metadata.name "{name}" must be one path segment without / and %', document.line)
    match document.kind:
        case "Component":
            return _put(found.components, readers.component(document))
        case "Subscription":
            return _put(found.subscriptions, readers.subscription(document))
        case "HTTPEndpoint":
            return _put(found.http_endpoints, readers.http_endpoint(document))
        case "Resiliency":
            scopes = readers.scopes(document, Decoder(document))
            return _put(found.resiliencies, resiliency_reader.read(document, scopes))
    return _put(found.others, readers.other(document))


def _put(into: list[Any], read: tuple[Any, list[Problem]]) -> list[Problem]:
    into.append(read[0])
    return read[1]


def _in_scope(items: Iterable[T], app_ids: Sequence[str]) -> list[T]:
    return [item for item in items if not item.scopes or any(app_id in item.scopes for app_id in app_ids)]


def _once(items: Sequence[T], kind: str, problems: list[Problem]) -> list[T]:
    """The items with each name once. As in Dapr a second one is fatal, but of subscriptions and endpoints the last counts."""
    if kind in LAST_COUNTS:
        return _last(items, kind, problems)
    seen: dict[str, T] = {}
    for item in items:
        if item.name in seen:
            first = seen[item.name]
            text = f"duplicate definition of {kind} name {_shown(item)} with existing {_shown(first)} ({first.where})"
            problems.append(Problem(text, where=item.where))
        seen.setdefault(item.name, item)
    return list(seen.values())


def _last(items: Sequence[T], kind: str, problems: list[Problem]) -> list[T]:
    last = {item.name: item for item in items}
    for item in items:
        if (other := last[item.name]) is not item:
            text = f"{kind} {item.name} is defined again at {other.where}, which counts; give each its own metadata.name"
            problems.append(Problem(text, fatal=False, where=item.where))
    return list(last.values())


def _shown(item: Component | Declared | HttpEndpoint | Other | Resiliency) -> str:
    return item.log_name if isinstance(item, Component) else item.name


def _allowed(components: Sequence[Component], configuration: Configuration, problems: list[Problem]) -> list[Component]:
    """Without those that Configuration's deny list names; while it exists, type and version must be written."""
    deny = {entry.lower() for entry in configuration.components.deny}
    if not deny:
        return list(components)
    kept = []
    for component in components:
        type_, version = component.type.lower(), component.version.lower()
        same = {f"{type_}/{other}" for other in (("v0", "v1") if component.initial_version else (version,))}
        if not type_ or not version or type_ in deny or same & deny:
            about = f"Component {component.log_name} is denied by the Configuration's spec.components.deny; it is skipped"
            problems.append(Problem(about, fatal=False, where=component.where))
        else:
            kept.append(component)
    return kept


def _ordered(components: Sequence[Component]) -> tuple[Component, ...]:
    return tuple(sorted(components, key=lambda component: component.kind != "secretstores"))
