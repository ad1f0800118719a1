"""Durable lanes: outbox "out/<pubsub>/<topic>", inbox "in/<app>/<pubsub>/<topic>", bindings, and "dead/<lane>"."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from edge.journal.entry import Entry, Limits, Policy
from edge.journal.journal import REMEMBER, Journal
from edge.model import LaneStats

__all__ = ["REMEMBER", "Entry", "Journal", "LaneStats", "Limits", "Policy", "salvager"]


def salvager(new: sqlite3.Connection, damaged: Path, complete: bool) -> dict[str, int]:
    """The journal's part in rescuing a damaged file (edge/database/rescue.py)."""
    from edge.journal.salvage import salvage  # for the day it is needed

    return salvage(new, damaged, complete)
