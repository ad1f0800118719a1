"""Cryptography routes (alpha; http-api.md §14.1): documents encrypted and decrypted with a key of a provider."""

from __future__ import annotations

from collections.abc import AsyncIterator

from edge import errors
from edge.api.http.call import Call
from edge.api.http.router import Route
from edge.blocks.crypto import CryptoService, EncryptOptions
from edge.errors import EdgeError
from edge.http1.messages import BodyTooLarge, Response

OCTETS = ("content-type", "application/octet-stream")
TRUTHY = frozenset(("y", "yes", "true", "t", "on", "1"))


def _service(call: Call) -> CryptoService:
    service: CryptoService = call.blocks.crypto
    return service


async def encrypt(call: Call) -> Response:
    headers = call.request.headers
    _service(call).provider(call.app, call.params[0])
    options = EncryptOptions(
        key_name=_needed(call, "dapr-key-name"),
        algorithm=_needed(call, "dapr-key-wrap-algorithm"),
        cipher=headers.get("dapr-data-encryption-cipher", ""),
        omit_key_name=headers.get("dapr-omit-decryption-key-name", "").strip().lower() in TRUTHY,
        decryption_key_name=headers.get("dapr-decryption-key-name", ""),
    )
    return await _whole(await _service(call).encrypt(call.app, call.params[0], call.request.stream(), options))


async def decrypt(call: Call) -> Response:
    key_name = call.request.headers.get("dapr-key-name", "")
    return await _whole(await _service(call).decrypt(call.app, call.params[0], call.request.stream(), key_name))


def _needed(call: Call, name: str) -> str:
    value = call.request.headers.get(name)
    if not value:
        raise EdgeError(errors.BAD_REQUEST, error=f"missing header '{name}'")
    return value


async def _whole(pieces: AsyncIterator[bytes]) -> Response:
    """All of it before the first byte goes out: what fails late is still an error and no torn answer."""
    try:
        body = b"".join([piece async for piece in pieces])
    except BodyTooLarge as error:
        raise EdgeError(errors.UNCLASSIFIED, error=error) from None
    except EdgeError as error:  # of a segment: daprd gives it no code over HTTP
        raise EdgeError(errors.UNCLASSIFIED, error=error.__cause__) from None
    return Response(200, (OCTETS,), body)


ROUTES = [
    Route(("PUT",), "/v1.0-alpha1/crypto/{name}/encrypt", encrypt, "crypto", "Encrypt"),
    Route(("PUT",), "/v1.0-alpha1/crypto/{name}/decrypt", decrypt, "crypto", "Decrypt"),
]
