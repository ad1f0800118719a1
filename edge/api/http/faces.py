"""Which faces a daemon shows: the API of an app, and the public port with health and metadata only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edge.api.http import routes
from edge.api.http.router import Router, Rules
from edge.api.http.server import Face, FaceSettings, Middleware, Next
from edge.app import App
from edge.blocks import Blocks
from edge.config.configuration import Configuration
from edge.http1.messages import Handler
from edge.settings import AppSettings


def face(app: App, blocks: Blocks, settings: AppSettings, configuration: Configuration, middleware: Sequence[Any] = ()) -> Handler:
    """The handler of an app's HTTP API. middleware: components of the configuration's httpPipeline."""
    logging = configuration.logging.api_logging.enabled
    enabled = logging if settings.api_logging is None else settings.api_logging
    steps: tuple[Middleware, ...] = ()
    if middleware:
        from edge.api.http.pipeline import pipeline  # few have one

        steps = pipeline(middleware)
    chosen = FaceSettings(
        pipeline=steps,
        token=app.api_token,
        allowed_origins=settings.allowed_origins,
        traced=configuration.tracing.on,
        api_logging=_access_log(configuration) if enabled else None,
    )
    return Face(app, blocks, Router(routes.ROUTES, _rules(configuration), routes.FALLBACK, routes.LATE), chosen).handle


def _rules(configuration: Configuration) -> Rules:
    api = configuration.api
    return Rules(api.rules("allowed", "http"), api.rules("denied", "http"))


def _access_log(configuration: Configuration) -> Callable[[Next], Next]:
    from edge.api.http.access_log import AccessLog  # few have one

    settings = configuration.logging.api_logging
    ids = configuration.metric.http.increased_cardinality
    return AccessLog(settings.obfuscate_urls, not settings.omit_health_checks, ids).logged


def public_face(app: App, blocks: Blocks, configuration: Configuration) -> Handler:
    """The handler of the public port: no token, no CORS, no pipeline; what the configuration denies is denied there too."""
    return Face(app, blocks, Router(routes.PUBLIC, _rules(configuration)), FaceSettings()).handle
