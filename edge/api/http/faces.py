"""Which faces a daemon shows: the API of an app, and the public port with health and metadata only."""

from __future__ import annotations

from edge.api.http import routes
from edge.api.http.router import Router, Rules
from edge.api.http.server import Face, FaceSettings
from edge.app import App
from edge.blocks import Blocks
from edge.config.configuration import Configuration
from edge.http1.messages import Handler
from edge.settings import AppSettings


def face(app: App, blocks: Blocks, settings: AppSettings, configuration: Configuration) -> Handler:
    """The handler of an app's HTTP API."""
    logging = configuration.logging.api_logging
    chosen = FaceSettings(
        token=app.api_token,
        allowed_origins=settings.allowed_origins,
        traced=_traced(configuration.tracing.sampling_rate),
        api_logging=logging.enabled if settings.api_logging is None else settings.api_logging,
        obfuscate=logging.obfuscate_urls,
        log_health=not logging.omit_health_checks,
    )
    api = configuration.api
    rules = Rules(api.rules("allowed", "http"), api.rules("denied", "http"))
    return Face(app, blocks, Router(routes.ROUTES, rules, routes.FALLBACK, routes.LATE), chosen).handle


def public_face(app: App, blocks: Blocks) -> Handler:
    """The handler of the public port: no token, no CORS, no pipeline."""
    return Face(app, blocks, Router(routes.PUBLIC), FaceSettings()).handle


def _traced(sampling_rate: str) -> bool:
    """Tracing is off altogether when the rate is zero."""
    try:
        return float(sampling_rate) != 0 if sampling_rate else True
    except ValueError:
        return True
