"""Configuration routes (http-api.md §10), under `/v1.0` and `/v1.0-alpha1` alike."""

from __future__ import annotations

from edge import errors
from edge.api.http import answers
from edge.api.http.call import Call
from edge.api.http.router import Route
from edge.blocks.configuration import ConfigurationService
from edge.errors import EdgeError
from edge.http1.messages import Response


def _service(call: Call) -> ConfigurationService:
    service: ConfigurationService = call.blocks.configuration
    return service


async def get(call: Call) -> Response:
    items = await _service(call).get(call.app, call.params[0], call.arguments("key"), call.metadata())
    if not items:
        return Response(204)
    return answers.json({key: items[key].shown() for key in sorted(items)})


async def subscribe(call: Call) -> Response:
    try:
        id_ = await _service(call).subscribe_app(call.app, call.params[0], call.arguments("key"), call.metadata())
    except EdgeError as error:
        if error.code is not errors.APP_CHANNEL_NIL:
            raise
        return answers.json({"errorCode": error.code.tag, "message": error.message}, error.http)  # the one error with a line end
    return answers.json({"id": id_})


async def unsubscribe(call: Call) -> Response:
    store, id_ = call.params
    _service(call).part(call.app, store)
    if await _service(call).unsubscribe(call.app, id_):
        return answers.json({"ok": True})
    problem = f"failed to unsubscribe to configuration request {id_}: subscription with id {id_} does not exist"
    return answers.json({"message": problem}, 500)


ROUTES = [
    route
    for version in ("v1.0", "v1.0-alpha1")
    for route in (
        Route(("GET",), f"/{version}/configuration/{{store}}", get, "configuration", "GetConfiguration"),
        Route(("GET",), f"/{version}/configuration/{{store}}/subscribe", subscribe, "configuration", "SubscribeConfiguration"),
        Route(("GET",), f"/{version}/configuration/{{store}}/{{id}}/unsubscribe", unsubscribe, "configuration", "UnsubscribeConfiguration"),
    )
]
