"""From a plan to open components: classes found, metadata parsed, secrets resolved, opened within their time, shown as `Parts`.

Phrases are daprd's, so that scripts find them; each mistake adds its file, line and the nearest known name. Secret stores open first,
the rest concurrently (daprd opens them one after another). Source: dapr pkg/runtime/processor/components.go.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from edge import registry, spec
from edge.app import Part, Parts
from edge.component import Component, Context, Feature, InputBinding, OutputBinding, StateStore
from edge.config.plan import Plan
from edge.config.resources import Component as Resource
from edge.config.secrets import Identity, PlaceholderError, needs_store, resolve
from edge.errors import ComponentError
from edge.journal.keeping import keeping
from edge.kinds import fields_of
from edge.spec import Problem

log = logging.getLogger("dapr.runtime.processor")
runtime_log = logging.getLogger("dapr.runtime")
secret_log = logging.getLogger("dapr.runtime.processor.secret")
CREATE, INIT = "[CREATE_COMPONENT_FAILURE]", "[INIT_COMPONENT_FAILURE]"
NAMESPACE_SCOPED = "namespacescoped"
Lend = Callable[[Resource], Context]
Accept = Callable[[Part], None]
"""Looks at a component's runtime-level properties before it opens. Raises ComponentError."""


class LoadError(Exception):
    """A component that must be there can't be opened; the text is daprd's, for `Fatal error from runtime`."""


