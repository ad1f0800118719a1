"""`secretstores.systemd`: the credentials that systemd gave the service (LoadCredential=, SetCredentialEncrypted=), a file per secret.

They lie in `$CREDENTIALS_DIRECTORY`, in memory that only this service can read (systemd.exec(5), "Credentials"). The credentials that
are edged's own API tokens are no secrets of apps: they are left out, as `secretstores.local.env` leaves out their variables.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from edge.component import Context, Feature
from edge.errors import ComponentError, NotFound
from edge.record import record
from edge.spec import meta

LARGEST = 1 << 20
OWN = ("dapr-api-token", "app-api-token")


@record
class Fields:
    """Fields of the component."""

    directory: str = meta("", doc="Folder of the credentials; default: `$CREDENTIALS_DIRECTORY`, which systemd sets.")
    trim_newline: bool = meta(True, doc="Leave out one newline at the end, which editors and `echo` put there.")


class Store:
    """The credentials as they were at start."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset()

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata
        self._secrets: dict[str, dict[str, str]] = {}

    async def open(self) -> None:
        """Read all credentials. Raises ComponentError."""
        directory = self.metadata.directory or os.environ.get("CREDENTIALS_DIRECTORY", "")
        if not directory:
            raise ComponentError(
                "$CREDENTIALS_DIRECTORY is not set: this service has no credentials; "
                "add LoadCredential=NAME:PATH to its systemd unit, or give the field directory"
            )
        self._secrets = await asyncio.to_thread(self._read, Path(directory))

    async def close(self) -> None:
        self._secrets = {}

    async def get(self, name: str, metadata: Mapping[str, str]) -> dict[str, str]:
        """The credential's text under its name. Raises NotFound."""
        if name not in self._secrets:
            raise NotFound(f"secret {name} not found")
        return self._secrets[name]

    async def get_all(self, metadata: Mapping[str, str]) -> dict[str, dict[str, str]]:
        return self._secrets

    def _read(self, directory: Path) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        try:
            for path in sorted(directory.iterdir()):
                if path.name.partition(".")[0] not in OWN and path.is_file() and path.stat().st_size <= LARGEST:
                    text = path.read_bytes().decode("utf-8", "replace")
                    found[path.name] = {path.name: text.removesuffix("\n") if self.metadata.trim_newline else text}
        except OSError as error:
            raise ComponentError(f"credentials in {error.filename or directory}: {(error.strerror or str(error)).lower()}") from error
        return found
