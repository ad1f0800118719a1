"""W3C baggage as OpenTelemetry Go 1.44.0 reads and writes it (baggage.Parse, Baggage.String)."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

KEY = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
VALUE = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*")
PROPERTY = re.compile(rf"[ \t]*({KEY.pattern})[ \t]*(?:=[ \t]*({VALUE.pattern})[ \t]*)?")
BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
ESCAPED = re.compile(rb"[^\x21\x23-\x24\x26-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]")
MOST_MEMBERS, MOST_BYTES, MOST_ERRORS = 64, 8192, 5


class _Bad(Exception):
    """Why a member is none."""


def problem(header: str) -> str:
    """Why the header is no baggage, "" when it is."""
    return parse(header)[1]


def parse(header: str) -> tuple[str, str]:
    """The baggage as it is written again (of a key that comes twice the last), and why it is none ("" when it is)."""
    if (size := len(header.encode("utf-8", "surrogateescape"))) > MOST_BYTES:
        return "", f"baggage-string too large: {size}"
    members: dict[str, str] = {}
    problems: list[str] = []
    limit = ""
    for text in header.split(","):
        if len(members) >= MOST_MEMBERS:
            limit = "too many list-members in baggage-string"
            break
        try:
            key, member = _member(text)
        except _Bad as error:
            problems.append(str(error))
            continue
        if len(",".join((members | {key: member}).values())) > MOST_BYTES:
            limit = "baggage-string too large"
            break
        members[key] = member
    told = [*problems[:MOST_ERRORS], *([limit] if limit else [])]
    if len(problems) > MOST_ERRORS:
        told.append(f"and {len(problems) - MOST_ERRORS} more invalid member(s)")
    return ",".join(members.values()), "\n".join(told)


def _member(text: str) -> tuple[str, str]:
    """The key, and the member as it is written again. Raises _Bad."""
    pair, *properties = text.split(";")
    written = [_property(each) for each in properties if each]
    key, equals, value = pair.partition("=")
    if not equals:
        raise _Bad(f"invalid baggage list-member: {_quoted(text)}")
    key, stripped = key.strip(), value.strip()
    if KEY.fullmatch(key) is None:
        raise _Bad(f"invalid key: {_quoted(key)}")
    if VALUE.fullmatch(stripped) is None:
        raise _Bad(f"invalid value: {_quoted(value)}")
    if bad := BAD_ESCAPE.search(stripped):
        raise _Bad(f'invalid value: invalid URL escape "{stripped[bad.start() : bad.start() + 3]}"')
    return key, ";".join([f"{key}={_escaped(stripped)}", *written])


def _property(text: str) -> str:
    """As it is written again. Raises _Bad."""
    found = PROPERTY.fullmatch(text)
    if found is None or BAD_ESCAPE.search(found[2] or ""):
        raise _Bad(f"invalid baggage list-member property: {_quoted(text)}")
    return found[1] if found[2] is None else f"{found[1]}={_escaped(found[2])}"


def _escaped(value: str) -> str:
    """Escapes that need not be are none, what is no UTF-8 becomes U+FFFD."""
    if "%" not in value:
        return value
    plain = unquote_to_bytes(value).decode("utf-8", "replace").encode()
    return ESCAPED.sub(lambda byte: b"%%%02X" % byte[0][0], plain).decode()


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
