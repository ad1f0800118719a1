"""Keys in the forms that Dapr's local crypto providers take: PEM, JSON Web Keys, raw or base64 symmetric keys.

Source: dapr/kit crypto (keys.go, symmetric.go, asymmetric_enc.go), RFC 7517, RFC 7518 §6; texts are Dapr's.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from cryptography.x509 import load_pem_x509_certificate

from edge.errors import ComponentError
from edge.record import record

WRAP_BYTES = {"A128KW": 16, "A192KW": 24, "A256KW": 32}
LOOKS_SYMMETRIC = (16, 24, 32)


@record
class Key:
    """material: bytes of a symmetric key, else a cryptography key object. operations, use, algorithm: what a JWK restricts it to."""

    material: Any
    operations: tuple[str, ...] = ()
    use: str = ""
    algorithm: str = ""

    def require(self, operation: str, algorithm: str) -> None:
        """Raises ComponentError unless the key may be used like that."""
        restricted = self.operations and operation not in self.operations
        if restricted or self.use not in ("", "enc"):
            raise ComponentError(f"key cannot perform the '{operation}' operation")
        if self.algorithm not in ("", algorithm):
            raise ComponentError(f"key cannot be used with algorithm '{algorithm}'")


def wrap(key: Key, plain: bytes, algorithm: str) -> bytes:
    """A symmetric key wrapped by another key. Raises ComponentError."""
    if algorithm == "RSA-OAEP-256":
        public = key.material.public_key() if isinstance(key.material, rsa.RSAPrivateKey) else key.material
        if not isinstance(public, rsa.RSAPublicKey):
            raise ComponentError("failed to encrypt data: key type mismatch")
        return public.encrypt(plain, _oaep())
    return aes_key_wrap(_symmetric(key, algorithm, "encrypt"), plain)


def unwrap(key: Key, wrapped: bytes, algorithm: str) -> bytes:
    """The other way. Raises ComponentError."""
    try:
        if algorithm == "RSA-OAEP-256":
            if not isinstance(key.material, rsa.RSAPrivateKey):
                raise ComponentError("failed to decrypt data: key type mismatch")
            return key.material.decrypt(wrapped, _oaep())
        return aes_key_unwrap(_symmetric(key, algorithm, "decrypt"), wrapped)
    except (InvalidUnwrap, ValueError) as error:
        raise ComponentError(f"failed to decrypt data: {error or 'the key does not fit'}") from None


def _oaep() -> padding.OAEP:
    return padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)


def _symmetric(key: Key, algorithm: str, doing: str) -> bytes:
    if algorithm not in WRAP_BYTES:
        raise ComponentError(f"failed to {doing} data: unsupported algorithm")
    if not isinstance(key.material, bytes) or len(key.material) != WRAP_BYTES[algorithm]:
        raise ComponentError(f"failed to {doing} data: key type mismatch")
    return key.material


def parse_key(raw: bytes, suffix: str = "") -> Key:
    """A key file's content. suffix: `.json` and `.pem` say what it is, else it is looked at. Raises ComponentError."""
    if not raw:
        raise ComponentError("key is empty")
    try:
        if suffix == ".json" or (suffix != ".pem" and raw[:1] == b"{" and len(raw) not in LOOKS_SYMMETRIC):
            return parse_jwk(json.loads(raw))
        if suffix == ".pem" or (len(raw) > 10 and raw[:5] == b"-----"):
            return Key(_pem(raw))
    except ValueError as error:
        raise ComponentError(str(error)) from None
    return Key(_bytes(raw))


def _pem(raw: bytes) -> Any:
    match = re.search(rb"-----BEGIN ([A-Z0-9 ]+)-----", raw)
    label = match[1] if match else b""
    if b"PRIVATE KEY" in label:
        return serialization.load_pem_private_key(raw, None)
    return load_pem_x509_certificate(raw).public_key() if label == b"CERTIFICATE" else serialization.load_pem_public_key(raw)


def _bytes(raw: bytes) -> bytes:
    """Base64 of either alphabet is decoded, anything else is the key itself."""
    trimmed = raw.rstrip(b"\n=").replace(b"\n", b"").replace(b"\r", b"")
    for altchars in (b"+/", b"-_"):
        try:
            return base64.b64decode(trimmed + b"=" * (-len(trimmed) % 4), altchars, validate=True)
        except binascii.Error:
            continue
    return raw


def parse_jwk(jwk: Mapping[str, Any]) -> Key:
    """Raises ValueError."""
    kind, operations = jwk.get("kty"), jwk.get("key_ops") or ()
    rest = (tuple(operations), str(jwk.get("use") or ""), str(jwk.get("alg") or ""))
    if kind == "oct":
        return Key(_url_bytes(jwk, "k"), *rest)
    if kind == "RSA":
        return Key(_rsa(jwk), *rest)
    if kind in ("EC", "OKP"):
        return Key(None, *rest)  # these can't wrap keys; they are known so that the refusal is about the algorithm
    raise ValueError("invalid key type")


def _rsa(jwk: Mapping[str, Any]) -> Any:
    number = {name: int.from_bytes(_url_bytes(jwk, name)) for name in ("n", "e", "d", "p", "q") if name in jwk}
    if "n" not in number or "e" not in number:
        raise ValueError("the RSA key has no n or e")
    public = rsa.RSAPublicNumbers(number["e"], number["n"])
    if "d" not in number:
        return public.public_key()
    d = number["d"]
    p, q = (number["p"], number["q"]) if "p" in number and "q" in number else rsa.rsa_recover_prime_factors(number["n"], number["e"], d)
    return rsa.RSAPrivateNumbers(p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q), public).private_key()


def _url_bytes(jwk: Mapping[str, Any], name: str) -> bytes:
    text = str(jwk.get(name) or "")
    try:
        found = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except binascii.Error:
        raise ValueError(f"the key's {name} is no base64url") from None
    if not found:
        raise ValueError(f"the key has no {name}")
    return found


def parse_jwks(text: bytes) -> dict[str, Key]:
    """The keys of a JWK set by `kid`; those of an unknown type are left out. Raises ValueError."""
    found = json.loads(text)
    if not isinstance(found, dict) or not isinstance(keys := found.get("keys", [found]), list):
        raise ValueError("no JSON Web Key Set")
    return {str(jwk["kid"]): parse_jwk(jwk) for jwk in keys if isinstance(jwk, dict) and jwk.get("kid") and jwk.get("kty")}
