"""The resiliency policies of each app's sidecar, as blocks ask for them: by the calling app and a component's name."""

from __future__ import annotations

from collections.abc import Callable

from edge.app import App
from edge.blocks.retries import PolicyOf
from edge.resiliency import Observer, Policies, Policy, Rules


class AppPolicies:
    """`Policies` by app, made at the app's first call; breakers live as long as this.

    rules_of: the rules of an app by its id. observer: makes what counts what the policies of an app do.
    """

    def __init__(self, rules_of: Callable[[str], Rules], observer: Callable[[App], Observer] | None = None) -> None:
        self._rules_of, self._observer = rules_of, observer
        self._made: dict[str, Policies] = {}

    def of(self, app: App) -> Policies:
        """The policies of one app's sidecar."""
        found = self._made.get(app.id)
        if found is None:
            found = self._made[app.id] = Policies(self._rules_of(app.id), self._observer(app) if self._observer is not None else None)
        return found

    def outbound(self, kind: str) -> PolicyOf:
        """For calls of components of a kind (`state`, `pubsub`…)."""
        return self._component(kind, "outbound")

    def inbound(self, kind: str) -> PolicyOf:
        """For calls that components of a kind make to the app."""
        return self._component(kind, "inbound")

    def _component(self, kind: str, direction: str) -> PolicyOf:
        def policy_of(app: App, name: str) -> Policy | None:
            return self.of(app).component(name, kind, direction)

        return policy_of
