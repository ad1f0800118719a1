"""A request body that is protobuf-JSON (marked *pj* in http-api.md): its fields, or the refusal that daprd gives."""

from __future__ import annotations

from typing import Any

from edge import errors, protojson
from edge.api.http.call import Call
from edge.errors import EdgeError
from edge.goscanner import JsonError
from edge.http1.messages import BodyTooLarge
from edge.protojson import Message


async def fields(call: Call, message: Message) -> dict[str, Any]:
    """The fields that are there, by JSON name; an empty body has none. Raises EdgeError BODY_READ, MALFORMED_REQUEST."""
    try:
        return protojson.decode(await call.body(), message)
    except BodyTooLarge as error:
        raise EdgeError(errors.BODY_READ, error=error) from None
    except JsonError as error:
        raise EdgeError(errors.MALFORMED_REQUEST, error=error) from None
