"""The crypto suite over the components of the catalogue."""

from __future__ import annotations

import asyncio
import base64
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from edge.errors import ComponentError
from edge.registry import known
from tests.conformance.crypto import FILE_KEY, SCENARIOS, Candidate, Suite
from tests.harness_components import opened

SYMMETRIC = {"small": bytes(16), "middle": bytes(range(24)), "large": bytes(range(32))}


@pytest.fixture(scope="module")
def private() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def localstorage(folder: Path, private: rsa.RSAPrivateKey) -> Candidate:
    keys = folder / "keys"
    keys.mkdir()
    for name, key in SYMMETRIC.items():
        (keys / name).write_bytes(base64.b64encode(key))
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (keys / "rsa").write_bytes(pem)
    return Candidate("crypto.dapr.localstorage", partial(opened, "crypto.dapr.localstorage", folder, {"path": str(keys)}))


def text(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8)).rstrip(b"=").decode()


def key_set(private: rsa.RSAPrivateKey) -> str:
    secret = private.private_numbers()
    keys: list[dict[str, Any]] = [{"kid": kid, "kty": "oct", "k": base64.urlsafe_b64encode(key).decode()} for kid, key in SYMMETRIC.items()]
    numbers = {"n": secret.public_numbers.n, "e": 65537, "d": secret.d, "p": secret.p, "q": secret.q}
    keys.append({"kid": "rsa", "kty": "RSA", **{name: text(number) for name, number in numbers.items()}})
    keys.append({"kid": "signing", "kty": "oct", "use": "sig", "k": base64.urlsafe_b64encode(bytes(32)).decode()})
    return json.dumps({"keys": keys})


def jwks(folder: Path, private: rsa.RSAPrivateKey) -> Candidate:
    return Candidate("crypto.dapr.jwks", partial(opened, "crypto.dapr.jwks", folder, {"jwks": key_set(private)}))


CANDIDATES = {"crypto.dapr.jwks/v1": jwks, "crypto.dapr.localstorage/v1": localstorage}


def test_every_crypto_provider_of_the_catalogue_is_here() -> None:
    assert sorted(CANDIDATES) == sorted(name for name in known() if name.startswith("crypto."))


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("component", CANDIDATES)
def test_crypto(component: str, scenario: str, tmp_path: Path, private: rsa.RSAPrivateKey) -> None:
    asyncio.run(getattr(Suite(), scenario)(CANDIDATES[component](tmp_path, private)))


def test_both_providers_wrap_alike(tmp_path: Path, private: rsa.RSAPrivateKey) -> None:
    async def main() -> None:
        async with localstorage(tmp_path, private).open() as one, jwks(tmp_path, private).open() as other:
            for name, algorithm in (("large", "A256KW"), ("rsa", "RSA-OAEP-256")):
                assert await other.unwrap_key(await one.wrap_key(FILE_KEY, name, algorithm), name, algorithm) == FILE_KEY

    asyncio.run(main())


def test_a_signing_key_wraps_nothing(tmp_path: Path, private: rsa.RSAPrivateKey) -> None:
    async def main() -> None:
        async with jwks(tmp_path, private).open() as provider:
            with pytest.raises(ComponentError, match="key cannot perform the 'wrapKey' operation"):
                await provider.wrap_key(FILE_KEY, "signing", "A256KW")

    asyncio.run(main())


def test_a_key_name_leaves_the_folder_by_no_way(tmp_path: Path, private: rsa.RSAPrivateKey) -> None:
    (tmp_path / "outside").write_bytes(bytes(32))

    async def main() -> None:
        async with localstorage(tmp_path, private).open() as provider:
            for name in ("../outside", "x/../../outside", "/etc/hostname"):
                with pytest.raises(ComponentError):
                    await provider.wrap_key(FILE_KEY, name, "A256KW")

    asyncio.run(main())
