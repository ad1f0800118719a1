"""Service invocation: from a name to an answer. The own app, an app of this daemon, an HTTP endpoint, or another sidecar.

Source: dapr pkg/messaging/direct_messaging.go, pkg/api/http/directmessaging.go @1.18.3.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from edge import errors
from edge.app import App, AppUnavailable
from edge.blocks.names import normal_method
from edge.blocks.policies import AppPolicies
from edge.errors import EdgeError, Grpc, Unavailable
from edge.http1.messages import BodyTooLarge
from edge.model import InvokeRequest, InvokeResponse
from edge.record import record
from edge.resiliency import CodeError, Final, Policy, Rules, TimedOut

if TYPE_CHECKING:
    from edge.rpc.proxy import Onward

URLS = ("http://", "https://")
FORBIDDEN = 403
NO_HOST = "no host found with the given ID"
TRANSIENT = (Grpc.UNAVAILABLE, Grpc.UNAUTHENTICATED)
BUILT_IN = "DaprBuiltInServiceRetries"


class InvokeFailed(AppUnavailable):
    """The call did not come to an answer of the target's app; code: the gRPC status that says why."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(f"rpc error: code = {errors.go_name(code)} desc = {text}", sent=True)
        self.text = text


class Endpoints(Protocol):
    """HTTPEndpoint resources and plain URLs."""

    def base(self, app: App, name: str) -> str | None:
        """The base URL of an HTTPEndpoint that the app may use, None when there is none of that name."""
        ...

    async def invoke(self, app: App, target: str, request: InvokeRequest) -> InvokeResponse:
        """Raises AppUnavailable."""
        ...

    async def close(self) -> None: ...


class Sidecars(Protocol):
    """Apps behind other sidecars, of this daemon or elsewhere."""

    async def invoke(self, app: App, app_id: str, namespace: str, request: InvokeRequest) -> InvokeResponse:
        """Raises AppUnavailable; InvokeFailed when the status is known (PermissionDenied: the callee's access control)."""
        ...

    async def grpc_target(self, app: App, app_id: str, namespace: str, method: str) -> GrpcTarget:
        """Raises AppUnavailable, InvokeFailed."""
        ...


@record
class GrpcTarget:
    """Where a gRPC call is passed on to, and the metadata it needs on that way. policy: of calls to another app's sidecar."""

    channel: Onward
    metadata: Sequence[tuple[str, str]] = ()
    policy: Policy | None = None
    local: bool = False


class InvokeService:
    """The invocation API of all apps."""

    def __init__(self, policies: AppPolicies | None = None, endpoints: Endpoints | None = None, sidecars: Sidecars | None = None) -> None:
        self.endpoints, self.sidecars = endpoints, sidecars
        self._policies = policies or AppPolicies(lambda app_id: Rules())

    async def invoke(self, app: App, target: str, request: InvokeRequest) -> InvokeResponse:
        """Call a method of `target`: an app id, `<app-id>.<namespace>`, an HTTPEndpoint's name, or a URL.

        request.path: unescaped. The answer's body may be a stream that has to be read or closed.
        Raises EdgeError DIRECT_INVOKE for everything that is not the target's own answer.
        """
        policy = self._policies.of(app).app(target, self._endpoint(app, target, request.path))
        try:
            if policy is None:
                return await self._invoke(app, target, request)
            return await self._guarded(app, target, request, policy)
        except AppUnavailable as error:
            text = str(error).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            denied = isinstance(error, InvokeFailed) and error.code == Grpc.PERMISSION_DENIED
            raise EdgeError(errors.DIRECT_INVOKE, app=target, error=text, http=FORBIDDEN if denied else None) from error
        except Unavailable as error:
            code = Grpc.DEADLINE_EXCEEDED if isinstance(error, TimedOut) else Grpc.UNKNOWN
            raise EdgeError(errors.DIRECT_INVOKE, app=target, error=error, grpc=code, grpc_message=str(error)) from error

    async def grpc_target(self, app: App, target: str, method: str = "") -> GrpcTarget:
        """Where a gRPC call for `target` goes. method: its path. Raises AppUnavailable."""
        app_id, namespace = _split(app, target)
        if self.sidecars is None:
            raise AppUnavailable(NO_HOST)
        found = await self.sidecars.grpc_target(app, app_id, namespace, method)
        policy = None if found.local else self._policies.of(app).app(target, f"{target}:{method}")
        return replace(found, policy=policy)

    async def close(self) -> None:
        """End connections to endpoints."""
        if self.endpoints is not None:
            await self.endpoints.close()

    def _endpoint(self, app: App, target: str, method: str) -> str:
        """What a circuit breaker is kept for."""
        if target.startswith(URLS):
            return f"{target}/{method}"
        base = self.endpoints.base(app, target) if self.endpoints is not None else None
        return f"{target}:{method if base is None else base}"

    # --- by the target's policy
    async def _guarded(self, app: App, target: str, request: InvokeRequest, policy: Policy) -> InvokeResponse:
        """An answer that counts as a failure is tried again; when tries are spent it is the caller's answer all the same."""
        again = not streaming(request)
        if policy.retries and again:
            request = await buffered(app, request)
        began = asyncio.get_running_loop().time()

        async def attempt() -> InvokeResponse:
            try:
                answer = await self._invoke(app, target, request)
            except AppUnavailable as error:
                raise error if again else Final(error) from None
            if _succeeded(request, answer):
                return answer
            failure = await _failure(request, answer, read=again)
            raise failure if again else Final(failure)

        try:
            answer = await policy.run(attempt)
        except CodeError as error:
            answer = error.result
        except _Refused as error:
            return error.answer
        if policy.timeout > 0 and not isinstance(answer.body, bytes):
            answer.body = _until(answer.body, began + policy.timeout)
        return answer

    async def _invoke(self, app: App, target: str, request: InvokeRequest) -> InvokeResponse:
        request = _normal(request)
        endpoints, sidecars = self.endpoints, self.sidecars
        if endpoints is not None and (target.startswith(URLS) or endpoints.base(app, target) is not None):
            return await endpoints.invoke(app, target, request)
        app_id, namespace = _split(app, target)
        if app_id == app.id and namespace == app.namespace:
            return await invoke_own(app, request)
        if sidecars is None:
            raise AppUnavailable(NO_HOST)
        if self._policies.of(app).has_app(app_id) or streaming(request):
            return await sidecars.invoke(app, app_id, namespace, request)
        whole = await buffered(app, request)
        return await self._with_built_in_retries(app, app_id, lambda: sidecars.invoke(app, app_id, namespace, whole))

    async def _with_built_in_retries(self, app: App, app_id: str, call: Callable[[], Awaitable[InvokeResponse]]) -> InvokeResponse:
        """A sidecar that cannot be reached is tried again, as Dapr does where no resource says otherwise."""
        tries, transient = 0, ""

        async def attempt() -> InvokeResponse:
            nonlocal tries, transient
            tries += 1
            try:
                return await call()
            except AppUnavailable as error:
                if isinstance(error, InvokeFailed) and error.code in TRANSIENT:
                    transient = str(error)
                elif isinstance(error, InvokeFailed) or not transient:  # it may not be found again while it is down
                    raise Final(error) from None
                raise AppUnavailable(f"failed to invoke target {app_id} after {tries - 1} retries. Error: {transient}") from None

        return await self._policies.of(app).built_in(BUILT_IN).run(attempt)


