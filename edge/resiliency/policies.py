"""Which policy applies to a target: its own entry, else the defaults by name, else nothing. Breakers live here.

Source: dapr pkg/resiliency/resiliency.go; resources in Dapr's resiliency docs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edge.record import record
from edge.resiliency.breaker import Breaker, BreakerSettings
from edge.resiliency.policy import Observer, Policy
from edge.resiliency.retry import Retry

BUILT_IN: Mapping[str, Retry] = {
    "DaprBuiltInServiceRetries": Retry(duration=1.0, max_retries=3),
    "DaprBuiltInActorRetries": Retry(duration=1.0, max_retries=3),
    "DaprBuiltInActorReminderRetries": Retry(exponential=True, max_retries=0),
    "DaprBuiltInActorNotFoundRetries": Retry(duration=1.0, max_retries=5),
    "DaprBuiltInInitializationRetries": Retry(exponential=True, max_interval=1.0, max_retries=3, max_elapsed=10.0),
}
PROTECTED = "DaprBuiltInActorNotFoundRetries"
FEWEST_BUILT_IN = 3
KIND_WORDS = {
    "state": "Statestore",
    "pubsub": "Pubsub",
    "bindings": "Binding",
    "secretstores": "Secretstore",
    "configuration": "Configuration",
    "lock": "Lock",
    "crypto": "Crypto",
    "conversation": "Conversation",
}


@record
class PolicyNames:
    """Names of policies, "" = none."""

    timeout: str = ""
    retry: str = ""
    circuit_breaker: str = ""


@record
class AppTarget(PolicyNames):
    """cache_size: breakers kept, one per address."""

    cache_size: int = 100


@record
class ActorTarget(PolicyNames):
    """scope: `type`, `id` or `both` (one breaker per type, or per actor)."""

    scope: str = ""
    cache_size: int = 5000


@record
class ComponentTarget:
    inbound: PolicyNames = PolicyNames()
    outbound: PolicyNames = PolicyNames()


@dataclass(slots=True)
class Rules:
    """Everything that Resiliency resources say, merged in load order."""

    timeouts: dict[str, float] = field(default_factory=dict)
    retries: dict[str, Retry] = field(default_factory=lambda: dict(BUILT_IN))
    breakers: dict[str, BreakerSettings] = field(default_factory=dict)
    apps: dict[str, AppTarget] = field(default_factory=dict)
    actors: dict[str, ActorTarget] = field(default_factory=dict)
    components: dict[str, ComponentTarget] = field(default_factory=dict)


class Policies:
    """The policies of one app's sidecar."""

    def __init__(self, rules: Rules | None = None, observer: Observer | None = None) -> None:
        self._rules, self._observer = rules or Rules(), observer
        self._components: dict[tuple[str, str, str], Policy | None] = {}
        self._component_breakers: dict[str, Breaker] = {}
        self._breakers: dict[tuple[str, str], OrderedDict[str, Breaker]] = {}
        self._default_names: dict[tuple[str, ...], PolicyNames] = {}
        own = self._rules
        self._idle = not (own.timeouts or own.breakers or own.retries.keys() - BUILT_IN.keys() or own.apps or own.actors)

    def component(self, name: str, kind: str, direction: str) -> Policy | None:
        """Of a component; kind: `state`, `pubsub`…; direction: `outbound` or `inbound`. None = call it directly."""
        key = (name, kind, direction)
        if key not in self._components:
            self._components[key] = self._component(name, KIND_WORDS.get(kind, kind.capitalize()), direction)
        return self._components[key]

    def outbound(self, kind: str) -> Callable[[str], Policy | None]:
        """`component` of one kind and direction, as a block takes it."""
        return lambda name: self.component(name, kind, "outbound")

    def inbound(self, kind: str) -> Callable[[str], Policy | None]:
        """The same for calls from a component to the app."""
        return lambda name: self.component(name, kind, "inbound")

    def app(self, app_id: str, endpoint: str) -> Policy | None:
        """Of invocations of an app or HTTPEndpoint at an address; None = neither an own entry nor defaults."""
        if self._idle:
            return None
        target = self._rules.apps.get(app_id)
        names = target or self._defaults("App")
        breaker = self._cached("app", app_id, endpoint, names.circuit_breaker, target.cache_size if target else 100)
        return self._policy(f"endpoint[{app_id}, {endpoint}]", names, breaker, target=f"app_{app_id}", direction="outbound")

    def has_app(self, app_id: str) -> bool:
        """The app has an entry of its own: the built-in service retries do not apply."""
        return app_id in self._rules.apps

    def actor_before(self, type_: str, id_: str) -> Policy | None:
        """Retry and breaker, around waiting for the actor's turn."""
        if self._idle:
            return None
        target = self._rules.actors.get(type_)
        names = target or self._defaults("Actor")
        key = type_ if target is None or target.scope == "type" else f"{type_}-{id_}"
        breaker = self._cached("actor", type_, key, names.circuit_breaker, target.cache_size if target else 100)
        names = PolicyNames(retry=names.retry, circuit_breaker=names.circuit_breaker)
        return self._policy(f"actor[{type_}, {id_}]", names, breaker, target=f"actor_{type_}", direction="outbound")

    def actor_after(self, type_: str, id_: str) -> Policy | None:
        """The timeout, inside the turn."""
        if self._idle:
            return None
        names = PolicyNames(timeout=(self._rules.actors.get(type_) or self._defaults("Actor")).timeout)
        return self._policy(f"actor[{type_}, {id_}]", names, None, target=f"actor_{type_}", direction="outbound")

    def built_in(self, name: str) -> Policy:
        """One of Dapr's built-in retries (`DaprBuiltInServiceRetries`…), as resources changed it."""
        return Policy(name, retry=self._rules.retries[name])

    def _component(self, name: str, word: str, direction: str) -> Policy | None:
        target = self._rules.components.get(name)
        if target is not None:
            names = target.inbound if direction == "inbound" else target.outbound
        else:
            names = self._defaults(f"{word}Component{direction.capitalize()}", f"Component{direction.capitalize()}", "Component")
        breaker = None
        if settings := self._rules.breakers.get(names.circuit_breaker):
            breaker = self._component_breakers.setdefault(name, Breaker(f"{names.circuit_breaker}-{name}", settings))
        word_of = "input" if direction == "inbound" else "output"
        return self._policy(f"component[{name}] {word_of}", names, breaker, target=f"{word}_{name}", direction=direction)

    def _policy(self, name: str, names: PolicyNames, breaker: Breaker | None, **about: Any) -> Policy | None:
        timeout = self._rules.timeouts.get(names.timeout, 0.0)
        retry = self._rules.retries.get(names.retry)
        if timeout <= 0 and retry is None and breaker is None:
            return None
        return Policy(name, timeout, retry, breaker, observer=self._observer, **about)

    def _defaults(self, *levels: str) -> PolicyNames:
        """The policies named `Default<level><Kind>Policy`, each kind by itself, the most specific level first."""

        def first(kind: str, known: Mapping[str, Any]) -> str:
            names = [f"Default{level}{kind}Policy" for level in (*levels, "")]
            return next((name for name in names if name in known), "")

        rules = self._rules
        if (found := self._default_names.get(levels)) is None:
            kinds = (("Timeout", rules.timeouts), ("Retry", rules.retries), ("CircuitBreaker", rules.breakers))
            found = self._default_names[levels] = PolicyNames(*(first(kind, known) for kind, known in kinds))
        return found

    def _cached(self, group: str, owner: str, key: str, name: str, size: int) -> Breaker | None:
        settings = self._rules.breakers.get(name)
        if settings is None:
            return None
        cache = self._breakers.setdefault((group, owner), OrderedDict())
        if (breaker := cache.get(key)) is None:
            breaker = cache[key] = Breaker(key, settings)
            while len(cache) > size:
                cache.popitem(last=False)
        cache.move_to_end(key)
        return breaker