class Loader:
    """Opens and closes components and keeps `parts` true.

    lend: the Context for a component. environ: for `envRef` and placeholders. parked: components whose secret store is missing.
    """

    def __init__(self, lend: Lend, environ: Mapping[str, str], parts: Parts | None = None, accept: Accept | None = None) -> None:
        self.parts = parts or Parts()
        self._accept = accept
        self.parked: dict[str, Resource] = {}
        self._lend, self._environ = lend, environ
        self._open: dict[str, tuple[Resource, Part]] = {}

    @property
    def resources(self) -> dict[str, Resource]:
        """The open components' resources by name."""
        return {name: resource for name, (resource, _) in self._open.items()}

    def part(self, name: str) -> Part | None:
        """The open component of that name."""
        found = self._open.get(name)
        return None if found is None else found[1]

    async def make(self, resource: Resource) -> Part | None:
        """Open a component beside what is there, not yet shown; None: it waits for its secret store. Raises LoadError."""
        result = await self._try(resource)
        if isinstance(result, str):
            raise LoadError(result)
        return result

    def show(self, resource: Resource, part: Part) -> None:
        """Make an open component the one of its name."""
        self._keep([(resource, part)])

    def check(self, resource: Resource) -> None:
        """Whether a component could be built, without opening it; values from secrets pass. Raises LoadError."""
        if found := [problem for problem in check(Plan(components=(resource,))) if problem.fatal]:
            raise LoadError("; ".join(str(problem) for problem in found))

    async def open_all(self, resources: Sequence[Resource]) -> None:
        """Open them, secret stores first. Raises LoadError with every failure that may not be ignored."""
        stores = [resource for resource in resources if resource.kind == "secretstores"]
        failed = []
        while stores:
            resource = next((each for each in stores if not self._waits(each)), stores[0])
            stores.remove(resource)
            failed += self._keep([(resource, await self._try(resource))])
        rest = [resource for resource in resources if resource.kind != "secretstores"]
        failed += self._keep(list(zip(rest, await asyncio.gather(*(self._try(resource) for resource in rest)), strict=True)))
        if failed:
            raise LoadError("; ".join(failed))

    async def open(self, resource: Resource) -> None:
        """Open one more. Raises LoadError unless its errors are ignored."""
        if failed := self._keep([(resource, await self._try(resource))]):
            raise LoadError(failed[0])

    async def close(self, name: str) -> None:
        """Take a component out of `parts`, then close it; nothing if it is not open."""
        self.parked.pop(name, None)
        if (found := self._open.pop(name, None)) is None:
            return
        resource, part = found
        self.parts.remove(part.kind, name)
        runtime_log.info("Shutting down component %s", resource.log_name)
        try:
            await part.component.close()
        except (ComponentError, OSError) as error:
            log.error("Error shutting down component %s: %s", resource.log_name, error)

    async def close_all(self) -> None:
        """Close everything, secret stores last."""
        for last in (False, True):
            names = [name for name, (resource, _) in self._open.items() if (resource.kind == "secretstores") is last]
            await asyncio.gather(*(self.close(name) for name in names))

    def _waits(self, resource: Resource) -> bool:
        """Its secrets come from a store that isn't open; one that names no store gets no secrets, as in Dapr."""
        return bool(resource.secret_store) and needs_store(resource.metadata) and resource.secret_store not in self._open

    def _keep(self, opened: Iterable[tuple[Resource, Part | str | None]]) -> list[str]:
        """Show what opened, in this order; the failures that may not be ignored are returned."""
        failed = []
        for resource, result in opened:
            if isinstance(result, Part):
                self._open[resource.name] = (resource, result)
                self.parts.add(result)
                log.info("Component loaded: %s", resource.log_name)
            elif result is not None:
                text = f"process component {resource.name} error: {result}"
                if resource.ignore_errors:
                    log.error("Ignoring error processing component: %s", text)
                else:
                    log.warning("Error processing component, daprd will exit gracefully: %s", text)
                    failed.append(text)
        return failed

    async def _try(self, resource: Resource) -> Part | str | None:
        """The open part, None if it is parked, else what went wrong in daprd's words."""
        try:
            return await self._make(resource)
        except registry.UnknownComponent as error:
            text = f"{error} ({resource.type_at}{error.hint})"
            if str(error).startswith("incorrect type"):
                return text
            reason = f"{CREATE}: initialization error occurred for {resource.log_name}: {text}"
        except TimeoutError:
            reason = self._reason(resource, f"context deadline exceeded\ninit timeout for component {resource.log_name}")
        except Exception as error:  # whatever a component's start raises is its init failure
            if not isinstance(error, (ComponentError, OSError, PlaceholderError)):
                log.debug("Component %s raised at init", resource.log_name, exc_info=error)
            reason = self._reason(resource, _text(error, resource))
        log.error("Failed to init component %s: %s", resource.log_name, reason)
        return f"{INIT}: initialization error occurred for {resource.log_name}: {reason}"

    @staticmethod
    def _reason(resource: Resource, text: str) -> str:
        return f"{INIT}: initialization error occurred for {resource.log_name}: {text}"

    async def _make(self, resource: Resource) -> Part | None:
        if self._waits(resource):
            store = resource.secret_store
            secret_log.warning("Component %s references a secret store that isn't loaded: %s", resource.name, store)
            self.parked[resource.name] = resource
            return None
        self.parked.pop(resource.name, None)
        context = self._lend(resource)
        async with asyncio.timeout(resource.init_timeout):
            properties = await self._properties(resource, context)
            component = build(resource, properties, context)
            part = _part(resource, component, properties)
            if self._accept is not None:
                self._accept(part)
            await component.open()
        return replace(part, capabilities=capabilities(component))

    async def _properties(self, resource: Resource, context: Context) -> dict[str, str]:
        found = self._open.get(resource.secret_store)
        store = found[1].component if found is not None else None
        identity = Identity(context.app_id, context.namespace, self._environ.get("POD_NAME", ""))
        about = f"Component {resource.name}"
        properties = await resolve(about, resource.metadata, store, self._environ, identity, resource.namespace)
        if resource.kind == "pubsub" and not any(name.lower() == "consumerid" and text.strip() for name, text in properties.items()):
            properties = {name: text for name, text in properties.items() if name.lower() != "consumerid"}
            properties["consumerID"] = context.app_id
        return properties


