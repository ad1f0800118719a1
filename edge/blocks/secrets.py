"""Secrets: which store, which secrets the configuration lets an app read, what a refusal is called.

Source: dapr pkg/api/universal/secrets.go @1.18.3. Secrets that components use for themselves do not pass here and are not scoped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from edge import errors
from edge.app import App, Part, Parts
from edge.blocks.retries import PolicyOf, no_policy
from edge.errors import Code, ComponentError, EdgeError
from edge.gointeger import quote
from edge.model import NO_METADATA

if TYPE_CHECKING:
    from edge.config.configuration import SecretScope

ScopeOf = Callable[[App, str], "SecretScope | None"]
"""The scope of a store for an app, None when the configuration says nothing."""


def scopes_of(scopes: Mapping[str, Mapping[str, SecretScope]]) -> ScopeOf:
    """The scopes given as app id → store → scope."""
    return lambda app, store: scopes.get(app.id, {}).get(store)


class SecretService:
    """The secrets API of all apps."""

    def __init__(self, parts: Parts, scope_of: ScopeOf | None = None, policy_of: PolicyOf = no_policy) -> None:
        self._parts, self._scope_of, self._policy_of = parts, scope_of, policy_of

    async def get(self, app: App, store: str, key: str, metadata: Mapping[str, str] = NO_METADATA) -> dict[str, str]:
        """The values of one secret by their names. Raises SECRET_NOT_CONFIGURED, SECRET_NOT_FOUND, SECRET_DENIED (403), SECRET_GET."""
        part = self._part(app, store)
        if not self._allowed(app, store, key):
            raise EdgeError(errors.SECRET_DENIED, key=quote(key), name=quote(store))
        found: dict[str, str] = await self._run(app, part, lambda: part.component.get(key, metadata), errors.SECRET_GET, key)
        return found

    async def get_all(self, app: App, store: str, metadata: Mapping[str, str] = NO_METADATA) -> dict[str, dict[str, str]]:
        """All secrets that the app may read. Raises as `get`, but what is denied is only left out."""
        part = self._part(app, store)
        found: dict[str, dict[str, str]] = await self._run(app, part, lambda: part.component.get_all(metadata), errors.SECRET_BULK_GET, "")
        return {key: values for key, values in found.items() if self._allowed(app, store, key)}

    def _part(self, app: App, store: str) -> Part:
        part = self._parts.find("secretstores", store, app)
        if part is not None:
            return part
        if not self._parts.any("secretstores", app):
            raise EdgeError(errors.SECRET_NOT_CONFIGURED)
        raise EdgeError(errors.SECRET_NOT_FOUND, name=store)

    def _allowed(self, app: App, store: str, key: str) -> bool:
        scope = self._scope_of(app, store) if self._scope_of is not None else None
        return scope is None or scope.allows(key)

    async def _run(self, app: App, part: Part, call: Callable[[], Awaitable[Any]], code: Code, key: str) -> Any:
        policy = self._policy_of(app, part.name)
        try:
            return await (call() if policy is None else policy(call))
        except ComponentError as error:
            raise EdgeError(code, key=key, name=part.name, error=error) from error
