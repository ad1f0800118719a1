"""WorkflowAccessPolicy: which apps may start whose workflows and activities. Once an app has a policy, what is not granted is denied.

Source: dapr pkg/acl/workflow/policy.go @1.18.3. The caller is an app of this daemon; its own calls are exempt.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edge.config.resources import Other
from edge.record import record

log = logging.getLogger("dapr.acl.workflow")
WORKFLOW, ACTIVITY = "workflow", "activity"
SCHEDULE, TERMINATE, PURGE = "schedule", "terminate", "purge"
OPERATIONS = frozenset((SCHEDULE, TERMINATE, "raise", "pause", "resume", PURGE, "get", "rerun"))
DENIED = "WorkflowAccessPolicyDenied"
DENIED_TEXT = "access denied by workflow access policy"


class PurgeDenied(Exception):
    """A child belongs to an app that does not let the parent's purge it."""

    def __init__(self, app: str) -> None:
        text = f"access denied by workflow access policy: app '{app}' cannot invoke method 'RecursivePurgeWorkflowState'"
        super().__init__(f"failed to purge cross-app child workflow: rpc error: code = PermissionDenied desc = {text}")


@record
class Grant:
    """callers may do `operation` on workflows or activities whose name matches."""

    callers: frozenset[str]
    kind: str
    operation: str
    name: re.Pattern[str]


@record
class Policy:
    """scopes: the apps that it protects, () = all."""

    scopes: tuple[str, ...]
    grants: Sequence[Grant]


@record
class Access:
    """All policies of the daemon."""

    policies: Sequence[Policy] = ()

    def allows(self, caller: str, target: str, kind: str, operation: str, name: str) -> bool:
        """`caller` may do that to the workflow or activity `name` of `target`."""
        if caller == target:
            return True
        about = [policy for policy in self.policies if not policy.scopes or target in policy.scopes]
        granted = any(_covers(grant, caller, kind, operation, name) for policy in about for grant in policy.grants)
        if about and not granted:
            log.warning(
                "workflow access policy denied app '%s' operation '%s' on %s '%s' of app '%s'", caller, operation, kind, name, target
            )
        return granted or not about


def _covers(grant: Grant, caller: str, kind: str, operation: str, name: str) -> bool:
    return (grant.kind, grant.operation) == (kind, operation) and caller in grant.callers and grant.name.fullmatch(name) is not None


def access_of(resources: Iterable[Other]) -> Access:
    """Invalid documents are left out with a warning, as daprd does."""
    policies = []
    for one in resources:
        if one.kind == "WorkflowAccessPolicy":
            try:
                policies.append(Policy(one.scopes, _grants(one.spec)))
            except ValueError as error:
                log.warning('WorkflowAccessPolicy "%s" failed validation, skipping: %s', one.name, error)
    return Access(policies)


def _grants(spec: Any) -> list[Grant]:
    rules = spec.get("rules") if isinstance(spec, Mapping) else None
    grants = []
    for rule in _list(rules, "rules"):
        callers = frozenset(_text(each, "appID", "callers") for each in _list(rule.get("callers"), "callers", least=1))
        workflows, activities = _list(rule.get("workflows"), "workflows"), _list(rule.get("activities"), "activities")
        if not workflows and not activities:
            raise ValueError("at least one of workflows or activities must contain a rule")
        for each in workflows:
            pattern = glob(_text(each, "name", "workflows"))
            grants += [Grant(callers, WORKFLOW, operation, pattern) for operation in _operations(each)]
        grants += [Grant(callers, ACTIVITY, SCHEDULE, glob(_text(each, "name", "activities"))) for each in activities]
    return grants


def _list(value: Any, name: str, least: int = 0) -> list[Any]:
    found = [] if value is None else value
    if not isinstance(found, list) or len(found) < least or not all(isinstance(each, Mapping | str) for each in found):
        raise ValueError(f"{name} must be a list" + (f" of at least {least}" if least else ""))
    return found


def _text(value: Any, field: str, where: str) -> str:
    text = value.get(field) if isinstance(value, Mapping) else None
    if not isinstance(text, str) or not text:
        raise ValueError(f"{where} need a {field}")
    return text


def _operations(workflow: Mapping[str, Any]) -> list[str]:
    operations: list[str] = _list(workflow.get("operations"), "operations", least=1)
    if wrong := [str(each) for each in operations if each not in OPERATIONS]:
        raise ValueError(f"unknown operation {wrong[0]}; there are {', '.join(sorted(OPERATIONS))}")
    return operations


def glob(pattern: str) -> re.Pattern[str]:
    """Go's path.Match as a pattern for fullmatch. Raises ValueError where that says the pattern is bad."""
    out, at = [], 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "[":
            members = re.compile(r"\^?(?:\\?[^\\\]](?:-\\?[^\\\]])?|\\.)+\]").match(pattern, at)
            if members is None:
                raise ValueError(f"bad pattern {pattern!r}")
            out.append("(?!/)[" + members[0].replace("[", "\\["))
            at = members.end()
        elif char == "\\" and at < len(pattern):
            out.append(re.escape(pattern[at]))
            at += 1
        elif char == "\\":
            raise ValueError(f"bad pattern {pattern!r}")
        else:
            out.append(re.escape(char))
    return re.compile("".join(out), re.DOTALL)
