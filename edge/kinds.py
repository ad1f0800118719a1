"""Metadata fields that belong to a kind of component, not to one type: the runtime reads them, every component of the kind has them."""

from __future__ import annotations

from collections.abc import Mapping

from edge.record import record
from edge.spec import Duration, Size, meta

DURABILITY = "When a message counts as accepted, where a broker acknowledges: on disk or with the broker, on disk, with the broker."


@record
class StateFields:
    """Of every `state.*`."""

    key_prefix: str = meta("appid", doc="How keys are prefixed: `appid`, `name`, `namespace`, `none`, or a text of your own.")
    actor_state_store: bool = meta(False, doc="Keeps the state of actors and workflows; one store per daemon.")
    primary_encryption_key: str = meta("", doc="Hex key that values are encrypted with.", sensitive=True)
    secondary_encryption_key: str = meta("", doc="Hex key of older values.", sensitive=True)
    outbox_publish_pubsub: str = meta("", doc="Outbox: the pub/sub component that gets an event per changed key.")
    outbox_publish_topic: str = meta("", doc="Outbox: its topic.")
    outbox_pubsub: str = meta("", doc="Outbox: the pub/sub component of the internal topic.")
    outbox_discard_when_missing_state: bool = meta(False, doc="Outbox: drop an internal message whose transaction was not committed.")


WHEN_FULL = (
    "Journal, when a limit is reached: `reject` (HTTP 507, gRPC RESOURCE_EXHAUSTED; inbound: the broker keeps it), `drop-oldest`, "
    "`drop-newest`, `keep-last` (always only the newest of a topic), `downsample` (from half full on one of ten, then drop-oldest)."
)
TOPICS = (
    "Journal, for topics (MQTT filters) with limits of their own: `filter=option:value,…;filter=…`; options maxMessages, maxBytes, maxAge, "
    "whenFull, every (downsample keeps one of so many) and priority (higher is sent first)."
)
DEDUPE = "Window in which an event with a known source and id is taken once, in and out (everything is written to disk then); 0 = off."


@record
class JournalFields:
    """Of every component whose messages the journal keeps (edge/journal/keeping.py). Limits hold for each direction; 0 = none."""

    durability: str = meta("either", doc=DURABILITY, choices=("either", "journal", "broker"))
    journal_max_messages: int = meta(0, doc="Journal: most messages that wait for the broker, or for an app.", least=0)
    journal_max_bytes: Size = meta(Size(0), doc="Journal: most bytes that wait.", least=0)
    journal_max_age: Duration = meta(Duration(0), doc="Journal: how long a message may wait, in time that the device is up.", least=0)
    journal_when_full: str = meta("reject", doc=WHEN_FULL, choices=("reject", "drop-oldest", "drop-newest", "keep-last", "downsample"))
    journal_topics: str = meta("", doc=TOPICS, example="alarms/#=priority:9;telemetry/#=whenFull:keep-last")
    journal_rate: float = meta(0.0, doc="Journal: most messages of a backlog that are sent in a second; 0 = no limit.", least=0)
    dedupe: Duration = meta(Duration(0), doc=DEDUPE, least=0)


@record
class PubSubFields(JournalFields):
    """Of every `pubsub.*`."""

    consumer_id: str = meta("", name="consumerID", doc="Identity towards the broker (group, client id); default: the app id.")
    publishing_scopes: str = meta("", doc="Topics an app may publish: `app1=t1,t2;app2=`.")
    subscription_scopes: str = meta("", doc="Topics an app may subscribe, written the same way.")
    allowed_topics: tuple[str, ...] = meta((), doc="If given, no other topic can be used.")
    protected_topics: tuple[str, ...] = meta((), doc="Topics only for apps that a scope names for them.")


@record
class BindingFields(JournalFields):
    """Of every `bindings.*`."""

    direction: str = meta("", doc="`input`, `output` or both, comma separated; empty = what the type can and the app wants.")
    route: str = meta("", doc="Path of the app that gets input events; default: the component's name.")


@record
class LockFields:
    """Of every `lock.*`."""

    key_prefix: str = meta("appid", doc="How resource names are prefixed: `appid`, `name`, `none`, or a text of your own.")


@record
class NoFields:
    """Of the other kinds."""


FIELDS: Mapping[str, type] = {"state": StateFields, "pubsub": PubSubFields, "bindings": BindingFields, "lock": LockFields}


def fields_of(kind: str) -> type:
    """The spec of a kind's common fields; kind: `state` of `state.sqlite`."""
    return FIELDS.get(kind, NoFields)
