"""Exchanges recorded with daprd 1.18.3 (tests/data/*.jsonl) and the placeholders that stand for what differs from run to run."""

from __future__ import annotations

import base64
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")

Row = dict[str, Any]


@cache
def _rows(name: str) -> tuple[Row, ...]:
    return tuple(json.loads(line) for line in (DATA / f"{name}.jsonl").read_text().splitlines())


def rows(name: str, *prefixes: str) -> list[Row]:
    """The rows of `name`.jsonl whose id starts with one of `prefixes`, in order."""
    return [row for row in _rows(name) if row["id"].startswith(prefixes)]


def row(name: str, id_: str) -> Row:
    """One row by its id."""
    return next(row for row in _rows(name) if row["id"] == id_)


def body(value: Any) -> bytes:
    """A recorded body: text, a list of chunks, or {"base64": …}."""
    if isinstance(value, dict):
        return base64.b64decode(value["base64"])
    return "".join(value).encode() if isinstance(value, list) else (value or "").encode()


def normal(text: str) -> str:
    """Text with ids and times replaced by the placeholders of the recordings."""
    return TIME.sub("<time>", UUID.sub("<uuid>", text))


ACCIDENT = re.compile(r"%!\(EXTRA [^=]+=(.*?)\)(?=\"|$)")


def meant(text: str) -> str:
    """A recorded text without the marks that Go puts where a format has one argument too many: edged says what was meant."""
    return ACCIDENT.sub(r": \1", text)


def filled(text: str) -> str:
    """A recorded text with its placeholders replaced by values of their kind, as a sender would have written them."""
    return text.replace("<uuid>", "0b6e1c1e-5d2a-4c62-9d3e-6f6a1b7a0c11").replace("<time>", "2026-11-23T06:41:03Z")
