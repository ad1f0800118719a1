"""A component's metadata fields, declared once as a dataclass of `meta()` fields: parsing, problems, docs and schema come from it.

    @dataclass(frozen=True, slots=True)
    class Metadata:
        url: str = meta(doc="Broker address.", example="tcp://localhost:1883")
        qos: int = meta(1, doc="Delivery guarantee.", choices=(0, 1, 2))
        keep_alive: Duration = meta(Duration(60), doc="Longest silence.")      # YAML: keepAlive: "1m30s"

Types: str, bool, int, float, Duration, Size, tuple[str, ...] (comma separated), and `X | None`. Decoding follows dapr/kit metadata:
names in any case, aliases after the canonical name, truthy words, an empty text is the type's zero.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from edge.durations import parse_go_duration
from edge.quantity import parse_quantity

M = TypeVar("M")
TRUE = frozenset(("y", "yes", "true", "t", "on", "1"))
FALSE = frozenset(("n", "no", "false", "f", "off", "0", ""))


class Duration(float):
    """Seconds; in YAML a Go duration (`1m30s`) or a bare integer (seconds, unless meta(bare=…) says otherwise)."""


class Size(int):
    """Bytes; in YAML a Kubernetes quantity (`4Mi`)."""


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in what the operator wrote. where: `file:line` when known. fatal: False = a warning, the value is used."""

    message: str
    field: str = ""
    fatal: bool = True
    where: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


@dataclass(frozen=True, slots=True)
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


def parse(cls: type[M], raw: Mapping[str, str], *common: type) -> tuple[M | None, list[Problem]]:
    """Typed metadata, and everything that is wrong with them at once; None as soon as one problem is fatal.

    raw: metadata by the names that the operator wrote. common: further specs whose fields may stand there too (those of the kind).
    """
    owner: type = cls
    given, problems = _fold(raw)
    values: dict[str, Any] = {}
    for spec in specs(owner):
        text = next((given[name] for name in spec.names if name in given), None)
        if text is None or (text == "" and spec.required):
            if spec.required:
                problems.append(Problem(spec.meta.missing or f"{spec.name} is required ({spec.meta.doc.rstrip('.')})", spec.name))
            continue
        value, problem = _convert(spec, text)
        if problem is not None:
            problems.append(problem)
        values[spec.attribute] = value
    problems += _unknown(raw, [spec for one in (owner, *common) for spec in specs(one)])
    return (None if any(p.fatal for p in problems) else cls(**values)), problems


def _fold(raw: Mapping[str, str]) -> tuple[dict[str, str], list[Problem]]:
    given: dict[str, str] = {}
    problems = []
    for name, text in raw.items():
        if (low := name.lower()) in given:
            problems.append(Problem(f"key {low} is duplicate in the metadata", name))
        given[low] = text
    return given, problems


def _unknown(raw: Mapping[str, str], known: Sequence[Spec]) -> list[Problem]:
    names = {name: spec.name for spec in known for name in spec.names}
    return [
        Problem(f"unknown field {name}{near(name, names)}; it is ignored", name, fatal=False) for name in raw if name.lower() not in names
    ]


def near(name: str, names: Mapping[str, str]) -> str:
    """`, did you mean X?` for the nearest of `names` (lower case → spelling), or nothing."""
    import difflib  # only for a mistake

    close = difflib.get_close_matches(name.lower(), list(names), n=1, cutoff=0.5)
    return f", did you mean {names[close[0]]}?" if close else ""


def _convert(spec: Spec, text: str) -> tuple[Any, Problem | None]:
    try:
        value = DECODERS[_origin(spec.type)](text, spec.meta)
    except ValueError as error:
        shown = "the value" if spec.meta.sensitive else f'"{text}"'
        return None, Problem(f"{spec.name}: {shown} is no {words(spec.type)}{_allowed(spec.meta)} ({error})", spec.name)
    if spec.meta.choices and value not in spec.meta.choices:
        return None, Problem(f'{spec.name}: "{text}" is not allowed; it is {_listed(spec.meta.choices)}', spec.name)
    if _outside(value, spec.meta):
        return None, Problem(f'{spec.name}: "{text}" is out of range; it is {_range(spec.meta)}', spec.name)
    if spec.type is bool and text.strip().lower() not in TRUE | FALSE:
        return value, Problem(f'{spec.name}: "{text}" is neither true nor false and counts as false', spec.name, fatal=False)
    return value, None


def _outside(value: Any, about: Meta) -> bool:
    return (about.least is not None and value < about.least) or (about.most is not None and value > about.most)


def _range(about: Meta) -> str:
    ends = [f"{word} {end:g}" for word, end in (("at least", about.least), ("at most", about.most)) if end is not None]
    return " and ".join(ends)


def _listed(choices: Sequence[Any]) -> str:
    return "one of " + ", ".join(str(choice) for choice in choices)


def _allowed(about: Meta) -> str:
    return f", which is {_listed(about.choices)}" if about.choices else f", such as {about.example}" if about.example else ""


def truthy(text: str) -> bool:
    """dapr/kit strings.IsTruthy."""
    return text.strip().lower() in TRUE


def parse_duration(text: str, bare: float = 1.0) -> float:
    """Seconds of a Go duration or a bare integer (times `bare`); "" is 0. Raises ValueError."""
    try:
        return int(text) * bare if text else 0.0
    except ValueError:
        return parse_go_duration(text)


def _int(text: str, _: Meta) -> int:
    body = text.lstrip("+-")
    octal = len(body) > 1 and body[0] == "0" and body.isdigit()  # Go: base 0 reads 010 as 8
    return int(text, 8 if octal else 0) if text else 0


def _list(text: str, _: Meta) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",")) if text else ()


DECODERS: dict[Any, Callable[[str, Meta], Any]] = {
    str: lambda text, _: text,
    bool: lambda text, _: truthy(text),
    int: _int,
    float: lambda text, _: float(text or 0),
    Duration: lambda text, about: Duration(parse_duration(text, about.bare)),
    Size: lambda text, _: Size(parse_quantity(text)),
    tuple: _list,
}
WORDS = {str: "text", bool: "bool", int: "integer", float: "number", Duration: "duration", Size: "size", tuple: "list"}


def _origin(kind: Any) -> Any:
    return get_origin(kind) or kind


def words(kind: Any) -> str:
    """The type as docs call it: text, bool, integer, number, duration, size, list."""
    return WORDS[_origin(kind)]
