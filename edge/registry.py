"""From a component type in YAML (`state.sqlite`, `v1`) to its class, imported on first use. The names stand in components/catalog.py."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
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
GROUP = "edged.components"
FIRST_VERSIONS = ("", "v0", "v1")


class UnknownComponent(Exception):
    """No such type or version. The text is daprd's; hint: the nearest known name, with its leading comma ("" = none near)."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


_ADDED: dict[str, type[Component] | str] = {}
"""What is known besides the catalogue: classes by `type/version`, or where to find them."""
_looked: set[str] = set()


def register(type_: str, found: type[Component] | str, version: str = "v1") -> None:
    """Make a component known that is not in the catalogue (it wins over one that is). found: the class, or `module:Class`."""
    _ADDED[f"{type_.lower()}/{version.lower()}"] = found


def _installed() -> None:
    """Components of other packages: entry points of the group `edged.components`, named by their type (`state.mine`, `state.mine/v2`).

    Looked for once, and only when a type is not known otherwise: reading what is installed takes tens of milliseconds.
    """
    if GROUP in _looked:
        return
    _looked.add(GROUP)
    from importlib.metadata import entry_points

    for point in entry_points(group=GROUP):
        type_, _, version = point.name.partition("/")
        _ADDED.setdefault(f"{type_.lower()}/{version.lower() or 'v1'}", point.value)


def sockets() -> Path:
    """Where pluggable components have their sockets."""
    return Path(os.environ.get("DAPR_COMPONENTS_SOCKETS_FOLDER") or "/tmp/dapr-components-sockets")


def has_socket(type_: str) -> bool:
    """Whether there is a socket of that type's name, whatever stands behind it."""
    name = type_.lower().partition(".")[2]
    return any(path.stem.lower() == name and path.is_socket() for path in sockets().glob("*"))


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
    if key in _ADDED or key in CATALOG:
        return key
    _installed()
    if key in _ADDED:
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

    key = resolve(type_, version)
    where = _ADDED.get(key) or CATALOG[key]
    if not isinstance(where, str):
        return where
    module, _, name = where.partition(":")
    found: Any = getattr(import_module(module), name)
    return found  # type: ignore[no-any-return]
