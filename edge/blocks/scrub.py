"""Personal data in texts, replaced by their kind: `<EMAIL_ADDRESS>`, `<PHONE_NUMBER>` and so on, as the conversation API promises."""

from __future__ import annotations

import ipaddress
import re

V6 = r"(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){2,7}(?:[0-9A-Fa-f]{1,4}|(?:\d{1,3}\.){3}\d{1,3})?(?![\w:])"
STREET = "street|st|avenue|ave|road|rd|highway|hwy|square|sq|trail|trl|drive|dr|court|ct|parkway|pkwy|park|circle|cir|boulevard|blvd"
KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "EMAIL_ADDRESS",
        re.compile(r"[a-z0-9!#$%&'*+/=?^_{|.}~-]+@(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", re.I),
    ),
    ("STREET_ADDRESS", re.compile(rf"\d{{1,4}} [\w\s]{{1,20}}(?:{STREET})\W?", re.I)),
    ("PO_BOX", re.compile(r"P\.? ?O\.? Box \d+", re.I)),
    ("IBAN", re.compile(r"\b[A-Z]{2}\d{2}[A-Z0-9]{4}\d{7}[A-Z0-9]{0,16}\b")),
    ("MAC_ADDRESS", re.compile(r"(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}", re.I)),
    ("IP", re.compile(rf"(?<![\w.])(?:\d{{1,3}}\.){{3}}\d{{1,3}}(?![\w])|{V6}")),
    ("US_SSN", re.compile(r"\d{3}-\d{2}-\d{4}")),
    ("CREDIT_CARD", re.compile(r"(?:\d{4}[- ]?){3}\d{4}|\d{15,16}")),
    ("ISBN", re.compile(r"(?:\d-?){12}[\dxX]|(?:\d-?){9}[\dxX]")),
    ("ZIP_CODE", re.compile(r"\b\d{5}(?:[-\s]\d{4})?\b")),
    ("PHONE_NUMBER", re.compile(r"(?:\+?\d{1,3}[-.\s*]?)?(?:\(?\d{2,3}\)?[-.\s*]?)?\d{2,3}[-.\s*]?\d{2,6}")),
)
LINK = re.compile(r"https?://[^\s()<>]+", re.I)


def scrub(text: str) -> str:
    """The text without personal data. What lies in a link stays."""
    links = [match.span() for match in LINK.finditer(text)]
    found = []
    for order, (kind, pattern) in enumerate(KINDS):
        for match in pattern.finditer(text):
            inside = any(start <= match.start() < end for start, end in links)
            if match[0].strip() and not inside and (kind != "IP" or _is_address(match[0])):
                found.append((match.start(), -match.end(), order, kind))
    pieces, at = [], 0
    for start, end, _, kind in sorted(found):
        if start >= at:
            pieces += [text[at:start], f"<{kind}>"]
            at = -end
    return "".join((*pieces, text[at:]))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
