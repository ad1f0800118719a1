"""Call an app over gRPC: `AppCallback`, `AppCallbackAlpha`, `AppCallbackHealthCheck` over one shared connection.

Source: dapr pkg/channel/grpc, pkg/runtime/subscription/postman/grpc, pkg/runtime/processor/binding @1.18.3; recorded in
tests/data/app-grpc.jsonl.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

from edge.app import ActorConfig, App, AppRefused, AppUnavailable, Callback, Delivery
from edge.channel.grpc_answers import bulk_verdicts, read, status_json, unreachable, verdict, wording
from edge.channel.grpc_events import BadEnvelope, bulk_request, topic_event
from edge.channel.grpc_fields import custom, invoke_fields, to_headers
from edge.channel.grpc_subscribe import subscription
from edge.channel.jobs import job_any
from edge.channel.tls import unverified
from edge.errors import HTTP_STATUS, Grpc
from edge.http1.messages import BodyTooLarge
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
from edge.received import NO_TRACE, trace_header
from edge.rpc.client import Answer, Channel, Target
from edge.rpc.hpack import Field
from edge.rpc.pb import appcallback_pb2, common_pb2
from edge.rpc.status import RpcError
from edge.telemetry.rpcs import client

log = logging.getLogger("dapr.runtime.channel.grpc")
CALLBACK = "/dapr.proto.runtime.v1.AppCallback/"
ALPHA = "/dapr.proto.runtime.v1.AppCallbackAlpha/"
HEALTH = "/dapr.proto.runtime.v1.AppCallbackHealthCheck/HealthCheck"
UNHEALTHY = "rpc error: code = Internal desc = app is not in a healthy state"
SUBSCRIBE_DELAYS = (0.5, 0.75, 1.0)  # as over HTTP
DIAL_TIMEOUT = 0.5
LARGEST_ANSWER = 4 << 20


class GrpcChannel:
    """The channel to one app. Implements `edge.app.AppChannel`."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.probe_failure = ""
        self._tls = unverified("h2") if app.protocol == "grpcs" else None
        target = Target(app.channel_address, app.port, tls=self._tls)
        self.channel = Channel(target, max_receive=max(app.max_body_bytes, LARGEST_ANSWER) if app.max_body_bytes > 0 else 0, max_send=0)
        self._slots = asyncio.Semaphore(app.max_concurrency) if app.max_concurrency > 0 else None
        self._token: list[Field] = [("dapr-api-token", app.app_token)] if app.app_token else []
        self._bindings: list[str] | None = None

    # --- events
    async def deliver(self, event: TopicEvent) -> Delivery:
        """OnTopicEvent."""
        id_ = event.event.get("id")
        try:
            message = topic_event(event)
        except BadEnvelope as error:
            return Delivery(Status.RETRY, f"error returned from app while processing pub/sub event: retriable error occurred: {error}")
        fields = [*_traced(event, raw=True), *custom(event.message.metadata), ("pubsubname", event.pubsub), *self._token]
        try:
            response = read(appcallback_pb2.TopicEventResponse, await self._call("OnTopicEvent", message, fields))
        except RpcError as error:
            return _failed(error, f"pub/sub event {id_}")
        return verdict(response.status, id_)

    async def deliver_bulk(self, batch: BulkTopicEvent) -> dict[str, Delivery]:
        """OnBulkTopicEvent, else its alpha form."""
        message, left_out = bulk_request(batch)
        traces = [field for _, event in batch.entries for field in _traced(event)]
        fields = [*traces[-1:], *custom(batch.metadata), *self._token]
        ids = [id_ for id_, _ in batch.entries if id_ not in left_out]
        found = {id_: Delivery(Status.RETRY, reason) for id_, reason in left_out.items()}
        if not ids:
            return found
        try:
            response = read(appcallback_pb2.TopicEventBulkResponse, await self._or_alpha("OnBulkTopicEvent", message, fields))
        except RpcError as error:
            failure = _failed(error, "bulk pub/sub event")
            return found | dict.fromkeys(ids, failure)
        return found | bulk_verdicts(response, ids)

    async def subscriptions(self) -> list[Subscription]:
        """ListTopicSubscriptions: none when the app has no such method; other failures are tried again as Dapr does, then raised."""
        for delay in (*SUBSCRIBE_DELAYS, None):
            try:
                response = read(appcallback_pb2.ListTopicSubscriptionsResponse, await self._call("ListTopicSubscriptions"))
            except (AppUnavailable, RpcError) as error:
                if isinstance(error, RpcError) and error.code == Grpc.UNIMPLEMENTED:
                    return []
                if delay is not None:
                    await asyncio.sleep(delay)
                    continue
                return self._no_list(error)
            return [subscription(one) for one in response.subscriptions]
        raise AssertionError("the last attempt returns or raises")

    @staticmethod
    def _no_list(error: AppUnavailable | RpcError) -> list[Subscription]:
        if isinstance(error, AppUnavailable):
            raise error
        log.error("error getting topic list from app: %s", wording(error))
        raise AppUnavailable(wording(error), sent=True) from error

    async def config(self) -> ActorConfig:
        """A gRPC app says what it hosts on a stream of its own."""
        return ActorConfig()

    # --- bindings
    async def wants_binding(self, name: str, route: str, timeout: float) -> bool:
        """ListInputBindings, asked once; an error means none."""
        if self._bindings is None:
            try:
                answer = await self._call("ListInputBindings", timeout=timeout)
                self._bindings = list(read(appcallback_pb2.ListInputBindingsResponse, answer).bindings)
            except RpcError as error:
                log.debug("the app lists no input bindings: %s", wording(error))
                self._bindings = []
        return name in self._bindings

    async def trigger(self, name: str, route: str, event: BindingEvent) -> BindingResult:
        """OnBindingEvent."""
        message = appcallback_pb2.BindingEventRequest(name=name, data=event.data, metadata=event.metadata)
        fields = [("traceparent", event.traceparent or trace_header(event.metadata) or NO_TRACE), *self._token]
        try:
            response = read(appcallback_pb2.BindingEventResponse, await self._call("OnBindingEvent", message, fields))
        except RpcError as error:
            raise AppRefused(f"error invoking app: {wording(error)}", error.code) from error
        return BindingResult(response.data, to=tuple(response.to), parallel=response.concurrency == 1)

    async def configuration_changed(self, store: str, key: str, subscription: str, items: Mapping[str, ConfigItem]) -> None:
        """A gRPC app gets configuration on its own stream; an HTTP subscription of it reaches nobody."""
        raise AppRefused("configuration updates reach a gRPC app through SubscribeConfiguration only", Grpc.UNIMPLEMENTED)

    # --- jobs
    async def trigger_job(self, event: JobEvent) -> Delivery:
        """OnJobEvent, else its alpha form: NotFound = given up, anything but OK may be tried again."""
        data = None if event.data is None else job_any(event.data)
        extension = common_pb2.HTTPExtension(verb="POST")
        message = appcallback_pb2.JobEventRequest(
            name=event.name, data=data, method=f"job/{event.name}", content_type=data.type_url if data else "", http_extension=extension
        )
        try:
            if self._slots is None:
                await self._or_alpha("OnJobEvent", message, self._token)
            else:
                async with self._slots:
                    await self._or_alpha("OnJobEvent", message, self._token)
        except RpcError as error:
            status = Status.DROP if error.code == Grpc.NOT_FOUND else Status.RETRY
            return Delivery(status, f"status code returned: {error.code}", code=error.code)
        return Delivery(Status.SUCCESS, code=Grpc.OK)

    # --- calls
    async def call(self, callback: Callback) -> InvokeResponse:
        """Actors of a gRPC app are called on their stream."""
        raise AppUnavailable("the app speaks gRPC: its actors are called through SubscribeActorEventsAlpha1")

    async def invoke(self, request: InvokeRequest) -> InvokeResponse:
        """OnInvoke."""
        if self.app.health_check is not None and not self.app.healthy:
            raise AppUnavailable(UNHEALTHY)
        if request.missing:
            raise AppUnavailable("message is nil")
        message = _invoke_message(request, await self._whole(request.body))
        fields = invoke_fields(request, self._token)
        if self._slots is None:
            return await self._invoke(message, fields, grpc=request.grpc)
        async with self._slots:
            return await self._invoke(message, fields, grpc=request.grpc)

    async def _invoke(self, message: Any, fields: list[Field], *, grpc: bool) -> InvokeResponse:
        """grpc: the caller wants metadata as they came, else as HTTP headers."""
        try:
            self._check_size("trying to send", message.ByteSize())
            answer = await self._call("OnInvoke", message, fields)
            self._check_size("grpc: received", len(answer.message))
            response = read(common_pb2.InvokeResponse, answer)
        except (RpcError, AppUnavailable) as error:
            return _failure(error, grpc=grpc)
        headers = answer.headers if grpc else to_headers(answer.headers)
        found = InvokeResponse(200, headers, response.data.value, response.content_type or None, (0, ""))
        found.trailers, found.type_url = answer.trailers, response.data.type_url
        return found

    def _check_size(self, what: str, size: int) -> None:
        limit = self.app.max_body_bytes
        if 0 < limit < size:
            raise RpcError(Grpc.RESOURCE_EXHAUSTED, f"{what} message larger than max ({size} vs. {limit})")

    async def _whole(self, body: bytes | AsyncIterator[bytes]) -> bytes:
        """Raises AppUnavailable when the caller sends too much, or goes away."""
        if isinstance(body, bytes):
            return body
        try:
            return b"".join([piece async for piece in body])
        except (BodyTooLarge, OSError) as error:
            raise AppUnavailable(str(error)) from None

    # --- probes
    async def reachable(self) -> bool:
        """The port accepts a connection (and a TLS handshake)."""
        try:
            async with asyncio.timeout(DIAL_TIMEOUT):
                _, writer = await asyncio.open_connection(self.app.channel_address, self.app.port, ssl=self._tls)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    async def healthy(self, path: str, timeout: float) -> bool:
        """HealthCheck: any error is a no, Unimplemented too. No token."""
        try:
            async with asyncio.timeout(timeout + DIAL_TIMEOUT):
                await self._counted().unary(HEALTH, b"", timeout=timeout)
        except RpcError as error:
            self.probe_failure = f"Probe error: {wording(error)}"
            return False
        except TimeoutError:
            self.probe_failure = "Probe error: rpc error: code = DeadlineExceeded desc = context deadline exceeded"
            return False
        return True

    async def close(self) -> None:
        await self.channel.close()

    # --- the wire
    async def _call(self, method: str, message: Any = None, fields: list[Field] | None = None, timeout: float | None = None) -> Answer:
        """One call of AppCallback. Raises RpcError with the app's status, AppUnavailable when no one is at its port."""
        return await self._send(CALLBACK + method, message, fields, timeout)

    async def _or_alpha(self, method: str, message: Any, fields: list[Field]) -> Answer:
        try:
            return await self._call(method, message, fields)
        except RpcError as error:
            if error.code != Grpc.UNIMPLEMENTED:
                raise
        return await self._send(f"{ALPHA}{method}Alpha1", message, fields, None)

    def _counted(self) -> Channel:
        if self.channel.told is None:
            self.channel.told = client(self.app.metrics)  # which came after this object
        return self.channel

    async def _send(self, path: str, message: Any, fields: list[Field] | None, timeout: float | None) -> Answer:
        data = b"" if message is None else message.SerializeToString()
        try:
            return await self._counted().unary(path, data, fields or (), timeout)
        except RpcError as error:
            if unreachable(error):
                raise AppUnavailable(wording(error)) from None
            raise


