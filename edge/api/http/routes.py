"""Every route of the HTTP API, in one list."""

from __future__ import annotations

from edge.api.http import actors, bindings, health, jobs, metadata, pubsub, secrets, state, workflow
from edge.api.http.invoke import FALLBACK
from edge.api.http.router import Route

__all__ = ["FALLBACK", "PUBLIC", "ROUTES"]

ROUTES: list[Route] = [
    *state.ROUTES,
    *pubsub.ROUTES,
    *bindings.ROUTES,
    *secrets.ROUTES,
    *actors.ROUTES,
    *jobs.ROUTES,
    *workflow.ROUTES,
    *metadata.ROUTES,
    *health.ROUTES,
]
PUBLIC: list[Route] = [*metadata.ROUTES, *(route for route in health.ROUTES if route.health)]
