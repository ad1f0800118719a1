"""Lock routes (alpha; http-api.md §11)."""

from __future__ import annotations

from edge.api.http import answers, protobody
from edge.api.http.call import Call
from edge.api.http.router import Route
from edge.blocks.lock import LockService
from edge.http1.messages import Response
from edge.protojson import INT32, STRING, Message

NAMES = {"storeName": STRING, "resourceId": STRING, "lockOwner": STRING}
TRY_LOCK = Message({**NAMES, "expiryInSeconds": INT32})
UNLOCK = Message(NAMES)


def _service(call: Call) -> LockService:
    service: LockService = call.blocks.lock
    return service


async def try_lock(call: Call) -> Response:
    given = await protobody.fields(call, TRY_LOCK)
    resource, owner = given.get("resourceId", ""), given.get("lockOwner", "")
    taken = await _service(call).try_lock(call.app, call.params[0], resource, owner, given.get("expiryInSeconds", 0))
    return answers.data(b'{"success":%b}' % (b"true" if taken else b"false"))


async def unlock(call: Call) -> Response:
    """The status is a number, as SDKs expect it."""
    given = await protobody.fields(call, UNLOCK)
    status = await _service(call).unlock(call.app, call.params[0], given.get("resourceId", ""), given.get("lockOwner", ""))
    return answers.data(b'{"status":%d}' % status)


ROUTES = [
    Route(("POST",), "/v1.0-alpha1/lock/{store}", try_lock, "lock", "TryLock"),
    Route(("POST",), "/v1.0-alpha1/unlock/{store}", unlock, "unlock", "Unlock"),
]