def build(resource: Resource, properties: Mapping[str, str], context: Context) -> Component:
    """The component, not yet open. Raises UnknownComponent, ComponentError with every fatal problem; logs the others."""
    cls = registry.load(resource.type, resource.version)
    metadata, problems = spec.parse(cls.Metadata, properties, fields_of(resource.kind))
    for problem in problems:
        if not problem.fatal:
            log.warning("Component %s: %s: %s", resource.log_name, resource.at(problem.field), problem.message)
    if resource.kind in ("pubsub", "bindings"):
        _check_keeping(resource, properties)
    if fatal := [problem for problem in problems if problem.fatal]:
        raise ComponentError("; ".join(f"{problem.message} ({resource.at(problem.field)})" for problem in fatal))
    return cls(metadata, context)


def _part(resource: Resource, component: Component, properties: Mapping[str, str]) -> Part:
    """What the blocks get of a component, but for its capabilities."""
    low = {name.lower(): text for name, text in properties.items()}
    if resource.kind == "pubsub" and any("{namespace}" in (entry.value or "") for entry in resource.metadata):
        low[NAMESPACE_SCOPED] = "true"
    secrets = {entry.name.lower(): entry.secret[0] for entry in resource.metadata if entry.secret[0]}
    return Part(resource.name, resource.type.lower(), resource.version, component, low, resource.scopes, secret_names=secrets)


def _check_keeping(resource: Resource, properties: Mapping[str, str]) -> None:
    """What the journal is told of the component. Raises ComponentError."""
    try:
        keeping({name.lower(): text for name, text in properties.items()})
    except ValueError as error:
        raise ComponentError(f"{error} ({resource.at('journalTopics')})") from None


def check(plan: Plan) -> list[Problem]:
    """What is wrong with the components without opening any: types, fields, values. Values from secrets and environment pass."""
    problems: list[Problem] = []
    for resource in plan.components:
        try:
            cls = registry.load(resource.type, resource.version)
        except registry.UnknownComponent as error:
            if registry.has_socket(resource.type):
                continue  # a pluggable component checks its metadata itself
            problems.append(Problem(f"{error}{error.hint}", where=resource.type_at))
            continue
        except ImportError as error:
            problems.append(Problem(_text(error, resource), where=resource.where))
            continue
        given = {entry.name: entry.value or "" for entry in resource.metadata}
        later = {entry.name.lower() for entry in resource.metadata if entry.secret[0] or (entry.value is None and entry.env)}
        known = {name for one in spec.specs(cls.Metadata) if later & set(one.names) for name in one.names}
        for problem in spec.parse(cls.Metadata, given, fields_of(resource.kind))[1]:
            if problem.field.lower() not in known:
                text = f"{resource.log_name}: {problem.message}"
                problems.append(Problem(text, problem.field, problem.fatal, resource.at(problem.field)))
    return problems


def capabilities(component: Any) -> tuple[str, ...]:
    """As the metadata API lists them."""
    found: set[Feature] = set(component.features)
    if isinstance(component, StateStore) and {Feature.ETAG, Feature.TRANSACTIONAL} <= found:
        found.add(Feature.ACTOR)
    if isinstance(component, InputBinding):
        found.add(Feature.INPUT_BINDING)
    if isinstance(component, OutputBinding):
        found.add(Feature.OUTPUT_BINDING)
    return tuple(feature.value for feature in Feature if feature in found)


def _text(error: Exception, resource: Resource) -> str:
    match error:
        case ImportError():
            return f"{resource.type} needs the package {error.name}, which is not installed; install edged with the extra that has it"
        case ComponentError() | PlaceholderError():
            return str(error)
        case OSError():
            return f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
    return f"{type(error).__name__}: {error}"


@asynccontextmanager
async def open_components(plan: Plan, lend: Lend, environ: Mapping[str, str], accept: Accept | None = None) -> AsyncIterator[Loader]:
    """The plan's components, open; closed at the end of the block. Raises LoadError."""
    loader = Loader(lend, environ, accept=accept)
    try:
        await loader.open_all(plan.components)
        yield loader
    finally:
        await loader.close_all()
