"""Encrypt and decrypt streams with a key that never leaves its provider.

Source: dapr pkg/api/http/crypto.go, pkg/api/universal/crypto.go.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from edge import errors
from edge.app import App, Part, Parts
from edge.blocks.retries import PolicyOf, no_policy
from edge.errors import ComponentError, EdgeError
from edge.record import record

KeyWork = Callable[[bytes, str, str], Awaitable[bytes]]


@record
class EncryptOptions:
    """cipher "" = aes-gcm. omit_key_name: the document does not say which key opens it; decryption_key_name: it names this one."""

    key_name: str
    algorithm: str
    cipher: str = ""
    omit_key_name: bool = False
    decryption_key_name: str = ""


class CryptoService:
    """The crypto API of all apps."""

    def __init__(self, parts: Parts, policy_of: PolicyOf = no_policy) -> None:
        self._parts, self._policy_of = parts, policy_of

    def provider(self, app: App, name: str) -> Part:
        """Raises CRYPTO_NOT_CONFIGURED, BAD_REQUEST (no name), CRYPTO_NOT_FOUND."""
        part = self._parts.find("crypto", name, app)
        if part is not None:
            return part
        if not self._parts.any("crypto", app):
            raise EdgeError(errors.CRYPTO_NOT_CONFIGURED)
        if not name:
            raise EdgeError(errors.BAD_REQUEST, error="missing component name")
        raise EdgeError(errors.CRYPTO_NOT_FOUND, name=name)

    async def encrypt(self, app: App, name: str, source: AsyncIterator[bytes], options: EncryptOptions) -> AsyncIterator[bytes]:
        """The document in pieces. Raises EdgeError (as `provider`, CRYPTO) before the first piece."""
        from edge.blocks import envelope  # with it comes the cryptography package

        part = self.provider(app, name)
        shown = "" if options.omit_key_name else options.decryption_key_name or None
        try:
            wrap = self._run(app, part, part.component.wrap_key)
            document = await envelope.encrypt(source, wrap, options.key_name, options.algorithm, options.cipher, shown)
        except ComponentError as error:
            raise EdgeError(errors.CRYPTO, error=f"failed to wrap the file key: {error}") from error
        except envelope.SchemeError as error:
            raise EdgeError(errors.CRYPTO, error=error) from None
        return _later(document, envelope.SchemeError)

    async def decrypt(self, app: App, name: str, source: AsyncIterator[bytes], key_name: str = "") -> AsyncIterator[bytes]:
        """The text in pieces. Raises EdgeError before the first piece, and at a segment that was changed."""
        from edge.blocks import envelope

        part = self.provider(app, name)
        try:
            text = await envelope.decrypt(source, self._run(app, part, part.component.unwrap_key), key_name)
        except envelope.SchemeError as error:
            raise EdgeError(errors.CRYPTO, error=error) from None
        return _later(text, envelope.SchemeError)

    def _run(self, app: App, part: Part, work: KeyWork) -> KeyWork:
        """A key operation under the component's policy; the scheme gives algorithm and name, the provider takes name and algorithm."""
        policy = self._policy_of(app, part.name)

        async def run(key: bytes, algorithm: str, key_name: str) -> bytes:
            done: bytes = await (work(key, key_name, algorithm) if policy is None else policy(lambda: work(key, key_name, algorithm)))
            return done

        return run


async def _later(pieces: AsyncIterator[bytes], refused: type[Exception]) -> AsyncIterator[bytes]:
    try:
        async for piece in pieces:
            yield piece
    except refused as error:
        raise EdgeError(errors.CRYPTO, error=error) from error
