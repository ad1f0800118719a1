"""EncryptAlpha1 and DecryptAlpha1: streams of chunks both ways (grpc-api.md §9). The Subtle RPCs exist in no release of Dapr."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from edge import errors
from edge.api.grpc.call import Call, RpcError, Streaming, Unary
from edge.blocks.crypto import EncryptOptions
from edge.errors import EdgeError
from edge.rpc.pb import common_pb2, crypto_pb2

FIRST_MESSAGE = 5.0


async def encrypt(call: Call, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    first = await _first(requests)
    options = first.options
    for name, value in (("keyName", options.key_name), ("keyWrapAlgorithm", options.key_wrap_algorithm)):
        if not value:
            raise EdgeError(errors.BAD_REQUEST, error=f"missing property '{name}' in the options message")
    wanted = EncryptOptions(
        options.key_name,
        options.key_wrap_algorithm.upper(),
        options.data_encryption_cipher.upper(),
        options.omit_decryption_key_name,
        options.decryption_key_name,
    )
    pieces = await call.blocks.crypto.encrypt(call.app, options.component_name, _chunks(first, requests), wanted)
    async for payload in _payloads(pieces):
        yield crypto_pb2.EncryptResponse(payload=payload)


async def decrypt(call: Call, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    first = await _first(requests)
    options = first.options
    pieces = await call.blocks.crypto.decrypt(call.app, options.component_name, _chunks(first, requests), options.key_name)
    async for payload in _payloads(pieces):
        yield crypto_pb2.DecryptResponse(payload=payload)


async def _first(requests: AsyncIterator[Any]) -> Any:
    """The message with the options. Raises EdgeError."""
    try:
        async with asyncio.timeout(FIRST_MESSAGE):
            first = await anext(requests, None)
    except TimeoutError:
        raise EdgeError(errors.BAD_REQUEST, error="error waiting for first message: context deadline exceeded") from None
    if first is None:
        raise EdgeError(errors.CRYPTO, error="error receiving the first message: EOF")
    if not first.HasField("options"):
        raise EdgeError(errors.BAD_REQUEST, error="first message does not contain the required options")
    return first


async def _chunks(first: Any, requests: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    """The payload's bytes, numbered from 0. Raises EdgeError."""
    expected, message = 0, first
    while message is not None:
        if message.HasField("payload"):
            if message.payload.seq != expected:
                raise EdgeError(errors.CRYPTO, error=f"invalid sequence number received: {message.payload.seq} (expected: {expected})")
            expected += 1
            yield message.payload.data
        try:
            message = await anext(requests, None)
        except RpcError as error:
            raise EdgeError(errors.CRYPTO, error=f"error receiving message: {error.message}") from error
        if message is not None and message.HasField("options"):
            raise EdgeError(errors.CRYPTO, error="options found in non-leading message")


async def _payloads(pieces: AsyncIterator[bytes]) -> AsyncIterator[Any]:
    number = 0
    async for piece in pieces:
        if piece:
            yield common_pb2.StreamPayload(data=piece, seq=number)
            number += 1


def subtle(call: Call, request: Any) -> Any:
    raise EdgeError(errors.API_UNIMPLEMENTED)


RPCS: dict[str, tuple[type, Unary]] = {
    f"Subtle{name}Alpha1": (getattr(crypto_pb2, f"Subtle{name}Request"), subtle)
    for name in ("GetKey", "Encrypt", "Decrypt", "WrapKey", "UnwrapKey", "Sign", "Verify")
}
STREAMS: dict[str, tuple[type, Streaming]] = {
    "EncryptAlpha1": (crypto_pb2.EncryptRequest, encrypt),
    "DecryptAlpha1": (crypto_pb2.DecryptRequest, decrypt),
}
