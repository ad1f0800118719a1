"""From the operator's texts to typed metadata, with everything that is wrong at once. Source of the decoding: dapr/kit metadata."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from edge.durations import parse_go_duration
from edge.quantity import parse_quantity
from edge.spec.fields import EXAMPLES, Duration, Meta, Problem, Raw, Size, Spec, near, plain_type, specs, words

M = TypeVar("M")
TRUE = frozenset(("y", "yes", "true", "t", "on", "1"))
FALSE = frozenset(("n", "no", "false", "f", "off", "0", ""))


def parse(cls: type[M], raw: Mapping[str, str], *common: type) -> tuple[M | None, list[Problem]]:
    """Typed metadata, and everything that is wrong with them at once; None as soon as one problem is fatal.

    raw: metadata by the names that the operator wrote. common: further specs whose fields may stand there too (those of the kind).
    """
    owner: type = cls
    if owner is Raw:
        return cls(dict(raw)), []  # type: ignore[call-arg]
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
    problems += [problem for one in common for spec in specs(one) if (problem := _wrong(spec, given, owner)) is not None]
    problems += _unknown(raw, [spec for one in (owner, *common) for spec in specs(one)])
    return (None if any(p.fatal for p in problems) else cls(**values)), problems


def _wrong(spec: Spec, given: Mapping[str, str], owner: type) -> Problem | None:
    """What is wrong with a field of the kind that the component does not declare itself."""
    text = next((given[name] for name in spec.names if name in given), "")
    if not text or any(set(own.names) & set(spec.names) for own in specs(owner)):
        return None
    return _convert(spec, text)[1]


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


def _convert(spec: Spec, text: str) -> tuple[Any, Problem | None]:
    shown = "the value" if spec.meta.sensitive else f'"{text}"'
    try:
        value = DECODERS[plain_type(spec.type)](text, spec.meta)
    except ValueError:
        return None, Problem(f"{spec.name}: {shown} is no {words(spec.type)}{_allowed(spec)}", spec.name)
    if spec.meta.choices and value not in spec.meta.choices:
        return None, Problem(f"{spec.name}: {shown} is not allowed; it is {_listed(spec.meta.choices)}", spec.name)
    if _outside(value, spec.meta):
        return None, Problem(f"{spec.name}: {shown} is out of range; it is {_range(spec.meta)}", spec.name)
    if spec.type is bool and text.strip().lower() not in TRUE | FALSE:
        return value, Problem(f"{spec.name}: {shown} is neither true nor false and counts as false", spec.name, fatal=False)
    return value, None


def _outside(value: Any, about: Meta) -> bool:
    return (about.least is not None and value < about.least) or (about.most is not None and value > about.most)


def _range(about: Meta) -> str:
    ends = [f"{word} {end:g}" for word, end in (("at least", about.least), ("at most", about.most)) if end is not None]
    return " and ".join(ends)


def _listed(choices: Sequence[Any]) -> str:
    return "one of " + ", ".join(str(choice) for choice in choices)


def _allowed(spec: Spec) -> str:
    if spec.meta.choices:
        return f"; it is {_listed(spec.meta.choices)}"
    example = spec.meta.example or EXAMPLES.get(plain_type(spec.type), "")
    return f" such as {example}" if example else ""


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
