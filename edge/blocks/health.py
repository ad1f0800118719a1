"""Health of the sidecar as seen by an app: outbound APIs come first, the whole runtime once the app is there."""

from __future__ import annotations

from edge import errors
from edge.app import App
from edge.errors import EdgeError


class HealthService:
    """Reads the flags that the host sets on an App."""

    def check(self, app: App, asked_for: str | None = None) -> None:
        """All is initialised, the app channel included. asked_for: the app id that the caller expects here.

        Raises EdgeError NOT_READY, HEALTH_APP_ID.
        """
        if not app.ready:
            raise EdgeError(errors.NOT_READY, targets="[runtime]")
        if asked_for is not None and asked_for != app.id:
            raise EdgeError(errors.HEALTH_APP_ID)

    def check_outbound(self, app: App) -> None:
        """APIs and components work, the app need not be there yet. Raises EdgeError OUTBOUND_NOT_READY."""
        if not app.outbound_ready:
            raise EdgeError(errors.OUTBOUND_NOT_READY)
