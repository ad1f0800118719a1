"""`nameresolution.consul`: apps found through a Consul agent; with `selfRegister` they are registered there as daprd registers its own.

Source: components-contrib nameresolution/hashicorp/consul @1.18.4; differs: answers are asked for anew after 5 s instead of being watched.
"""

from __future__ import annotations

import json
import random
import time
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

from edge.component import Context, Feature
from edge.errors import ComponentError, NotFound, Unavailable
from edge.http1.client import Client
from edge.model import Address
from edge.record import record
from edge.spec import meta as field

AGENT = "127.0.0.1:8500"
TIMEOUT = 5.0
FRESH = 5.0
LARGEST = 1 << 20


@record
class Fields:
    """Fields of the component; structures as in YAML."""

    client: str = field("", doc="`Address`, `Scheme`, `Token` of the agent.", example='{"Address": "127.0.0.1:8500"}', sensitive=True)
    self_register: bool = field(False, doc="Register the apps of this daemon.")
    self_deregister: bool = field(False, doc="Take them back at the end.")
    checks: str = field("", doc="Consul health checks; default: the sidecar's healthz every 15 s.")
    tags: str = field("", doc="Tags of the registration.")
    meta: str = field("", doc="Metadata of the registration.")
    query_options: str = field("", doc="Options of queries; `UseCache` is on without any.")
    advanced_registration: str = field("", doc="A whole registration instead of the fields above.")
    dapr_port_meta_key: str = field("DAPR_PORT", doc="Metadata key of the internal port.")
    use_cache: bool = field(False, doc="Accepted; answers are kept for 5 s anyway.")


class Resolver:
    """One Consul agent."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset()

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata
        agent = _structure(metadata.client, {})
        parts = urlsplit(f"//{agent.get('Address') or AGENT}")
        if str(agent.get("Scheme", "http")) != "http":
            raise ComponentError("nameresolution.consul: only an agent over http is supported; use the agent on this machine")
        self._client = Client(parts.hostname or "127.0.0.1", parts.port or 8500)
        self._headers = [("X-Consul-Token", str(agent["Token"]))] if agent.get("Token") else []
        self._registered: list[str] = []
        self._known: dict[str, tuple[float, list[Address]]] = {}

    async def open(self) -> None:
        """Raises Unavailable without an agent."""
        await self._ask("GET", "/v1/agent/self")

    async def close(self) -> None:
        if self.metadata.self_deregister:
            for id_ in self._registered:
                await self._ask("PUT", f"/v1/agent/service/deregister/{quote(id_, safe='')}")
        await self._client.close()

    async def register(self, app_id: str, address: Address) -> None:
        """Register the app with the agent. Raises ComponentError."""
        registration = _structure(self.metadata.advanced_registration, {}) or self._registration(app_id, address)
        if not registration:
            return
        registration.setdefault("Meta", {})[self.metadata.dapr_port_meta_key] = str(address.port)
        await self._ask("PUT", "/v1/agent/service/register", json.dumps(registration).encode())
        self._registered.append(str(registration.get("ID", app_id)))

    def _registration(self, app_id: str, address: Address) -> dict[str, Any]:
        if not self.metadata.self_register:
            return {}
        host, port = address.host, address.metadata.get("http_port", "0")
        id_ = f"{app_id}-{host}-{port}"
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        own = [
            {
                "Name": "Dapr Health Status",
                "CheckID": f"daprHealth:{id_}",
                "Interval": "15s",
                "HTTP": f"http://{place}/v1.0/healthz?appid={app_id}",
            }
        ]
        return {
            "ID": id_,
            "Name": app_id,
            "Address": host,
            "Port": int(address.metadata.get("app_port", "0")),
            "Checks": _structure(self.metadata.checks, own),
            "Tags": _structure(self.metadata.tags, []),
            "Meta": _structure(self.metadata.meta, {}),
        }

    async def resolve(self, app_id: str, namespace: str) -> Address:
        """One of the healthy instances, at random. Raises NotFound, Unavailable."""
        until, found = self._known.get(app_id, (0.0, []))
        if time.monotonic() > until or not found:
            found = self._read(app_id, await self._ask("GET", f"/v1/health/service/{quote(app_id, safe='')}?passing=1"))
            self._known[app_id] = (time.monotonic() + FRESH, found)
        return random.choice(found)

    def forget(self, app_id: str, address: Address) -> None:
        """Ask again at the next call."""
        self._known.pop(app_id, None)

    def _read(self, app_id: str, body: bytes) -> list[Address]:
        found = []
        key = self.metadata.dapr_port_meta_key
        for entry in json.loads(body):
            service = entry.get("Service", {})
            port = (service.get("Meta") or {}).get(key, "")
            if not port:
                raise NotFound(f"target service AppID '{app_id}' found but {key} missing from meta")
            if host := service.get("Address") or entry.get("Node", {}).get("Address"):
                found.append(Address(host, int(port)))
        if not found:
            raise NotFound(f"no healthy services found with AppID '{app_id}'")
        return found

    async def _ask(self, method: str, target: str, body: bytes = b"") -> bytes:
        try:
            answer = await self._client.request(method, target, self._headers, body, TIMEOUT)
            data = await answer.read(LARGEST)
        except OSError as error:
            raise Unavailable(f"the consul agent at {self._client.address} does not answer: {error}") from None
        if answer.status != 200:
            raise Unavailable(f"the consul agent at {self._client.address} refused {method} {target}: {answer.status}")
        return data


def _structure(text: str, default: Any) -> Any:
    """A field that is a structure."""
    if not text:
        return default
    try:
        return json.loads(text)
    except ValueError:
        raise ComponentError(f"not a structure: {text[:40]}") from None
