"""Encryption at rest of a state store's values: AES-GCM, base64, the key's name behind `||` (components.md §5.7).

Files written by daprd are read and the other way round. Rotation: the old key becomes `secondaryEncryptionKey`; writes use the
primary, reads the key that the value names. Source: dapr pkg/encryption @1.18.3.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from edge.app import Part
from edge.errors import Invalid

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PRIMARY, SECONDARY = "primaryencryptionkey", "secondaryencryptionkey"
NONCE_BYTES = 12
SEPARATOR = b"||"


class Cipher:
    """Seals and opens the values of one store. keys: name and key, the primary one first; two keys of one secret share its name."""

    def __init__(self, store: str, keys: Sequence[tuple[str, bytes]]) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # only an encrypted store needs it

        self._store = store
        self._keys: list[tuple[str, AESGCM]] = [(name, AESGCM(key)) for name, key in keys]
        self._name, self._primary = self._keys[0]

    @classmethod
    def of(cls, part: Part) -> Self | None:
        """The store's cipher, None when it is not encrypted. Raises Invalid for a key that is no secret or no hex AES key."""
        given = [name for name in (PRIMARY, SECONDARY) if part.properties.get(name)]
        if not given:
            return None
        if PRIMARY not in given:
            raise Invalid(f"state store {part.name} has a secondaryEncryptionKey but no primaryEncryptionKey")
        if any(not part.secret_names.get(name) for name in given):
            raise Invalid(f"failed to extract encryption key of state store {part.name}: secretKeyRef cannot be empty")
        try:
            return cls(part.name, [(part.secret_names[name], bytes.fromhex(part.properties[name])) for name in given])
        except ValueError:
            raise Invalid(f"failed to extract encryption key of state store {part.name}: it must be 16, 24 or 32 bytes in hex") from None

    def seal(self, value: bytes) -> bytes:
        """The value as it is stored."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + self._primary.encrypt(nonce, value, None)
        return base64.b64encode(sealed) + SEPARATOR + self._name.encode()

    def open(self, stored: bytes) -> bytes:
        """The value that was sealed; empty stays empty. Raises Invalid."""
        if not stored:
            return stored
        sealed, _, name = stored.rpartition(SEPARATOR)
        if not name:
            raise Invalid(f"could not decrypt data for state store {self._store}: encryption key name not found on record")
        keys = [key for known, key in self._keys if known == name.decode("utf-8", "replace")]
        if not keys:
            raise Invalid(f"could not decrypt data for state store {self._store}: it has no encryption key of the name on record")
        try:
            raw = base64.b64decode(sealed, validate=True)
        except binascii.Error as error:
            raise Invalid(f"could not decrypt data for state store {self._store}: {error}") from None
        for key in keys:
            if (value := _decrypted(key, raw)) is not None:
                return value
        raise Invalid("cipher: message authentication failed")


def _decrypted(key: AESGCM, raw: bytes) -> bytes | None:
    """None when it was another key."""
    from cryptography.exceptions import InvalidTag  # loaded with the cipher

    try:
        return key.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], None)
    except (InvalidTag, ValueError):
        return None