class _Refused(Exception):
    """A gRPC caller's call ended with an error status: any retry policy counts it, whatever it says of codes (as Dapr)."""

    def __init__(self, answer: InvokeResponse) -> None:
        self.answer = answer
        super().__init__("the app refused the call")


async def invoke_own(app: App, request: InvokeRequest) -> InvokeResponse:
    """Straight to the app's channel. Raises AppUnavailable."""
    if app.channel is None:
        raise AppUnavailable("cannot invoke local endpoint: app channel not initialized")
    return await app.channel.invoke(request)


def streaming(request: InvokeRequest) -> bool:
    """The request's length is not known beforehand, so it can't be sent twice."""
    if isinstance(request.body, bytes):
        return any(name == "transfer-encoding" for name, _ in request.headers)
    return request.length is None


async def buffered(app: App, request: InvokeRequest) -> InvokeRequest:
    """The request with its whole body in memory. Raises AppUnavailable when it is larger than the app's limit."""
    if isinstance(request.body, bytes):
        return request
    try:
        body = b"".join([piece async for piece in request.body])
    except (OSError, BodyTooLarge) as error:
        raise AppUnavailable(str(error)) from None
    return replace(request, body=body)


def _succeeded(request: InvokeRequest, answer: InvokeResponse) -> bool:
    """Whether a policy counts the answer as good; an HTTP caller of a gRPC app always gets one."""
    if answer.grpc_status is not None:
        return not request.grpc or answer.grpc_status[0] == Grpc.OK
    return 200 <= answer.status <= (299 if request.grpc else 399)


async def _failure(request: InvokeRequest, answer: InvokeResponse, *, read: bool) -> CodeError | _Refused:
    if read and not isinstance(answer.body, bytes):
        try:
            answer.body = b"".join([piece async for piece in answer.body])
        except OSError as error:
            raise AppUnavailable(str(error), sent=True) from None
    if request.grpc:
        return _Refused(answer)
    return CodeError(answer.status, f"received non-successful status code in response: {answer.status}", answer)


async def _until(body: AsyncIterator[bytes], deadline: float) -> AsyncIterator[bytes]:
    """The body while the policy's time lasts, then the answer breaks off."""
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                piece = await anext(body)
        except StopAsyncIteration:
            return
        yield piece


def _normal(request: InvokeRequest) -> InvokeRequest:
    try:
        path = normal_method(request.path)
    except ValueError as error:
        raise InvokeFailed(Grpc.INVALID_ARGUMENT, f"invalid method: {error}") from None
    return request if path == request.path else replace(request, path=path)


def _split(app: App, target: str) -> tuple[str, str]:
    """App id and namespace of a target."""
    parts = target.split(".")
    match parts:
        case [""]:
            raise AppUnavailable("app id is empty")
        case [app_id]:
            return app_id, app.namespace
        case [app_id, namespace]:
            return app_id, namespace
        case _:
            raise AppUnavailable(f"invalid app id {target}")
