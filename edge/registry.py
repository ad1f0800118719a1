"""From a component type in YAML (`state.sqlite`, `v1`) to its class, imported on first use. The names stand in components/catalog.py."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from edge.component import Component
from edge.spec import near

KINDS = {
    "state": "state store",
    "pubsub": "message bus",
    "bindings": "binding",
    "secretstores": "secret store",
    "configuration": "configuration store",
    "lock": "lock store",
    "crypto": "crypto provider",
    "nameresolution": "name resolver",
    "middleware": "middleware",
    "conversation": "conversation",
}
FIRST_VERSIONS = ("", "v0", "v1")


class UnknownComponent(Exception):
    """No such type or version. The text is daprd's; hint: the nearest known name, with its leading comma ("" = none near)."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def known() -> Iterator[str]:
    """Every `type/version` of the catalogue, in its order."""
    from components.catalog import CATALOG  # a table of strings

    yield from CATALOG


def resolve(type_: str, version: str = "v1") -> str:
    """The catalogue's `type/version` for what YAML says, in any case and by any alias. Raises UnknownComponent."""
    from components.catalog import ALIASES, CATALOG

    name, asked = type_.lower(), version.lower()
    if asked in FIRST_VERSIONS:
        asked = "v1"
    key = f"{ALIASES.get(name, name)}/{asked}"
    if key in CATALOG:
        return key
    kind, _, rest = name.partition(".")
    if kind not in KINDS or not rest:
        raise UnknownComponent(
            f"incorrect type {type_}", near(kind, {each: each for each in KINDS}) or f", types begin with {', '.join(KINDS)}"
        )
    versions = [found.rpartition("/")[2] for found in CATALOG if found.rpartition("/")[0] == ALIASES.get(name, name)]
    hint = f", it has {', '.join(versions)}" if versions else _nearest(kind, rest)
    raise UnknownComponent(f"couldn't find {KINDS[kind]} {type_}/{version}", hint)


def _nearest(kind: str, rest: str) -> str:
    """The nearest type of the kind, or all of them when none is near."""
    from components.catalog import ALIASES

    there = [key.rpartition("/")[0] for key in known()]
    names = [*there, *(alias for alias, name in ALIASES.items() if name in there)]
    types = dict.fromkeys(name for name in names if name.startswith(f"{kind}."))
    return near(rest, {type_.partition(".")[2]: type_ for type_ in types}) or f", there are {', '.join(types)}"


def load(type_: str, version: str = "v1") -> type[Component]:
    """The component's class; its module is imported now. Raises UnknownComponent, or ImportError when an extra is not installed."""
    from components.catalog import CATALOG

    module, _, name = CATALOG[resolve(type_, version)].partition(":")
    found: Any = getattr(import_module(module), name)
    return found  # type: ignore[no-any-return]
