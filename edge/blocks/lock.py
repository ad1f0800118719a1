"""Distributed locks: which store, under which name.

Source: dapr pkg/api/universal/lock.go, pkg/components/lock/lock_config.go @1.18.3.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from edge import errors
from edge.app import App, Part, Parts
from edge.blocks.retries import PolicyOf, no_policy
from edge.errors import ComponentError, EdgeError
from edge.model import UnlockStatus

SEPARATOR = "||"


class LockService:
    """The lock API of all apps."""

    def __init__(self, parts: Parts, policy_of: PolicyOf = no_policy) -> None:
        self._parts, self._policy_of = parts, policy_of

    async def try_lock(self, app: App, store: str, resource: str, owner: str, expiry_seconds: int) -> bool:
        """Take a lock for so many seconds; False if it is taken, by the same owner too.

        Raises EdgeError: LOCK_MALFORMED (400: an argument is empty or not positive), LOCK_NOT_CONFIGURED, LOCK_NOT_FOUND, TRY_LOCK.
        """
        if expiry_seconds <= 0:
            raise EdgeError(errors.LOCK_MALFORMED, error=f"ExpiryInSeconds is not positive in lock store {store}")
        part = self._part(app, store, resource, owner)
        try:
            key = _key(app, part, resource)
            taken: bool = await self._run(app, part, lambda: part.component.try_lock(key, owner, float(expiry_seconds)))
        except ComponentError as error:
            raise EdgeError(errors.TRY_LOCK, error=error) from error
        return taken

    async def unlock(self, app: App, store: str, resource: str, owner: str) -> UnlockStatus:
        """Give a lock back. Raises EdgeError as `try_lock`, UNLOCK."""
        part = self._part(app, store, resource, owner)
        try:
            key = _key(app, part, resource)
            status: UnlockStatus = await self._run(app, part, lambda: part.component.unlock(key, owner))
        except ComponentError as error:
            raise EdgeError(errors.UNLOCK, error=error) from error
        return status

    def _part(self, app: App, store: str, resource: str, owner: str) -> Part:
        if not self._parts.any("lock", app):
            raise EdgeError(errors.LOCK_NOT_CONFIGURED)
        for what, text in (("ResourceId", resource), ("LockOwner", owner)):
            if not text:
                raise EdgeError(errors.LOCK_MALFORMED, error=f"{what} is empty in lock store {store}")
        if (part := self._parts.find("lock", store, app)) is None:
            raise EdgeError(errors.LOCK_NOT_FOUND, name=store)
        return part

    async def _run(self, app: App, part: Part, call: Callable[[], Awaitable[Any]]) -> Any:
        policy = self._policy_of(app, part.name)
        return await (call() if policy is None else policy(call))


def _key(app: App, part: Part, resource: str) -> str:
    """`lock||<prefix>||<resource>` by the component's keyPrefix. Raises ComponentError."""
    strategy = part.properties.get("keyprefix", "appid").lower()
    for text in (resource, strategy):
        if SEPARATOR in text:
            raise ComponentError(f"input key/keyPrefix '{text}' can't contain '{SEPARATOR}'")
    if strategy == "none":
        return f"lock{SEPARATOR}{resource}"
    prefix = {"appid": app.id, "name": part.name}.get(strategy, strategy)
    return SEPARATOR.join(("lock", prefix, resource))
