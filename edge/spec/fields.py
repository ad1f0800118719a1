"""How a metadata field is declared: `meta()` on a frozen dataclass, and what is read back from it."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, field, fields
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from edge.record import record


class Duration(float):
    """Seconds; in YAML a Go duration (`1m30s`) or a bare integer (seconds, unless meta(bare=…) says otherwise)."""


class Size(int):
    """Bytes; in YAML a Kubernetes quantity (`4Mi`)."""


@record
class Meta:
    """What `meta()` says of a field. bare: seconds of a bare integer in a Duration. missing: Dapr's text when it is required."""

    doc: str
    name: str = ""
    aliases: tuple[str, ...] = ()
    sensitive: bool = False
    choices: tuple[Any, ...] = ()
    example: str = ""
    bare: float = 1.0
    missing: str = ""
    least: float | None = None
    most: float | None = None


@record
class Problem:
    """Something wrong in what the operator wrote. where: `file:line` when known. fatal: False = a warning.
    lost: the resource that it is about is left out.
    """

    message: str
    field: str = ""
    fatal: bool = True
    where: str = ""
    lost: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


@record
class Raw:
    """The metadata of a component that checks them itself (in another process): as the operator wrote them."""

    values: Mapping[str, str]


@record
class Spec:
    """One field as declared. type: the Python type without None; required: it has no default."""

    attribute: str
    name: str
    type: Any
    default: Any
    required: bool
    meta: Meta

    @property
    def names(self) -> tuple[str, ...]:
        """Lower-case names by which it is found, the canonical one first."""
        return (self.name.lower(), *(alias.lower() for alias in self.meta.aliases))


def meta(
    default: Any = MISSING,
    *,
    doc: str,
    name: str = "",
    aliases: Sequence[str] = (),
    sensitive: bool = False,
    choices: Sequence[Any] = (),
    example: str = "",
    bare: float = 1.0,
    missing: str = "",
    least: float | None = None,
    most: float | None = None,
) -> Any:
    """Declare a metadata field; without `default` it is required. name: where camelCase of the attribute is not Dapr's spelling."""
    about = Meta(doc, name, tuple(aliases), sensitive, tuple(choices), example, bare, missing, least, most)
    return field(default=default, kw_only=True, repr=not sensitive, metadata={"meta": about})


@cache
def specs(cls: type) -> tuple[Spec, ...]:
    """The declared fields of a Metadata class, in order."""
    hints = get_type_hints(cls)
    return tuple(_spec(item, hints[item.name]) for item in fields(cls) if "meta" in item.metadata)


def _spec(item: Field[Any], hint: Any) -> Spec:
    about: Meta = item.metadata["meta"]
    kind = hint
    if get_origin(hint) in (Union, types.UnionType):
        kind = next(part for part in get_args(hint) if part is not types.NoneType)
    required = item.default is MISSING and item.default_factory is MISSING
    default = None if required else item.default_factory() if item.default_factory is not MISSING else item.default
    return Spec(item.name, about.name or camel_case(item.name), kind, default, required, about)


def camel_case(attribute: str) -> str:
    """`keep_alive` → `keepAlive`."""
    head, *rest = attribute.rstrip("_").split("_")
    return head + "".join(part.capitalize() for part in rest)


def near(name: str, names: Mapping[str, str]) -> str:
    """`, did you mean X?` for the nearest of `names` (lower case → spelling), or nothing."""
    import difflib  # only for a mistake

    close = difflib.get_close_matches(name.lower(), list(names), n=1, cutoff=0.5)
    return f", did you mean {names[close[0]]}?" if close else ""


EXAMPLES = {Duration: "1m30s", Size: "4Mi", int: "10"}
WORDS = {str: "text", bool: "bool", int: "integer", float: "number", Duration: "duration", Size: "size", tuple: "list"}


def plain_type(kind: Any) -> Any:
    """`tuple` of `tuple[str, ...]`."""
    return get_origin(kind) or kind


def words(kind: Any) -> str:
    """The type as docs call it: text, bool, integer, number, duration, size, list."""
    return WORDS[plain_type(kind)]
