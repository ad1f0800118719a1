"""Encryption at rest of a state store's values: AES-GCM, base64, the key's name behind `||` (components.md §5.7).

Files written by daprd are read and the other way round. Rotation: the old key becomes `secondaryEncryptionKey`; writes use the
primary, reads the key that the value names. Source: dapr pkg/encryption @1.18.3.
"""

from __future__ import annotations

import base64
import binascii
import os
from typing import TYPE_CHECKING, Self

from edge.app import Part
from edge.errors import Invalid

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PRIMARY, SECONDARY = "primaryencryptionkey", "secondaryencryptionkey"
NONCE_BYTES = 12
SEPARATOR = b"||"


class Cipher:
    """Seals and opens the values of one store. keys: by name, the primary one first."""

    def __init__(self, store: str, keys: dict[str, bytes]) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # only an encrypted store needs it

        self._store = store
        self._keys: dict[str, AESGCM] = {name: AESGCM(key) for name, key in keys.items()}
        self._primary = next(iter(keys))

    @classmethod
    def of(cls, part: Part) -> Self | None:
        """The store's cipher, None when it is not encrypted. Raises Invalid for a key that is no hex AES key."""
        texts = {part.secret_names.get(name, ""): part.properties[name] for name in (PRIMARY, SECONDARY) if part.properties.get(name)}
        if not texts:
            return None
        if not part.properties.get(PRIMARY):
            raise Invalid(f"state store {part.name} has a secondaryEncryptionKey but no primaryEncryptionKey")
        try:
            return cls(part.name, {name: bytes.fromhex(text) for name, text in texts.items()})
        except ValueError:
            raise Invalid(f"failed to extract encryption key of state store {part.name}: it must be 16, 24 or 32 bytes in hex") from None

    def seal(self, value: bytes) -> bytes:
        """The value as it is stored."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + self._keys[self._primary].encrypt(nonce, value, None)
        return base64.b64encode(sealed) + SEPARATOR + self._primary.encode()

    def open(self, stored: bytes) -> bytes:
        """The value that was sealed; empty stays empty. Raises Invalid."""
        if not stored:
            return stored
        sealed, _, name = stored.rpartition(SEPARATOR)
        if not name:
            raise Invalid(f"could not decrypt data for state store {self._store}: encryption key name not found on record")
        key = self._keys.get(name.decode("utf-8", "replace"))
        if key is None:
            raise Invalid(f"could not decrypt data for state store {self._store}: it has no encryption key of the name on record")
        from cryptography.exceptions import InvalidTag  # loaded with the cipher

        try:
            raw = base64.b64decode(sealed, validate=True)
            return key.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], None)
        except binascii.Error as error:
            raise Invalid(f"could not decrypt data for state store {self._store}: {error}") from None
        except (InvalidTag, ValueError):
            raise Invalid("cipher: message authentication failed") from None
