"""What the local crypto providers share: find a key by its name, check that it may do this, do it off the loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from edge.component import Feature
from edge.errors import ComponentError

if TYPE_CHECKING:
    from components.crypto._keys import Key


class LocalProvider:
    """Wraps and unwraps keys with keys that lie on this machine."""

    features: ClassVar[frozenset[Feature]] = frozenset()

    async def find(self, name: str) -> Key:
        """The key of that name. Raises ComponentError."""
        raise NotImplementedError

    async def wrap_key(self, key: bytes, name: str, algorithm: str) -> bytes:
        """Raises ComponentError with Dapr's words."""
        from components.crypto import _keys  # with it comes the cryptography package

        found = await self._kek(name)
        found.require("wrapKey", algorithm)
        return await asyncio.to_thread(_keys.wrap, found, key, algorithm)

    async def unwrap_key(self, wrapped: bytes, name: str, algorithm: str) -> bytes:
        """Raises ComponentError."""
        from components.crypto import _keys

        found = await self._kek(name)
        found.require("unwrapKey", algorithm)
        return await asyncio.to_thread(_keys.unwrap, found, wrapped, algorithm)

    async def _kek(self, name: str) -> Key:
        try:
            return await self.find(name)
        except ComponentError as error:
            raise ComponentError(f"failed to retrieve the key encryption key: {error}") from error
