"""A component's fields for people and editors: descriptions, Markdown, JSON schema."""

from __future__ import annotations

from typing import Any

from edge.durations import format_go_duration
from edge.quantity import format_quantity
from edge.record import record
from edge.spec.fields import Duration, Size, specs, words


@record
class FieldDoc:
    """One field as docs show it; default: as it would be written in YAML, "" = none."""

    name: str
    type: str
    default: str
    required: bool
    doc: str
    aliases: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    example: str = ""
    sensitive: bool = False


def describe(cls: type) -> list[FieldDoc]:
    """The declared fields, for documentation and `edged components describe`."""
    return [
        FieldDoc(
            name=spec.name,
            type=words(spec.type),
            default="" if spec.required else written(spec.default),
            required=spec.required,
            doc=spec.meta.doc,
            aliases=spec.meta.aliases,
            choices=tuple(str(choice) for choice in spec.meta.choices),
            example=spec.meta.example,
            sensitive=spec.meta.sensitive,
        )
        for spec in specs(cls)
    ]


def written(value: Any) -> str:
    """A typed value as YAML would have it."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case Duration():
            return format_go_duration(value)
        case Size():
            return format_quantity(value)
        case tuple():
            return ",".join(str(item) for item in value)
    return str(value)


def markdown(cls: type) -> str:
    """The fields as a Markdown table."""
    rows = ["| Field | Type | Default | Meaning |", "|---|---|---|---|"]
    for each in describe(cls):
        default = "required" if each.required else f"`{each.default}`" if each.default else ""
        rows.append(f"| {_names(each)} | {each.type} | {default} | {_meaning(each)} |".replace("  ", " "))
    return "\n".join(rows) + "\n" if len(rows) > 2 else "No metadata fields.\n"


def _names(each: FieldDoc) -> str:
    others = f" ({', '.join(f'`{alias}`' for alias in each.aliases)})" if each.aliases else ""
    return f"`{each.name}`{others}"


def _meaning(each: FieldDoc) -> str:
    parts = [each.doc]
    if each.choices:
        parts.append("One of " + ", ".join(f"`{choice}`" for choice in each.choices) + ".")
    if each.example:
        parts.append(f"Example: `{each.example}`.")
    if each.sensitive:
        parts.append("Sensitive: give it by `secretKeyRef`.")
    return " ".join(parts).replace("|", "\\|")


def schema(cls: type) -> dict[str, Any]:
    """JSON schema of the values by field name. In YAML every value may also be written as text."""
    return {each.name: _value_schema(each) for each in describe(cls)}


def _value_schema(each: FieldDoc) -> dict[str, Any]:
    found: dict[str, Any] = {"description": each.doc, "type": JSON_TYPES.get(each.type, ["string"])}
    if each.choices:
        texts: list[Any] = list(each.choices)
        found["enum"] = texts + ([int(text) for text in texts] if each.type == "integer" else [])
    if each.default:
        found["default"] = each.default
    if each.example:
        found["examples"] = [each.example]
    return found


JSON_TYPES = {
    "bool": ["boolean", "string"],
    "integer": ["integer", "string"],
    "number": ["number", "string"],
    "duration": ["string", "integer"],
    "size": ["string", "integer"],
}