def _traced(event: TopicEvent, *, raw: bool = False) -> list[Field]:
    """raw: raw payloads have the trace that their metadata brought; in a batch they have none."""
    trace = event.traceparent or (trace_header(event.event) if raw or not event.raw_payload else None)
    return [] if trace is None else [("traceparent", trace)]


def _failed(error: RpcError, what: str) -> Delivery:
    """A delivery that ended with an error status; no such method is a drop without a dead letter."""
    if error.code == Grpc.UNIMPLEMENTED:
        reason = f"non-retriable error returned from app while processing {what}: {wording(error)}"
        return Delivery(Status.DROP, reason, dead_letter=False, code=error.code)
    reason = f"error returned from app while processing {what}: retriable error occurred: {wording(error)}"
    return Delivery(Status.RETRY, reason, code=error.code)


def _invoke_message(request: InvokeRequest, body: bytes) -> Any:
    verb = request.method if request.method in common_pb2.HTTPExtension.Verb.keys() else "POST"
    extension = common_pb2.HTTPExtension(verb=verb, querystring=request.query) if request.method else None
    data = {"value": body, "type_url": request.type_url}
    return common_pb2.InvokeRequest(method=request.path, data=data, content_type=request.content_type or "", http_extension=extension)


def _failure(error: RpcError | AppUnavailable, *, grpc: bool) -> InvokeResponse:
    """The app's error status, and as HTTP callers see it."""
    if isinstance(error, AppUnavailable):
        text = str(error).partition("desc = ")[2]
        error = RpcError(Grpc.UNAVAILABLE, text)
    status, headers = HTTP_STATUS.get(error.code, 500), error.headers if grpc else to_headers(error.headers)
    found = InvokeResponse(status, headers, status_json(error), "text/plain; charset=utf-8")
    found.grpc_status, found.grpc_details, found.trailers = (error.code, error.message), error.details, error.trailers
    return found
