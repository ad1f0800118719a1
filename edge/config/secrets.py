"""From a resource's entries to texts: environment, secrets, placeholders.

Source: dapr pkg/runtime/processor/secret, pkg/runtime/meta. A secret that can't be read is logged and its entry stays empty, as in Dapr.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edge.config.resources import Entry
from edge.errors import ComponentError
from edge.record import record

if TYPE_CHECKING:
    from edge.component import SecretStore

log = logging.getLogger("dapr.runtime.processor.secret")


class PlaceholderError(Exception):
    """A placeholder has no value here; the text is Dapr's."""


@record
class Identity:
    """What placeholders stand for. app_id: of the only app, or of the component in a daemon with several."""

    app_id: str
    namespace: str = "default"
    pod_name: str = ""


def env_allowed(name: str, allowed: str) -> bool:
    """Whether `envRef` may read a variable. allowed: $DAPR_ENV_KEYS, names by blanks, "" = any but tokens and Dapr's own."""
    key = name.upper()
    if not key or key == "APP_API_TOKEN" or key.startswith("DAPR_") or " " in key:
        return False
    return not allowed or key in allowed.split(" ")


def needs_store(entries: Sequence[Entry]) -> bool:
    """Some entry comes from a secret store."""
    return any(entry.secret[0] and not (entry.value is None and entry.env) for entry in entries)


async def resolve(
    what: str, entries: Sequence[Entry], store: SecretStore | None, environ: Mapping[str, str], identity: Identity, namespace: str = ""
) -> dict[str, str]:
    """Each entry's text by its name as written. what: `Component orders`, for the log. Raises PlaceholderError."""
    texts: dict[str, str] = {}
    read: dict[str, Mapping[str, str]] = {}
    for entry in entries:
        text = entry.value or ""
        if entry.value is None and entry.env:
            text = _from_environment(what, entry.env, environ)
        elif entry.secret[0] and store is not None:
            secret = await _secret(store, entry.secret[0], namespace, read)
            text = secret.get(entry.secret[1]) or text
        texts[entry.name] = fill(entry.name, text, identity) if "{" in text else text
    return texts


def _from_environment(what: str, name: str, environ: Mapping[str, str]) -> str:
    if env_allowed(name, environ.get("DAPR_ENV_KEYS", "")):
        return environ.get(name, "")
    log.warning("%s references an env variable that isn't allowed: %s", what, name)
    return ""


async def _secret(store: SecretStore, name: str, namespace: str, read: dict[str, Mapping[str, str]]) -> Mapping[str, str]:
    if name not in read:
        try:
            read[name] = await store.get(name, {"namespace": namespace})
        except ComponentError as error:
            log.error("Error getting secret: %s", error)
            return {}
    return read[name]


def fill(name: str, text: str, identity: Identity) -> str:
    """The text with `{uuid}` (a new one each), `{podName}`, `{namespace}` and `{appID}` replaced. Raises PlaceholderError."""
    while "{uuid}" in text:
        from uuid import uuid4  # few components ask for one

        text = text.replace("{uuid}", str(uuid4()), 1)
    if "{podName}" in text:
        if not identity.pod_name:
            raise PlaceholderError(f"failed to parse metadata: property {name} refers to {{podName}} but podName is not set")
        text = text.replace("{podName}", identity.pod_name)
    return text.replace("{namespace}", f"{identity.namespace}.{identity.app_id}").replace("{appID}", identity.app_id)
