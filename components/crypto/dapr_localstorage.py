"""`crypto.dapr.localstorage`: each key is a file of one folder: PEM, a JSON Web Key, or a symmetric key raw or in base64."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from components.crypto._provider import LocalProvider
from edge.component import Context
from edge.errors import ComponentError
from edge.record import record
from edge.spec import meta

if TYPE_CHECKING:
    from components.crypto._keys import Key

LARGEST = 1 << 20


@record
class Fields:
    """Fields of the component."""

    path: str = meta(
        doc="Folder of the keys; a key's name is its file's.", example="/etc/edged/keys", missing="metadata property 'path' is required"
    )


class Provider(LocalProvider):
    """Keys are read from their files at each use."""

    Metadata: ClassVar[type] = Fields

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata
        self._folder = (context.working_dir or Path()) / metadata.path

    async def open(self) -> None:
        """Raises ComponentError if the folder is not there."""
        await asyncio.to_thread(self._look)

    async def close(self) -> None:
        """Nothing is open."""

    def _look(self) -> None:
        try:
            is_folder = self._folder.stat() and self._folder.is_dir()
        except OSError as error:
            reason = f"could not stat path '{self.metadata.path}': stat {self.metadata.path}: {(error.strerror or '').lower()}"
            raise ComponentError(f"failed to load metadata: {reason}") from error
        if not is_folder:
            raise ComponentError(f"failed to load metadata: path '{self.metadata.path}' is not a directory")

    async def find(self, name: str) -> Key:
        if ".." in name:
            raise ComponentError("invalid key path: cannot contain '..'")
        return await asyncio.to_thread(self._read, name)

    def _read(self, name: str) -> Key:
        from components.crypto._keys import parse_key

        path = Path(f"{self._folder}/{name.lstrip('/')}")
        try:
            if path.stat().st_size > LARGEST:
                raise ComponentError(f"failed to load key '{name}': the file is larger than {LARGEST} bytes")
            raw = path.read_bytes()
        except OSError as error:
            raise ComponentError(f"failed to load key '{name}': open {path}: {(error.strerror or str(error)).lower()}") from error
        try:
            return parse_key(raw, path.suffix.lower())
        except ComponentError as error:
            raise ComponentError(f"failed to parse key from secret: {error}") from None
