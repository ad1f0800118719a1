"""The sockets of a folder, and what stands behind each.

Source: dapr pkg/components/pluggable @1.18.3; differs: a socket without a server is passed over after `PATIENCE`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edge import registry
from edge.errors import Grpc
from edge.rpc.client import Channel, Target
from edge.rpc.status import RpcError

log = logging.getLogger("pluggable-components-discovery")
REFLECTION = ("grpc.reflection.v1alpha", "grpc.reflection.v1")
PREFIX = "dapr.proto.components.v1."
KINDS = {"StateStore": "state", "PubSub": "pubsub", "InputBinding": "bindings", "OutputBinding": "bindings", "SecretStore": "secretstores"}
PATIENCE = 5.0


async def discover(folder: Path) -> list[str]:
    """Make the components behind the folder's sockets known to the registry; their types. A folder that is not there has none."""
    sockets = await asyncio.to_thread(_sockets, folder)
    found = await asyncio.gather(*(_services(path) for path in sockets))
    types: list[str] = []
    for path, services in zip(sockets, found, strict=True):
        types += _register(path, {name.removeprefix(PREFIX) for name in services if name.startswith(PREFIX)})
    return types


def _sockets(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    paths = sorted(path for path in folder.iterdir() if not path.is_dir())
    for path in paths:
        if not path.is_socket():
            log.warning("could not use socket for file %s", path)
    return [path for path in paths if path.is_socket()]


async def _services(path: Path) -> Iterable[str]:
    """The names of the services behind a socket; nothing when nobody answers."""
    channel = Channel(Target(unix=str(path)), connect_timeout=PATIENCE)
    try:
        async with asyncio.timeout(PATIENCE):
            return await _list(channel)
    except (RpcError, TimeoutError) as error:
        log.error("unable to list services of %s: %s", path, error or "no answer in time")
        return []
    finally:
        await channel.close()


async def _list(channel: Channel) -> list[str]:
    from edge.rpc.pb import reflection_pb2

    request = reflection_pb2.ServerReflectionRequest(list_services="*")
    for package in REFLECTION:
        stream = await channel.stream(f"/{package}.ServerReflection/ServerReflectionInfo")
        try:
            await stream.send(request.SerializeToString())
            answer = await stream.receive()
        except RpcError as error:
            if error.code == Grpc.UNIMPLEMENTED and package != REFLECTION[-1]:
                continue
            raise
        response: Any = reflection_pb2.ServerReflectionResponse.FromString(answer or b"")
        return [service.name for service in response.list_services_response.service]
    return []


def _register(path: Path, services: set[str]) -> list[str]:
    from components._pluggable import bindings, pubsub, secretstores, state

    makers = {"state": state.make, "pubsub": pubsub.make, "bindings": bindings.make, "secretstores": secretstores.make}
    types = []
    for kind in dict.fromkeys(KINDS[name] for name in KINDS if name in services):
        type_ = f"{kind}.{path.stem}"
        registry.register(type_, makers[kind](str(path), frozenset(services)))
        log.info("pluggable component '%s' was successfully registered as %s", path.stem, type_)
        types.append(type_)
    return types
