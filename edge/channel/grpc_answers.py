"""How a gRPC app's answers are read (app-channel.md §5.4, §5.5). Texts are daprd's."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Any

from google.protobuf.message import DecodeError

from edge.app import Delivery
from edge.errors import Grpc, go_name
from edge.model import Status
from edge.rpc.pb import status_pb2
from edge.rpc.pb.pool import POOL
from edge.rpc.reply import Answer
from edge.rpc.status import RpcError

log = logging.getLogger("dapr.runtime.processor.pubsub.subscription.grpc")
SUCCESS = Delivery(Status.SUCCESS)
RETRIABLE = "retriable error occurred"
UNREADABLE = "grpc: failed to unmarshal the received message: proto: cannot parse invalid wire-format data"
DIALING = 'connection error: desc = "transport: Error while dialing: '


def wording(error: RpcError) -> str:
    """An error status as grpc-go prints it."""
    return f"rpc error: code = {go_name(error.code)} desc = {error.message}"


def unreachable(error: RpcError) -> bool:
    """There was no connection: the app has not seen the call."""
    return error.code == Grpc.UNAVAILABLE and error.message.startswith(DIALING)


def read(kind: Any, answer: Answer) -> Any:
    """The app's answer as a message of `kind`. Raises RpcError, as grpc-go does, when it is none."""
    try:
        return kind.FromString(answer.message)
    except DecodeError:
        raise RpcError(Grpc.INTERNAL, UNREADABLE) from None


def verdict(status: int, id_: object) -> Delivery:
    """The app's verdict on one event. status: a TopicEventResponseStatus, known or not."""
    match status:
        case 0:
            return SUCCESS
        case 1:
            return Delivery(Status.RETRY, f"RETRY status returned from app while processing pub/sub event {id_}: {RETRIABLE}")
        case 2:
            return Delivery(Status.DROP, f"DROP status returned from app while processing pub/sub event {id_}")
        case _:
            reason = f"unknown status returned from app while processing pub/sub event {id_}, status: {status}, err: {RETRIABLE}"
            return Delivery(Status.RETRY, reason)


def bulk_verdicts(response: Any, entry_ids: Iterable[str]) -> dict[str, Delivery]:
    """Verdicts by entry id; an entry that the app did not answer is to be tried again."""
    found: dict[str, Delivery] = {}
    ids = list(entry_ids)
    for entry in response.statuses:
        if entry.entry_id in ids:
            found[entry.entry_id] = _bulk_verdict(entry.status, entry.entry_id)
        else:
            log.warning("Invalid entry id received from app while processing pub/sub event %s", entry.entry_id)
    for id_ in ids:
        if id_ not in found:
            text = f"response not received, RETRY required while processing bulk subscribe event for entry id: {id_}"
            found[id_] = Delivery(Status.RETRY, text)
    return found


def _bulk_verdict(status: int, id_: str) -> Delivery:
    match status:
        case 0:
            return SUCCESS
        case 1:
            return Delivery(Status.RETRY, f"RETRY status returned from app while processing pub/sub event for entry id: {id_}")
        case 2:
            return Delivery(Status.DROP, f"DROP status returned from app while processing pub/sub event for entry id: {id_}")
        case _:
            return Delivery(Status.RETRY, f"unknown status returned from app while processing pub/sub event  for entry id {id_}: {status}")


def status_json(error: RpcError) -> bytes:
    """An error status as HTTP callers get it: protojson of code, message and those details whose types are known here."""
    found: dict[str, Any] = {"code": error.code} if error.code else {}
    if error.message:
        found["message"] = error.message
    if error.details:
        from google.protobuf import json_format  # only for an answer that has details

        details = []
        for detail in status_pb2.Status.FromString(error.details).details:
            try:
                details.append(json_format.MessageToDict(detail, descriptor_pool=POOL))
            except (TypeError, KeyError, json_format.Error):
                log.debug("a detail of type %s has no form in JSON here", detail.type_url)
        if details:
            found["details"] = details
    return json.dumps(found, ensure_ascii=False, separators=(", ", ":")).encode("utf-8", "replace")
