"""Values at rest: sealed with the primary key, opened with the key that each value names; keys come through secrets only."""

from __future__ import annotations

import base64

import pytest

from edge.app import Part
from edge.blocks.acceptance import accept
from edge.blocks.encryption import Cipher
from edge.errors import Invalid

OLD, NEW = "00" * 32, "11" * 16


def part(primary: str = "", secondary: str = "", **names: str) -> Part:
    properties = {"primaryencryptionkey": primary, "secondaryencryptionkey": secondary}
    secrets = {"primaryencryptionkey": "first", "secondaryencryptionkey": "second"} | names
    return Part("safe", "state.sqlite", "v1", None, properties, secret_names=secrets)


def cipher(*keys: str, **names: str) -> Cipher:
    found = Cipher.of(part(*keys, **names))
    assert found is not None
    return found


def test_a_store_without_keys_is_not_encrypted() -> None:
    assert Cipher.of(part()) is None


def test_the_stored_text_names_its_key() -> None:
    sealed = cipher(OLD).seal(b"secret")

    body, name = sealed.split(b"||")
    assert name == b"first" and len(base64.b64decode(body)) == 12 + 6 + 16
    assert cipher(OLD).open(sealed) == b"secret" and cipher(OLD).open(b"") == b""


def test_two_seals_of_a_value_differ() -> None:
    one = cipher(OLD)
    assert one.seal(b"x") != one.seal(b"x")


def test_after_rotation_old_values_open_and_new_ones_have_the_new_key() -> None:
    old = cipher(OLD, primaryencryptionkey="of-2024").seal(b"before")
    rotated = cipher(NEW, OLD, primaryencryptionkey="of-2025", secondaryencryptionkey="of-2024")

    assert rotated.open(old) == b"before"
    assert rotated.seal(b"x").endswith(b"||of-2025")


def test_two_keys_of_one_secret_are_both_tried() -> None:
    old = cipher(OLD, primaryencryptionkey="keys").seal(b"before")
    rotated = cipher(NEW, OLD, primaryencryptionkey="keys", secondaryencryptionkey="keys")

    assert rotated.open(old) == b"before"
    assert rotated.open(rotated.seal(b"after")) == b"after"


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        (b"plain", "encryption key of the name"),
        (b"AAAA||", "encryption key name not found on record"),
        (b"AAAA||other", "no encryption key of the name"),
        (b"%%||first", "could not decrypt data"),
        (b"AAAA||first", "message authentication failed"),
        (base64.b64encode(bytes(60)) + b"||first", "message authentication failed"),
    ],
)
def test_what_was_not_sealed_is_refused(stored: bytes, text: str) -> None:
    with pytest.raises(Invalid, match=text):
        cipher(OLD).open(stored)


@pytest.mark.parametrize("key", ["xyz", "00", "00" * 33])
def test_a_key_that_is_no_hex_aes_key_is_refused_before_the_store_opens(key: str) -> None:
    with pytest.raises(Invalid, match="must be 16, 24 or 32 bytes in hex") as caught:
        accept(part(key))
    assert key not in str(caught.value)


def test_a_key_in_plain_yaml_is_refused() -> None:
    with pytest.raises(Invalid, match="secretKeyRef cannot be empty"):
        accept(part(OLD, primaryencryptionkey=""))


def test_a_secondary_key_alone_is_refused() -> None:
    with pytest.raises(Invalid, match="no primaryEncryptionKey"):
        accept(part("", OLD))


def test_a_prefix_with_the_separator_is_refused() -> None:
    with pytest.raises(Invalid, match=r"input key/keyPrefix 'a\|\|b' can't contain '\|\|'"):
        accept(Part("s", "state.sqlite", "v1", None, {"keyprefix": "a||b"}))
