"""`secretstores.local.env`: the daemon's own environment as secrets. Unset names are empty, as in Dapr; tokens are hidden."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import ClassVar

from edge.component import Context, Feature
from edge.record import record
from edge.spec import meta

log = logging.getLogger("dapr.contrib")


@record
class Fields:
    """Fields of the component."""

    prefix: str = meta("", doc="Put before a secret's name to get the variable's.", example="MYAPP_")


class Store:
    """Variables of the environment that begin with the prefix."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset()

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def get(self, name: str, metadata: Mapping[str, str]) -> dict[str, str]:
        """The variable's value under `name`; empty when it is unset or hidden."""
        variable = self.metadata.prefix + name
        if not _allowed(variable):
            log.warning("Access to env var %s is forbidden", name)
            return {name: ""}
        return {name: os.environ.get(variable, "")}

    async def get_all(self, metadata: Mapping[str, str]) -> dict[str, dict[str, str]]:
        prefix, found = self.metadata.prefix, dict[str, dict[str, str]]()
        for variable, value in os.environ.items():
            if _allowed(variable) and variable.startswith(prefix) and (not prefix or len(variable) > len(prefix)):
                name = variable.removeprefix(prefix)
                found[name] = {name: value}
        return found


def _allowed(variable: str) -> bool:
    upper = variable.upper()
    return upper != "APP_API_TOKEN" and not upper.startswith("DAPR_")
