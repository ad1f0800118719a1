"""Metrics of the hosted apps: who has some, what is read at a scrape, and the ports on which they are served (layer 6)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import chain

from edge.app import App, Part
from edge.component import Coded, Healthy, Keeps
from edge.config.configuration import MetricHttp
from edge.config.plan import Plan
from edge.errors import ComponentError
from edge.http1.messages import Handler, Limits, Request, Response
from edge.http1.server import Tcp, serve
from edge.journal import Journal
from edge.settings import DaemonSettings
from edge.telemetry.metrics import LATENCY, HttpLabels, Metrics, Rules, path_label

Gauges = Callable[[App, Metrics], None]
log = logging.getLogger("dapr.metrics")


def equip(app: App, settings: DaemonSettings, plan: Plan, parts: Sequence[Part], journal: Journal, gauges: Gauges) -> None:
    """Give the app its numbers, unless they are off. gauges: sets those that a block knows.

    Raises ComponentError for a rule that can't be used.
    """
    metric = plan.configuration.metric
    if not settings.metrics or not metric.enabled:
        return
    namespace = app.namespace if app.namespace_set else ""
    metrics = app.metrics = Metrics(app.id, namespace, metric.latency_distribution_buckets or LATENCY, _rules(plan))
    metrics.http = _http(metric.http)
    metrics.errors, metrics.body_limit = metric.record_error_codes, app.max_body_bytes
    for part in parts:
        metrics.count("runtime_component_init_total", (part.type,))
        metrics.count("runtime_component_loaded")
    for one in plan.resiliencies:
        metrics.count("resiliency_loaded", (one.name,))
    metrics.read += [partial(_read_journal, app, journal, parts), partial(gauges, app)]


def _rules(plan: Plan) -> Rules | None:
    if not plan.configuration.metric.rules:
        return None
    from edge.telemetry.rules import RuleError, rules_of  # few have any

    try:
        return rules_of(plan.configuration.metric.rules)
    except RuleError as error:
        raise ComponentError(str(error)) from None


def _http(settings: MetricHttp) -> HttpLabels:
    legacy = settings.increased_cardinality
    path: Callable[[str], str] = path_label
    if settings.path_matching:
        from edge.telemetry.paths import matcher  # few have any

        path = matcher(settings.path_matching, legacy=legacy)
    elif not legacy:
        path = _unlabelled
    return HttpLabels(path, verbs=not settings.exclude_verbs, responses=legacy)


def _unlabelled(path: str) -> str:
    """`increasedCardinality: false`."""
    return ""


def _read_journal(app: App, journal: Journal, parts: Sequence[Part], metrics: Metrics) -> None:
    """The lanes of this app's components and subscriptions."""
    own = (f"in/{app.id}/", f"dead/{app.id}/", *(f"{way}/{part.name}/" for part in parts for way in ("out", "out-binding")))
    for part in parts:
        if isinstance(part.component, Healthy):
            metrics.set("edged_component_healthy", (part.name,), 0 if part.component.unhealthy() else 1)
        if isinstance(part.component, Coded):
            for said, count in part.component.reasons().items():
                metrics.cell("edged_mqtt_reason_codes_total", (part.name, *said))[0] = count
    kept = [lane for part in parts if isinstance(part.component, Keeps) for lane in part.component.kept()]
    for lane in chain(*map(journal.stats, own), kept):
        labels = (lane.lane,)
        for name in ("accepted", "delivered", "expired", "dead"):
            metrics.cell(f"edged_journal_{name}_total", labels)[0] = getattr(lane, name)
        for reason, number in lane.dropped.items():
            metrics.cell("edged_journal_dropped_total", (*labels, reason))[0] = number
        metrics.set("edged_journal_pending", labels, lane.pending)
        metrics.set("edged_journal_pending_bytes", labels, lane.pending_bytes)


@asynccontextmanager
async def serve_metrics(apps: Iterable[App], settings: DaemonSettings) -> AsyncIterator[None]:
    """Answer scrapes with the numbers of all apps. A port that can't be had costs the metrics, not the start."""
    numbers = [app.metrics for app in apps if app.metrics is not None]
    async with AsyncExitStack() as up:
        if numbers:
            address, port = settings.metrics_address, settings.metrics_port
            try:
                await up.enter_async_context(serve(_handler(numbers), [Tcp(address, port)], Limits()))
            except OSError as error:
                log.error("no metrics: %s:%d can't be listened on: %s; choose another port with --metrics-port", address, port, error)
            else:
                log.info("metrics server started on %s:%d/", address, port)
        yield


def _handler(numbers: list[Metrics]) -> Handler:
    def handle(request: Request) -> Response:
        from edge.telemetry import exposition  # with the first scrape

        return Response(200, (("Content-Type", exposition.CONTENT_TYPE),), exposition.text(numbers).encode())

    return handle
