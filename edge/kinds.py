"""Metadata fields that belong to a kind of component, not to one type: the runtime reads them, every component of the kind has them."""

from __future__ import annotations

from collections.abc import Mapping

from edge.record import record
from edge.spec import meta

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


@record
class PubSubFields:
    """Of every `pubsub.*`."""

    consumer_id: str = meta("", name="consumerID", doc="Identity towards the broker (group, client id); default: the app id.")
    publishing_scopes: str = meta("", doc="Topics an app may publish: `app1=t1,t2;app2=`.")
    subscription_scopes: str = meta("", doc="Topics an app may subscribe, written the same way.")
    allowed_topics: tuple[str, ...] = meta((), doc="If given, no other topic can be used.")
    protected_topics: tuple[str, ...] = meta((), doc="Topics only for apps that a scope names for them.")
    durability: str = meta("either", doc=DURABILITY, choices=("either", "journal", "broker"))


@record
class BindingFields:
    """Of every `bindings.*`."""

    direction: str = meta("", doc="`input`, `output` or both, comma separated; empty = what the type can and the app wants.")
    route: str = meta("", doc="Path of the app that gets input events; default: the component's name.")
    durability: str = meta("either", doc=DURABILITY, choices=("either", "journal", "broker"))


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
