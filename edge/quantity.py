"""Kubernetes resource quantities (`4Mi`, `100k`): sizes as Dapr's flags and metadata write them."""

from __future__ import annotations

import re

QUANTITY = re.compile(r"^([+-]?\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti|k|K|M|G|T|m|[eE][+-]?\d{1,2}|)$")
SCALE: dict[str, float] = {"": 1, "m": 0.001, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
SCALE |= {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}


def parse_quantity(text: str) -> int:
    """The size in bytes; negative numbers pass. Raises ValueError with Kubernetes' text."""
    match = QUANTITY.match(text.strip())
    if match is None:
        raise ValueError("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
    scale = SCALE.get(match[2]) or float(f"1{match[2]}")  # else an exponent: 1e3
    return int(float(match[1]) * scale)


def format_quantity(size_bytes: int) -> str:
    """The shortest exact quantity: `4Mi`, `100Ki`, `1500`."""
    for unit, scale in (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)):
        if size_bytes and size_bytes % scale == 0:
            return f"{size_bytes // scale}{unit}"
    return str(size_bytes)
