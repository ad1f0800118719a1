"""Call an app over HTTP: events, bindings, invocation, actors and jobs, probes. Requests look as daprd's do, errors read as Go's.

Source: dapr pkg/channel/http/http_channel.go, pkg/runtime/subscription/postman/http @1.18.3; recorded in tests/data/app-http.jsonl.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import orjson

from edge import gojson
from edge.app import ActorConfig, App, AppRefused, AppUnavailable, Callback, Delivery
from edge.channel.answers import bulk_verdicts, verdict
from edge.channel.exchange import AGENT, BODILESS, GZIP, Body, Exchange, HttpClient, by_name
from edge.channel.fields import Fields, forwarded, from_metadata, method_target, of_event, returned, route_target
from edge.channel.gzip import is_gzip, unpacking
from edge.channel.jobs import job_body
from edge.channel.subscribe import parse_subscriptions
from edge.events import CLOUD_EVENT, JSON
from edge.goscanner import JsonError
from edge.http1.client import ClientResponse
from edge.model import (
    BindingEvent,
    BindingResult,
    BulkTopicEvent,
    ConfigItem,
    InvokeRequest,
    InvokeResponse,
    JobEvent,
    Status,
    Subscription,
    TopicEvent,
)
from edge.received import NO_TRACE, Received, bulk_body, bulk_entry, trace_header

log = logging.getLogger("dapr.runtime.channel.http")
ACCEPT_ENCODING = "Accept-Encoding"
VERBS = BODILESS | {"POST", "PUT", "PATCH", "TRACE"}
NO_EXTENSION = "rpc error: code = InvalidArgument desc = missing HTTP extension field"
NO_VERB = "rpc error: code = InvalidArgument desc = invalid HTTP verb"
UNHEALTHY = "rpc error: code = Internal desc = app is not in a healthy state"
SUBSCRIBE_DELAYS = (0.5, 0.75, 1.0)  # Dapr's built-in initialisation retries: exponential from 0.5 s, at most 1 s, 3 times


class HttpChannel:
    """The channel to one app. Implements `edge.app.AppChannel`.

    client: what sends the requests (HTTP/1.1 unless given). middleware: components that they go through.
    """

    def __init__(
        self, app: App, client: HttpClient | None = None, exchange: Exchange | None = None, middleware: Sequence[Any] = ()
    ) -> None:
        self.app = app
        self.probe_failure = ""
        self._exchange = exchange or Exchange(app, client, middleware)
        self._targets: dict[str, str] = {}
        self._token = [("Dapr-Api-Token", app.app_token)] if app.app_token else []

    # --- events
    async def deliver(self, event: TopicEvent) -> Delivery:
        """POST one event to its route."""
        fields = [("Content-Type", CLOUD_EVENT), ("Pubsubname", event.pubsub), *self._token]
        trace, zipping = event.traceparent or trace_header(event.event), True
        if event.message.metadata:
            fields += of_event(event.message.metadata, trace)
            zipping = ACCEPT_ENCODING not in dict(fields)
        elif trace is not None:
            fields.append(("Traceparent", trace))
        status, _, body = await self._exchange.whole("POST", self._target(event.path), fields, event.body, zipping=zipping)
        return verdict(status, body, event)

    async def deliver_bulk(self, batch: BulkTopicEvent) -> dict[str, Delivery]:
        """POST a batch to its route."""
        entries = [bulk_entry(id_, Received(e.body, e.event), e.message, raw=e.raw_payload) for id_, e in batch.entries]
        body = bulk_body(batch.id, batch.pubsub, batch.topic, entries, batch.metadata)
        fields = [("Content-Type", JSON), *from_metadata(batch.metadata), *self._token]
        traces = [trace for _, e in batch.entries if (trace := _traced(e)) is not None]
        if traces:
            fields.append(("Traceparent", traces[-1]))
        status, _, answer = await self._exchange.whole("POST", self._target(batch.path), fields, body)
        return bulk_verdicts(status, answer, (id_ for id_, _ in batch.entries), batch.topic)

    async def subscriptions(self) -> list[Subscription]:
        """GET /dapr/subscribe; a transport failure is tried again as Dapr's initialisation policy does, then raised."""
        status, body = await self._subscribe_answer()
        if status not in (200, 404):
            log.error("app returned http status code %d from subscription endpoint", status)
        if status != 200:
            return []
        try:
            return parse_subscriptions(body)
        except JsonError as error:
            log.error("error getting topics from app: %s", error)
            return []

    async def _subscribe_answer(self) -> tuple[int, bytes]:
        for delay in SUBSCRIBE_DELAYS:
            try:
                return await self._init("/dapr/subscribe")
            except AppUnavailable:
                await asyncio.sleep(delay)
        return await self._init("/dapr/subscribe")

    async def config(self) -> ActorConfig:
        """GET /dapr/config; anything but 200 with a JSON object is an empty configuration."""
        try:
            status, body = await self._init("/dapr/config")
            return ActorConfig(gojson.parse_object(body, stream=True) if status == 200 else {})
        except (AppUnavailable, JsonError):
            return ActorConfig()

    async def _init(self, path: str) -> tuple[int, bytes]:
        fields = [("Content-Type", JSON), ("Dapr-App-Id", self.app.id), *self._token]
        status, _, body = await self._exchange.whole("GET", path, fields)
        return status, body

    # --- bindings, configuration updates
    async def wants_binding(self, name: str, route: str, timeout: float) -> bool:
        """OPTIONS <route>: 2xx and 405 mean yes."""
        what = f'could not invoke OPTIONS method on input binding subscription endpoint "{route or name}": '
        try:
            async with asyncio.timeout(timeout):
                status, _, _ = await self._exchange.whole("OPTIONS", self._target(route or name), [("Content-Type", JSON), *self._token])
        except TimeoutError:
            raise AppUnavailable(f"{what}context deadline exceeded", sent=True) from None
        except AppUnavailable as error:
            raise AppUnavailable(f"{what}{error}", sent=error.sent) from None
        return 200 <= status <= 299 or status == 405

    async def trigger(self, name: str, route: str, event: BindingEvent) -> BindingResult:
        """POST what an input binding read."""
        fields = [("Content-Type", JSON), *self._token, *from_metadata(event.metadata)]
        fields.append(("Traceparent", event.traceparent or trace_header(event.metadata) or NO_TRACE))
        status, headers, body = await self._exchange.whole("POST", self._target(route or name), fields, event.data)
        if 200 <= status <= 299:
            return BindingResult(body, content_type=headers.get("content-type", ""))
        text = body.decode("utf-8", "replace")
        raise AppRefused(f"fails to send binding event to http app channel, status code: {status} body: {text}", status)

    async def configuration_changed(self, store: str, key: str, subscription: str, items: Mapping[str, ConfigItem]) -> None:
        """POST the changed items to /configuration/<store>/<key>."""
        values = {name: items[name].shown() for name in sorted(items)}
        body = gojson.escape(orjson.dumps({"id": subscription, "items": values})) + b"\n"
        fields = [("Content-Type", JSON), *self._token]
        status, _, _ = await self._exchange.whole("POST", self._method_target(f"configuration/{store}/{key}"), fields, body)
        if status != 200:
            raise AppRefused(f"error sending configuration item to application, status {status}", status)

    # --- jobs
    async def trigger_job(self, event: JobEvent) -> Delivery:
        """POST a due job to /job/<name>: 2xx = done, 404 = given up, anything else may be tried again."""
        fields = [("Content-Type", JSON), *self._token]
        status, _, _ = await self._exchange.whole("POST", self._method_target(f"job/{event.name}"), fields, job_body(event.data))
        if 200 <= status <= 299:
            return Delivery(Status.SUCCESS, code=status)
        return Delivery(Status.DROP if status == 404 else Status.RETRY, f"status code {status}", code=status)

    # --- calls
    async def call(self, callback: Callback) -> InvokeResponse:
        """Actor callbacks: the whole answer. The caller's user agent and accepted encodings pass on."""
        fields = [*forwarded(callback.headers), *self._token]
        if callback.content_type is not None:
            fields.append(("Content-Type", callback.content_type))
        given = dict(callback.headers)
        agent = given.get("user-agent", AGENT[1])
        zipping = "accept-encoding" not in given
        status, headers, body = await self._exchange.whole(callback.method, callback.path, fields, callback.body, agent, zipping=zipping)
        return InvokeResponse(status, list(headers), body, headers.get("content-type"))

    async def invoke(self, request: InvokeRequest) -> InvokeResponse:
        """Service invocation; a streamed answer holds the concurrency slot until it was read or closed."""
        if request.method == "CONNECT" or (request.grpc and request.method in ("", "NONE")):
            raise AppUnavailable(NO_VERB if request.method else NO_EXTENSION)
        if self.app.health_check is not None and not self.app.healthy:
            raise AppUnavailable(UNHEALTHY)
        method = request.method if request.grpc or request.method in VERBS else "POST"
        target = self.target(request.path, request.query)
        head, zipping = self._invoke_head(method, request)
        slots = self._exchange.slots
        if slots is not None:
            await slots.acquire()
        release = None if slots is None else slots.release
        try:
            answer = await self._exchange.send(method, target, head, request.body)
        except BaseException:
            if release is not None:
                release()
            raise
        zipped = zipping and answer.data != b"" and is_gzip(answer.headers)
        headers = [(name, value) for name, value in returned(answer.headers) if not zipped or name != "content-encoding"]
        return InvokeResponse(answer.status, headers, _streamed(answer, release, zipped), answer.headers.get("content-type"))

    def _invoke_head(self, method: str, request: InvokeRequest) -> tuple[Fields, bool]:
        """All header fields in order, and whether gzip was asked for on our own account."""
        given = dict(reversed(list(request.headers)))
        fields = forwarded(request.headers)
        if request.content_type:
            fields.append(("Content-Type", request.content_type))
        if own := self.own_fields():
            names = {name for name, _ in own}
            fields = [item for item in fields if item[0] not in names] + own
        if request.traced and "traceparent" not in given:
            fields.append(("Traceparent", NO_TRACE))
        agent = given.get("user-agent", AGENT[1])
        head = [self._exchange.host, *([("User-Agent", agent)] if agent else ())]
        if isinstance(request.body, bytes) and request.body and "transfer-encoding" not in given:
            head.append(("Content-Length", str(len(request.body))))
        elif request.length is not None and not isinstance(request.body, bytes):
            head.append(("Content-Length", str(request.length)))
        elif request.body != b"" or method not in BODILESS:
            head.append(("Transfer-Encoding", "chunked"))
        head += sorted(fields, key=by_name)
        zipping = "accept-encoding" not in given and "range" not in given and method != "HEAD"
        return [*head, GZIP] if zipping else head, zipping

    def target(self, path: str, query: str) -> str:
        """The request target of an invocation."""
        return self._method_target(path, query)

    def own_fields(self) -> Fields:
        """Headers that an invocation gets here, whatever the caller sent of these names."""
        return self._token

    # --- probes
    async def reachable(self) -> bool:
        """The port accepts a connection."""
        return await self._exchange.dial()

    async def healthy(self, path: str, timeout: float) -> bool:
        """GET <path>: 2xx. No token, no concurrency slot."""
        began = time.perf_counter()
        self.probe_failure = f'Network error: Get "{self._exchange.base}{path}": context deadline exceeded'
        try:
            async with asyncio.timeout(timeout):
                answer = await self._exchange.send("GET", path, [self._exchange.host, AGENT, GZIP], plain=True)
        except TimeoutError:
            self._probed("500", began)
            return False
        except AppUnavailable as error:
            self._probed("500", began)
            self.probe_failure = f"Network error: {error}"
            return False
        answer.close()
        self._probed(str(answer.status), began)
        self.probe_failure = f"Health check failed with status code: {answer.status}"
        return 200 <= answer.status <= 299

    def _probed(self, status: str, began: float) -> None:
        if (metrics := self.app.metrics) is not None:
            metrics.count("http_healthprobes_completed_count", (status,))
            metrics.took("http_healthprobes_roundtrip_latency", (status,), (time.perf_counter() - began) * 1000)

    async def close(self) -> None:
        await self._exchange.close()

    def _method_target(self, path: str, query: str = "") -> str:
        """Raises AppUnavailable: the path is no part of a URL."""
        try:
            return method_target(path, query)
        except ValueError as error:
            whole = f"{path.lstrip('/')}?{query}" if query else path.lstrip("/")
            raise AppUnavailable(f'parse "{self._exchange.base}/{whole}": {error}') from None

    def _target(self, route: str) -> str:
        target = self._targets.get(route)
        if target is None:
            target = self._targets[route] = route_target(route)
        return target


def _streamed(answer: ClientResponse, release: Callable[[], None] | None, zipped: bool) -> bytes | AsyncIterator[bytes]:
    """The answer's body: bytes when they are all here."""
    if answer.data is not None and not zipped:
        if release is not None:
            release()
        return answer.data
    return Body(answer, release, unpacking(answer.stream()) if zipped else aiter(answer.stream()))


def _traced(event: TopicEvent) -> str | None:
    """No trace for raw payloads."""
    return event.traceparent or (None if event.raw_payload else trace_header(event.event))
