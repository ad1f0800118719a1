"""docs/conformance.md from a run of the suites: `pytest tests/conformance --write-conformance docs/conformance.md`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge import registry
from edge.component import Feature, InputBinding, OutputBinding

HEAD = """# Conformance

Written by a run of the suites against real servers, not by hand:

    .venv/bin/python -m pytest tests/conformance --write-conformance docs/conformance.md

One suite per kind runs over every component of the catalogue (`edged components list`). ✓ kept, ✗ broken, – does not apply: the
component does not claim it, or daprd's does it in another way (`tests/conformance/*.py` say which). A component without a column in its
kind's table was not run by that suite: take it as experimental.
"""
MARKS = {"passed": "✓", "failed": "✗", "skipped": "–"}


@dataclass
class Run:
    """Outcomes by kind, scenario and component."""

    outcomes: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)

    def add(self, kind: str, scenario: str, component: str, outcome: str) -> None:
        """The worst of several runs of the same counts."""
        cells = self.outcomes.setdefault(kind, {}).setdefault(scenario, {})
        if cells.get(component) != "failed" and not (cells.get(component) == "passed" and outcome == "skipped"):
            cells[component] = outcome

    def text(self) -> str:
        parts = [HEAD, "## What components claim\n", _claims()]
        for kind in sorted(self.outcomes):
            rows = self.outcomes[kind]
            components = sorted({component for cells in rows.values() for component in cells})
            parts += [f"## {kind}\n", _table(components, [(_words(name), cells) for name, cells in rows.items()])]
        return "\n".join(parts)

    def write(self, path: Path) -> None:
        path.write_text(self.text())


def _table(components: list[str], rows: Iterable[tuple[str, dict[str, str]]]) -> str:
    lines = ["| | " + " | ".join(components) + " |", "|---" * (len(components) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(MARKS.get(cells.get(each, ""), "") for each in components) + " |" for name, cells in rows]
    return "\n".join(lines) + "\n"


def _words(scenario: str) -> str:
    return scenario.replace("_", " ")


def _claims() -> str:
    """Component × feature as the metadata API lists them, for the kinds that have features."""
    found: dict[str, set[Feature]] = {}
    for name in registry.known():
        kind: Any = registry.load(*name.split("/"))
        features = set(kind.features)
        features |= {Feature.INPUT_BINDING} if _has(kind, InputBinding) else set()
        features |= {Feature.OUTPUT_BINDING} if _has(kind, OutputBinding) else set()
        found[name] = features
    shown = [feature for feature in Feature if any(feature in features for features in found.values())]
    rows = [(name, {each.value: "passed" for each in features}) for name, features in found.items() if features]
    return _table([feature.value for feature in shown], rows)


def _has(kind: Any, power: Any) -> bool:
    return hasattr(kind, "read") if power is InputBinding else hasattr(kind, "invoke")
