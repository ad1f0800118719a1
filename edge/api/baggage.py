"""W3C baggage: is the header well-formed, and if not, in whose words is it refused (OpenTelemetry Go's baggage.Parse @1.44.0)."""

from __future__ import annotations

import re

KEY = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
VALUE = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*")
PROPERTY = re.compile(r"\s*[!#$%&'*+\-.^_`|~0-9A-Za-z]+\s*(=\s*[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*\s*)?")
BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
MOST_MEMBERS, MOST_BYTES, MOST_ERRORS = 64, 8192, 5


def problem(header: str) -> str:
    """Why the header is no baggage, "" when it is."""
    if len(header.encode("utf-8", "surrogateescape")) > MOST_BYTES:
        return f"baggage: too many bytes: {len(header)}"
    members = header.split(",")
    problems = [text for member in members if (text := _member_problem(member))]
    if len(problems) > MOST_ERRORS:
        problems[MOST_ERRORS:] = [f"and {len(problems) - MOST_ERRORS} more invalid member(s)"]
    if len(members) - len(problems) > MOST_MEMBERS:
        problems.append("invalid number of list-members in baggage-string")
    return "\n".join(problems)


def _member_problem(member: str) -> str:
    pair, _, properties = member.partition(";")
    for text in properties.split(";") if properties else ():
        if text and PROPERTY.fullmatch(text) is None:
            return f"invalid baggage list-member property: {_quoted(text)}"
    key, equals, value = pair.partition("=")
    if not equals:
        return f"invalid baggage list-member: {_quoted(member)}"
    if KEY.fullmatch(key.strip()) is None:
        return f"invalid key: {_quoted(key.strip())}"
    if VALUE.fullmatch(value.strip()) is None:
        return f"invalid value: {_quoted(value)}"
    if bad := BAD_ESCAPE.search(value.strip()):
        return f'invalid value: invalid URL escape "{value.strip()[bad.start() : bad.start() + 3]}"'
    return ""


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
