"""What the daemon is to run, as data, and the plan of a daemon without YAML. `edge.config.gather` makes one from files."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path

from edge.config.configuration import Configuration
from edge.config.resources import Component, Declared, Entry, HttpEndpoint, Other, Resiliency
from edge.record import record
from edge.resiliency import Rules
from edge.spec import Problem

log = logging.getLogger("dapr.runtime.loader.disk")


class PlanError(Exception):
    """The resources can't be run. problems: all of them; the text is the first, or a list."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


@record
class Plan:
    """Resources in load order: components with secret stores first. problems: warnings. embedded: the defaults without any YAML."""

    components: tuple[Component, ...] = ()
    subscriptions: tuple[Declared, ...] = ()
    configuration: Configuration = field(default_factory=Configuration)
    resiliencies: tuple[Resiliency, ...] = ()
    http_endpoints: tuple[HttpEndpoint, ...] = ()
    others: tuple[Other, ...] = ()
    problems: tuple[Problem, ...] = field(default=(), compare=False)
    embedded: bool = False

    def rules(self, app_id: str) -> Rules:
        """The resiliency rules of one app, later resources over earlier ones."""
        merged = Rules()
        for resource in self.resiliencies:
            if not resource.scopes or app_id in resource.scopes:
                for part in ("timeouts", "retries", "breakers", "apps", "actors", "components"):
                    getattr(merged, part).update(getattr(resource.rules, part))
        return merged

    def resiliency_name(self, app_id: str) -> str:
        """Of the last such resource for the app, "" = none."""
        return next((one.name for one in reversed(self.resiliencies) if not one.scopes or app_id in one.scopes), "")

    def report(self) -> None:
        """Log the problems, one line each."""
        for problem in self.problems:
            log.warning("%s", problem)


def read_plan(
    resources: Sequence[Path],
    configs: Sequence[Path],
    app_ids: Sequence[str],
    environ: Mapping[str, str],
    data_dir: Path,
    *,
    strict: bool = False,
) -> Plan:
    """The plan for these apps. Without resource directories: `statestore` and `pubsub` in `data_dir`.

    strict: a document that can't be read is fatal too (`edged check`). Raises PlanError.
    """
    if not resources and not configs:
        return Plan(components=embedded(data_dir), embedded=True)
    from edge.config.gather import gather  # the readers of YAML, only when there is some

    plan = gather(resources, configs, app_ids, environ, strict=strict)
    return plan if resources else replace(plan, components=embedded(data_dir), embedded=True)


def embedded(data_dir: Path) -> tuple[Component, ...]:
    """The components of a daemon without YAML: durable state and publish/subscribe in its own file."""
    own = Entry("connectionString", str(data_dir / "edged.db"))
    return (
        Component("statestore", "state.sqlite", metadata=(own, Entry("actorStateStore", "true")), where="built in"),
        Component("pubsub", "pubsub.sqlite", where="built in"),
    )
