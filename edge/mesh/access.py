"""Access control for invocation: by the caller's identity, the method and the verb, decided where the app is.

Source: dapr pkg/acl/acl.go, pkg/config/acl_trie.go @1.18.3; differs: in one daemon the caller is known without certificates.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from edge.config.configuration import AccessControl, AppOperation, AppPolicy
from edge.errors import ComponentError
from edge.identity.spiffe import Identity

ALLOW, DENY = "allow", "deny"
ANY_LAST, ANY_DEPTH = "/*", "/**"
NO_VERB = "NONE"


class AccessError(ComponentError):
    """The specification can't be used; the text is daprd's."""


class _Node:
    """One segment of the operations' paths (`/orders`, `/*`, `/**`, `/a*`), in the order they were written."""

    __slots__ = ("action", "children", "segment")

    def __init__(self, segment: str) -> None:
        self.segment = segment
        self.action: AppOperation | None = None
        self.children: list[_Node] = []

    def put(self, segments: Sequence[str], operation: AppOperation) -> None:
        """The first operation of a path stays."""
        node = self
        for segment in segments:
            found = next((child for child in node.children if child.segment == segment), None)
            if found is None:
                found = _Node(segment)
                node.children.append(found)
            node = found
        if node.action is None:
            node.action = operation

    def find(self, segments: Sequence[str]) -> AppOperation | None:
        """The operation that covers a path."""
        node: _Node | None = self
        for at, segment in enumerate(segments):
            last = at == len(segments) - 1
            node = node._child(segment, last) if node is not None else None
            if node is None:
                return None
            if node.action is not None:
                if not last and node.segment.endswith(ANY_LAST):
                    continue
                return node.action
            if last:
                node = node._child(ANY_LAST, last)
                return node.action if node is not None else None
        return None

    def _child(self, segment: str, last: bool) -> _Node | None:
        for child in self.children:
            if child.segment == segment or child.segment == ANY_DEPTH:
                return child
            if child.segment == ANY_LAST:
                if last:
                    return child
            elif "*" in child.segment and re.fullmatch(".*".join(map(re.escape, child.segment.split("*"))), segment, re.DOTALL):
                return child
        return None


class AccessList:
    """What the callee's configuration says of its callers. http: the app speaks HTTP (verbs count, paths in any case)."""

    def __init__(self, spec: AccessControl, *, http: bool) -> None:
        """Raises AccessError."""
        self._http = http
        policies = spec.policies or ()
        self._default = spec.default_action.lower()
        if not self._default:
            unsaid = spec.policies is None and not spec.trust_domain
            self._default = ALLOW if unsaid or spec.policies == () else DENY
        self._policies: dict[tuple[str, str], tuple[AppPolicy, _Node]] = {}
        _check(policies)
        for policy in policies:
            root = _Node("/")
            for operation in policy.operations:
                root.put(_segments(operation.name, lower=http), operation)
            self._policies[policy.app_id, policy.namespace] = (policy, root)

    @property
    def open(self) -> bool:
        """Everybody may call everything."""
        return self._default == ALLOW and not self._policies

    def names(self, caller: Identity) -> bool:
        """A policy is there for this caller; else the default decides."""
        found = self._policies.get((caller.app_id, caller.namespace))
        return found is not None and found[0].trust_domain == caller.trust_domain

    def denied(self, caller: Identity | None, method: str, verb: str) -> str | None:
        """Why this call must not be made; None: it may. method: normalised. verb: `NONE` where there is none."""
        if self._allows(caller, method, verb):
            return None
        who = caller.url if caller is not None else ""
        return f"access control policy has denied access to id: {who} operation: {method} verb: {verb}"

    def _allows(self, caller: Identity | None, method: str, verb: str) -> bool:
        if caller is None or not self.names(caller):
            return self._default == ALLOW
        policy, root = self._policies[caller.app_id, caller.namespace]
        action = policy.default_action or self._default
        operation = root.find(_segments(method, lower=self._http))
        if operation is not None:
            action = self._of_verb(operation, verb, policy, action)
        return action.lower() == ALLOW

    def _of_verb(self, operation: AppOperation, verb: str, policy: AppPolicy, action: str) -> str:
        if not self._http:
            return operation.action
        if verb == NO_VERB:
            return policy.default_action
        return operation.action if verb in operation.http_verb or "*" in operation.http_verb else action


def _segments(path: str, *, lower: bool) -> list[str]:
    path = path.lower() if lower else path
    return [f"/{part}" for part in path.removeprefix("/").split("/")]


def _check(policies: Sequence[AppPolicy]) -> None:
    no_domain = [policy.app_id for policy in policies if not policy.trust_domain]
    no_namespace = [policy.app_id for policy in policies if not policy.namespace]
    no_name = any(not policy.app_id for policy in policies)
    if no_domain or no_namespace or no_name:
        raise AccessError(
            f"invalid access control spec. missing trustdomain for apps: [{' '.join(no_domain)}], missing namespace for apps: "
            f"[{' '.join(no_namespace)}], missing app name on at least one of the app policies: {str(no_name).lower()}"
        )
