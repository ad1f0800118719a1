"""References between resources: names that do not exist. Dapr takes them silently, so each is a warning with its file and line."""

from __future__ import annotations

from collections.abc import Sequence

from edge.config.resources import Component, Declared, HttpEndpoint
from edge.spec import Problem, near

WORDS = {"pubsub": "pub/sub component", "secretstores": "secret store"}
OUTBOX = ("outboxpublishpubsub", "outboxpubsub")


def references(components: Sequence[Component], subscriptions: Sequence[Declared], endpoints: Sequence[HttpEndpoint]) -> list[Problem]:
    """What names a pub/sub component or secret store that is not there."""
    kinds = {component.name: component.kind for component in components}
    named = [(item.subscription.pubsub, "pubsub", f"subscription {item.name} is for pubsub", item.where) for item in subscriptions]
    users: list[Component | HttpEndpoint] = [*components, *endpoints]
    named += [(user.secret_store, "secretstores", f"{user.name} takes its secrets from", user.where) for user in users]
    named += [found for component in components for found in _outbox(component)]
    return [_missing(*each, kinds) for each in named if each[0] and kinds.get(each[0]) != each[1]]


def _outbox(component: Component) -> list[tuple[str, str, str, str]]:
    return [
        (entry.value, "pubsub", f"{entry.name} of {component.name} is", component.at(entry.name))
        for entry in component.metadata
        if component.kind == "state" and entry.name.lower() in OUTBOX and entry.value
    ]


def _missing(name: str, kind: str, what: str, where: str, kinds: dict[str, str]) -> Problem:
    names = {known.lower(): known for known, of in kinds.items() if of == kind}
    return Problem(f"{what} {name}, but there is no such {WORDS[kind]}{near(name, names)}", fatal=False, where=where)
