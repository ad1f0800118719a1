"""The API's routes: those that every daemon has, and those whose code is loaded at the first request for them.

What a daemon has no block for is answered as daprd answers when that thing is not configured.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace

from edge import errors
from edge.api.http import bindings, health, invoke, metadata, pubsub, secrets, state
from edge.api.http.call import Answer, Call
from edge.api.http.router import Route
from edge.errors import EdgeError
from edge.record import record

ROUTES = [*state.ROUTES, *pubsub.ROUTES, *bindings.ROUTES, *secrets.ROUTES, *metadata.ROUTES, *health.ROUTES]
PUBLIC = [*metadata.ROUTES, *(route for route in health.ROUTES if route.health)]
FALLBACK = invoke.FALLBACK


@record
class Late:
    """A group that is loaded when asked for. block: its attribute of Blocks. absent: the refusal while that is None."""

    module: str
    block: str
    absent: Callable[[Call], EdgeError]

    def routes(self) -> list[Route]:
        """The module's routes, each behind the check for its block."""
        found: list[Route] = importlib.import_module(self.module).ROUTES
        return [replace(route, handler=self._checked(route)) for route in found]

    def _checked(self, route: Route) -> Callable[[Call], Answer]:
        def checked(call: Call) -> Answer:
            if getattr(call.blocks, self.block) is None:
                raise self.absent(call)
            return route.handler(call)

        return checked


def _no_placement(call: Call) -> EdgeError:
    return EdgeError(errors.ACTOR_NO_PLACEMENT)


def _no_scheduler(call: Call) -> EdgeError:
    code = {"GET": errors.JOB_GET, "DELETE": errors.JOB_DELETE}.get(call.method, errors.JOB_SCHEDULE)
    return EdgeError(code, info={"appID": call.app.id, "namespace": call.app.namespace}, error="scheduler clients are disabled")


def _no_conversation(call: Call) -> EdgeError:
    return EdgeError(errors.CONVERSATION_NOT_FOUND, name=call.params[0])


LATE = {
    "actors": Late("edge.api.http.actors", "actors", _no_placement),
    "jobs": Late("edge.api.http.jobs", "jobs", _no_scheduler),
    "workflows": Late("edge.api.http.workflow", "workflow", _no_placement),
    "configuration": Late("edge.api.http.configuration", "configuration", lambda _: EdgeError(errors.CONFIG_NOT_CONFIGURED)),
    "lock": Late("edge.api.http.lock", "lock", lambda _: EdgeError(errors.LOCK_NOT_CONFIGURED)),
    "unlock": Late("edge.api.http.lock", "lock", lambda _: EdgeError(errors.LOCK_NOT_CONFIGURED)),
    "crypto": Late("edge.api.http.crypto", "crypto", lambda _: EdgeError(errors.CRYPTO_NOT_CONFIGURED)),
    "subtlecrypto": Late("edge.api.http.subtlecrypto", "crypto", lambda _: EdgeError(errors.API_UNIMPLEMENTED)),
    "conversation": Late("edge.api.http.conversation", "conversation", _no_conversation),
}
"""By the path's segment behind the version; packaging needs these modules as hidden imports."""
