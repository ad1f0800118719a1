"""How an HTTP app's answer to an event is read (app-channel.md §5.3, §5.5). Texts are daprd's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from edge import gojson
from edge.app import Delivery
from edge.goscanner import JsonError
from edge.model import Status, TopicEvent

SUCCESS = Delivery(Status.SUCCESS, code=200)
PLAIN_SUCCESS = frozenset((b"", b'{"status":"SUCCESS"}', b'{"status": "SUCCESS"}', b"{}"))
RETRIABLE = "retriable error occurred"


def verdict(status: int, body: bytes, event: TopicEvent) -> Delivery:
    """The app's verdict on one event."""
    if 200 <= status <= 299:
        return SUCCESS if body in PLAIN_SUCCESS else _by_status(_status_of(body), event, status)
    id_ = event.event.get("id")
    text = body.decode("utf-8", "replace")
    if status == 404:
        reason = f"non-retriable error returned from app while processing pub/sub event {id_}: {text}. status code returned: 404"
        return Delivery(Status.DROP, reason, code=404)
    what = f"pub/sub event {id_}, topic: {event.event.get('topic', '<nil>')}, body: {text}"
    reason = f"retriable error returned from app while processing {what}. status code returned: {status}"
    return Delivery(Status.RETRY, reason, code=status)


def _by_status(status: str, event: TopicEvent, code: int) -> Delivery:
    id_ = event.event.get("id")
    match status:
        case "" | "SUCCESS":
            return SUCCESS
        case "RETRY":
            return Delivery(Status.RETRY, f"RETRY status returned from app while processing pub/sub event {id_}: {RETRIABLE}")
        case "DROP":
            return Delivery(Status.DROP, f"DROP status returned from app while processing pub/sub event {id_}", code=code)
        case _:
            reason = f"unknown status returned from app while processing pub/sub event {id_}, status: {status}, err: {RETRIABLE}"
            return Delivery(Status.RETRY, reason)


def field(value: Mapping[str, Any], name: str) -> Any:
    """A member as Go's decoder finds it: any case, the last one wins; None when absent."""
    found = None
    for key, item in value.items():
        if key == name or key.lower() == name.lower():
            found = item
    return found


def _status_of(body: bytes) -> str:
    """The text of `status`; "" for anything that is no such object."""
    try:
        answer = gojson.parse(body, stream=True)
    except JsonError:
        return ""
    status = field(answer, "status") if isinstance(answer, dict) else None
    return status if isinstance(status, str) else ""


def bulk_verdicts(status: int, body: bytes, entry_ids: Iterable[str], topic: str) -> dict[str, Delivery]:
    """The app's verdict on each entry of a batch."""
    ids = list(entry_ids)
    if status == 404:
        reason = "Non-retriable error returned from app while processing bulk pub/sub event. status code returned: 404"
        return dict.fromkeys(ids, Delivery(Status.DROP, reason, dead_letter=False, code=404))
    if not 200 <= status <= 299:
        reason = f"Retriable error returned from app while processing bulk pub/sub event, topic: {topic}. status code returned: {status}"
        return dict.fromkeys(ids, Delivery(Status.RETRY, reason, code=status))
    try:
        answers = _bulk_statuses(body)
    except JsonError as error:
        return dict.fromkeys(ids, Delivery(Status.RETRY, f"failed unmarshalling app response for bulk subscribe: {error}"))
    return {id_: _bulk_verdict(id_, answers.get(id_)) for id_ in ids}


def _bulk_statuses(body: bytes) -> dict[str, str]:
    answer = gojson.parse_object(body, stream=True)
    statuses = field(answer, "statuses")
    if statuses is None:
        return {}
    if not isinstance(statuses, list) or not all(isinstance(item, dict) for item in statuses):
        raise JsonError("statuses is no list of objects")
    pairs = [(field(item, "entryId"), field(item, "status")) for item in statuses]
    if not all(isinstance(part, str | None) for pair in pairs for part in pair):
        raise JsonError("entryId and status must be strings")
    return {id_ or "": status or "" for id_, status in pairs}


def _bulk_verdict(id_: str, status: str | None) -> Delivery:
    match status:
        case "SUCCESS":
            return SUCCESS
        case "DROP":
            return Delivery(Status.DROP, f"DROP status returned from app while processing pub/sub event {id_}", code=200)
        case None:
            text = f"response not received, RETRY required while processing bulk subscribe event for entry id: {id_}"
        case "" | "RETRY":
            text = f"RETRY required while processing bulk subscribe event for entry id: {id_}"
        case _:
            text = f"unknown status returned from app while processing bulk subscribe event {id_}: {status}"
    return Delivery(Status.RETRY, text)
