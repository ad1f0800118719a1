"""The blocks' calls of components, counted for the app that made them (runtime.md §8: component_…)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from edge.app import App
from edge.errors import EdgeError

if TYPE_CHECKING:
    from edge.blocks import Blocks
    from edge.telemetry.metrics import Calls, Metrics

T = TypeVar("T")
Labels = Callable[..., Sequence[str]]
BREAKER_STATES = ("closed", "half-open", "open", "unknown")
UNKNOWN = ("NOT_FOUND", "NOT_CONFIGURED")
STATE = {
    "get": "get",
    "save": "set",
    "delete": "delete",
    "get_many": "bulk_get",
    "delete_many": "bulk_delete",
    "transact": "transaction",
    "query": "query",
}


def meter(blocks: Blocks) -> None:
    """Count what apps do with their components."""
    _state(blocks.state)
    _wrap(blocks.secrets, "get", "component_secret", lambda app, store, *_: (store, "get"))
    _wrap(blocks.secrets, "get_all", "component_secret", lambda app, store, *_: (store, "bulk_get"))
    _wrap(blocks.pubsub, "publish", "component_pubsub_egress", lambda app, name, topic, *_: (name, topic))
    _wrap(blocks.pubsub, "publish_bulk", "component_pubsub_egress_bulk", lambda app, name, topic, *_: (name, topic))
    _wrap(blocks.bindings, "invoke", "component_output_binding", lambda app, name, operation, *_: (name, operation), every=True)


def meter_configuration(block: T) -> T:
    _wrap(block, "get", "component_configuration", lambda app, store, *_: (store, "get"))
    _wrap(block, "subscribe", "component_configuration", lambda app, store, *_: (store, "subscribe"))
    return block


def meter_crypto(block: T) -> T:
    for method in ("encrypt", "decrypt"):
        _wrap(block, method, "component_crypto", lambda app, name, *_: (name, "crypto_op"))
    return block


def meter_conversation(block: T) -> T:
    _wrap(block, "converse", "component_conversation", lambda app, part, *_: (part.name,))
    return block


class Observing:
    """Counts what the resiliency policies of an app's sidecar do; an `Observer`."""

    def __init__(self, app: App, name: str = "") -> None:
        """name: of the resource that came last, by which daprd labels them all."""
        self._app, self._name = app, name

    def executed(self, policy: str, target: str, direction: str, state: str) -> None:
        self._count("resiliency_count", policy, target, direction, state)
        if policy == "circuitbreaker":
            self._state(target, direction, state)

    def activated(self, policy: str, target: str, direction: str, state: str) -> None:
        if policy == "circuitbreaker":
            self._state(target, direction, state)
        self._count("resiliency_activations_total", policy, target, direction, state)

    def _state(self, target: str, direction: str, state: str) -> None:
        if (metrics := self._app.metrics) is not None:
            for status in BREAKER_STATES:
                metrics.set("resiliency_cb_state", (self._name, "circuitbreaker", direction, target, status), float(status == state))

    def _count(self, family: str, policy: str, target: str, direction: str, state: str) -> None:
        if self._app.metrics is not None:
            self._app.metrics.count(family, (self._name, policy, direction, target, state))


def _wrap(block: Any, method: str, family: str, labels: Labels, *, every: bool = False) -> None:
    """Count a block's method. every: also the calls for components that are not there, as daprd does for bindings."""
    plain = getattr(block, method)

    async def counted(app: App, *args: Any, **named: Any) -> Any:
        metrics = app.metrics
        if metrics is None:
            return await plain(app, *args, **named)
        began = time.perf_counter()
        try:
            result = await plain(app, *args, **named)
        except EdgeError as error:
            if every or not error.code.tag.endswith(UNKNOWN):
                metrics.both(family, (*labels(app, *args), "false"), began)
            raise
        metrics.both(family, (*labels(app, *args), "true"), began)
        return result

    setattr(block, method, counted)


def _state(service: Any) -> None:
    """Each store's calls, as an app sees it; also those that are answered without waiting."""
    plain = service.make

    def made(app: App, *args: Any) -> Any:
        store = plain(app, *args)
        if (metrics := app.metrics) is not None:
            for method, operation in STATE.items():
                setattr(store, method, _counted(getattr(store, method), metrics, store.name, operation))
            store.get_now = _counted_now(store.get_now, metrics, store.name)
        return store

    service.make = made


def _counted(plain: Callable[..., Awaitable[Any]], metrics: Metrics, store: str, operation: str) -> Callable[..., Awaitable[Any]]:
    good, bad = ((store, operation, success) for success in ("true", "false"))

    async def counted(*args: Any, **named: Any) -> Any:
        began, labels = time.perf_counter(), bad
        try:
            result = await plain(*args, **named)
            labels = good
            return result
        finally:
            metrics.both("component_state", labels, began)

    return counted


def _counted_now(plain: Callable[[str], Any], metrics: Metrics, store: str) -> Callable[[str], Any]:
    calls: Calls | None = None

    def counted(key: str) -> Any:
        nonlocal calls
        began = time.perf_counter()
        item = plain(key)
        if calls is None:
            calls = metrics.calls("component_state", (store, "get", "true"))
        calls.since(began)
        return item

    return counted
