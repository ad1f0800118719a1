"""`secretstores.local.file`: a JSON file of secrets, read once at start.

Source: Dapr's local file secret store, observed; numbers, bools and null come out as Go's format noise (`%!s(bool=true)`) there, and so
they do here, because an app may have been written around it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from edge.component import Context, Feature
from edge.errors import ComponentError, NotFound
from edge.gostruct import printed
from edge.record import record
from edge.spec import meta


@record
class Fields:
    """Fields of the component."""

    secrets_file: str = meta(doc="Path of the JSON file.", example="secrets.json", missing="missing local secrets file in metadata")
    nested_separator: str = meta(":", doc="Between the names of nested objects: `redis:password`.")
    multi_valued: bool = meta(False, doc="Top-level objects are one secret with several keys, instead of being flattened.")


class Store:
    """The secrets of one file, in memory."""

    Metadata: ClassVar[type] = Fields
    features: frozenset[Feature] = frozenset()  # of one that is multi-valued: MULTIPLE_KEY_VALUES_PER_SECRET

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata
        if metadata.multi_valued:
            self.features = frozenset((Feature.MULTIPLE_KEY_VALUES_PER_SECRET,))
        self._path = (context.working_dir or Path()) / metadata.secrets_file
        self._secrets: dict[str, dict[str, str]] = {}

    async def open(self) -> None:
        """Read the file. Raises ComponentError, which names it."""
        self._secrets = dict(self._arrange(await asyncio.to_thread(self._read)))

    async def close(self) -> None:
        self._secrets = {}

    async def get(self, name: str, metadata: Mapping[str, str]) -> dict[str, str]:
        """The secret's keys and values. Raises NotFound."""
        if name not in self._secrets:
            raise NotFound(f"secret {name} not found")
        return self._secrets[name]

    async def get_all(self, metadata: Mapping[str, str]) -> dict[str, dict[str, str]]:
        return self._secrets

    def _read(self) -> dict[str, Any]:
        shown = self.metadata.secrets_file
        try:
            found = json.loads(self._path.read_bytes())
        except OSError as error:
            raise ComponentError(f"open {shown}: {(error.strerror or str(error)).lower()}") from error
        except ValueError as error:
            where = f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else "it is no UTF-8 text"
            raise ComponentError(f"{shown} is no JSON: {where}") from None
        if not isinstance(found, dict):
            raise ComponentError(f"{shown} must hold one JSON object, of secrets by name")
        return found

    def _arrange(self, content: dict[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
        separator = self.metadata.nested_separator or ":"
        if not self.metadata.multi_valued:
            for name, text in _flatten(content, separator):
                yield name, {name: text}
            return
        for name, value in content.items():
            if isinstance(value, str):
                yield name, {name: value}
            elif isinstance(value, dict):
                yield name, dict(_flatten(value, separator))


def _flatten(value: Any, separator: str, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _flatten(item, separator, f"{path}{separator}{key}" if path else str(key))
    else:
        yield path, _go_text(value)


def _go_text(value: Any) -> str:
    """Go's fmt.Sprintf("%s") of a JSON value."""
    match value:
        case str():
            return value
        case None:
            return "%!s(<nil>)"
        case bool():
            return f"%!s(bool={'true' if value else 'false'})"
    return f"%!s(float64={printed(value)})"
