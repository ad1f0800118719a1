"""`spec.metric.rules`: regular expressions that rewrite the labels of a metric. Imported where there are any.

Source: dapr pkg/diagnostics/utils/metrics_utils.go @1.18.3.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from edge.config.configuration import MetricRule
from edge.telemetry.families import FAMILIES
from edge.telemetry.metrics import Labels, Rules

GROUP = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})")


class RuleError(ValueError):
    """A rule can't be used; the text says which."""


def rules_of(rules: Sequence[MetricRule]) -> Rules:
    """What the rules do. Raises RuleError for a pattern that is none."""
    known: dict[tuple[str, str], list[tuple[re.Pattern[str], str]]] = {}
    for rule in rules:
        family = _spelled(rule.name.replace("dapr_", "", 1))
        for label in rule.labels:
            known[family, label.name] = [(_pattern(rule.name, label.name, text), _template(by)) for by, text in label.regex.items()]

    def apply(family: str, labels: Labels) -> Labels:
        names = FAMILIES[family].labels
        spelled = _spelled(family)
        if not any((spelled, name) in known for name in names):
            return labels
        return tuple(_rewritten(value, known.get((spelled, name), ())) for name, value in zip(names, labels, strict=True))

    return apply


def _spelled(name: str) -> str:
    return name.replace("/", "_")


def _rewritten(value: str, rules: Sequence[tuple[re.Pattern[str], str]]) -> str:
    for pattern, by in rules:
        value = pattern.sub(by, value) if value else value
    return value


def _pattern(rule: str, label: str, text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise RuleError(f"spec.metric.rules: {rule}: label {label}: {text!r} is no regular expression: {error}") from None


def _template(text: str) -> str:
    """Go's `$1` and `${name}` as Python writes them."""
    escaped = text.replace("\\", "\\\\")
    return GROUP.sub(lambda found: "$" if found[0] == "$$" else f"\\g<{found[1] or found[2]}>", escaped)
