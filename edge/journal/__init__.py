"""Durable lanes: outbox "out/<pubsub>/<topic>", inbox "in/<app>/<pubsub>/<topic>", bindings, and "dead/<lane>"."""

from edge.journal.entry import Entry, LaneStats, Limits, Policy
from edge.journal.journal import Journal

__all__ = ["Entry", "Journal", "LaneStats", "Limits", "Policy"]
