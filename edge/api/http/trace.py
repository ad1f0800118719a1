"""The W3C trace context of a request: what the caller sent, what every answer repeats, what travels on (app, events, bindings)."""

from __future__ import annotations

import re

from edge.http1.messages import Headers
from edge.received import traceparent
from edge.record import record

NO_TRACEPARENT = "00-00000000000000000000000000000000-0000000000000000-00"
MEMBER = re.compile(
    r"[ \t]*(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{1,256}[ \t]*"
)
MOST_MEMBERS = 32


@record
class Trace:
    """The context of one request. traceparent, tracestate: "" = the caller sent none (or nonsense). baggage: as sent.

    headers: what goes on the answer; nothing when tracing is off: then a call to the app passes the caller's headers as they are.
    """

    traceparent: str = ""
    tracestate: str = ""
    baggage: str = ""
    headers: tuple[tuple[str, str], ...] = (("traceparent", NO_TRACEPARENT),)

    def metadata(self) -> dict[str, str]:
        """What there is of it, by name."""
        found = {"traceparent": self.traceparent, "tracestate": self.tracestate, "baggage": self.baggage}
        return {name: value for name, value in found.items() if value}


NO_TRACE = Trace()
UNTRACED = Trace(headers=())


def untraced(headers: Headers) -> Trace:
    """The same when tracing is off."""
    found = of(headers)
    return UNTRACED if found is NO_TRACE else Trace(found.traceparent, found.tracestate, found.baggage, ())


def of(headers: Headers) -> Trace:
    """The trace context in a request's headers (a shared one when there is none)."""
    parent, baggage = headers.get("traceparent"), headers.get("baggage")
    if parent is None and baggage is None:
        return NO_TRACE
    parent = traceparent(parent or "")
    state = _tracestate(headers) if parent else ""
    baggage = ",".join(headers.get_all("baggage")) if baggage else ""
    answer = [("traceparent", parent or NO_TRACEPARENT)]
    if state:
        answer.append(("tracestate", state))
    if baggage:
        answer.append(("baggage", baggage))
    return Trace(parent, state, baggage, tuple(answer))


def _tracestate(headers: Headers) -> str:
    """W3C Trace Context §3.3: a wrong list is as good as none."""
    text = ",".join(headers.get_all("tracestate"))
    members = [member for member in text.split(",") if member.strip()]
    keys = {member.partition("=")[0].strip() for member in members}
    good = len(keys) == len(members) <= MOST_MEMBERS and all(MEMBER.fullmatch(member) for member in members)
    return text if good else ""
