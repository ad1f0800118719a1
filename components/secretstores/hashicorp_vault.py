"""`secretstores.hashicorp.vault`: secrets of a Vault (or OpenBao) server's key/value engine, version 2.

Source: components-contrib secretstores/hashicorp/vault @1.18.4 (fields, paths, texts).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlsplit

import orjson

from edge.component import Context, Feature
from edge.errors import ComponentError, Invalid, NotFound, Unavailable
from edge.record import record
from edge.spec import meta

if TYPE_CHECKING:
    import ssl

    from edge.http1.client import Client

LARGEST = 4 << 20
TIMEOUT = 10.0
MISSING = "secret key or version not exist"


@record
class Fields:
    """Fields of the component."""

    vault_addr: str = meta("https://127.0.0.1:8200", doc="Address of the server.")
    vault_token: str = meta("", doc="Token; either this or a file of it.", sensitive=True)
    vault_token_mount_path: str = meta("", doc="Path of a file that holds the token.")
    vault_kv_prefix: str = meta("dapr", name="vaultKVPrefix", doc="What stands before the secrets' names.")
    vault_kv_use_prefix: bool = meta(True, name="vaultKVUsePrefix", doc="false: nothing stands before them.")
    engine_path: str = meta("secret", doc="Where the key/value engine is mounted.")
    vault_value_type: str = meta("map", doc="A secret's keys one by one, or all of them as one JSON text.", choices=("map", "text"))
    ca_pem: str = meta("", doc="PEM text of the certificates that may sign the server's.")
    ca_cert: str = meta("", doc="Path of a file of them.")
    ca_path: str = meta("", doc="Path of a folder of them.")
    skip_verify: bool = meta(False, doc="Do not check the server's certificate.")
    tls_server_name: str = meta("", name="tlsServerName", doc="Refused: let vaultAddr have the name that the certificate is for.")


class Store:
    """One engine of one server, asked at each call."""

    Metadata: ClassVar[type] = Fields
    features: frozenset[Feature] = frozenset((Feature.MULTIPLE_KEY_VALUES_PER_SECRET,))

    def __init__(self, metadata: Fields, context: Context) -> None:
        self._fields = metadata
        self._as_text = metadata.vault_value_type == "text"
        if self._as_text:
            self.features = frozenset()
        prefix = metadata.vault_kv_prefix or "dapr"
        self._prefix = f"{prefix}/" if metadata.vault_kv_use_prefix else ""
        self._token = ""
        self._client: Client

    async def open(self) -> None:
        """Raises Invalid without a token, or for certificates that are none. The server is asked at the first call only, as Dapr does."""
        self._token = await asyncio.to_thread(self._read_token)
        self._client = self._make_client()

    async def close(self) -> None:
        await self._client.close()

    def _read_token(self) -> str:
        token, path = self._fields.vault_token, self._fields.vault_token_mount_path
        if bool(token) == bool(path):
            given = "both are given" if token else "neither is given"
            raise Invalid(f"vault init error: exactly one of vaultToken and vaultTokenMountPath must be there; {given}")
        try:
            return (token or Path(path).read_text()).strip()
        except OSError as error:
            raise Invalid(f"couldn't read vault token from mount path {path}: {error.strerror}") from None

    def _make_client(self) -> Client:
        from edge.http1.client import Client  # only here

        url = urlsplit(self._fields.vault_addr)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise Invalid(f"vaultAddr: {self._fields.vault_addr} is no address; it looks like https://127.0.0.1:8200")
        secure = url.scheme == "https"
        return Client(url.hostname, url.port or (443 if secure else 80), self._tls() if secure else None)

    def _tls(self) -> ssl.SSLContext:
        import ssl  # only for https

        fields = self._fields
        if fields.tls_server_name:
            raise Invalid("tlsServerName is not supported: let vaultAddr have the name that the server's certificate is for")
        context = ssl.create_default_context()
        try:
            if fields.ca_pem or fields.ca_cert or fields.ca_path:
                context.load_verify_locations(fields.ca_cert or None, fields.ca_path or None, fields.ca_pem or None)
        except (OSError, ssl.SSLError) as error:
            raise Invalid(f"couldn't load CA: caPem, caCert or caPath can't be read: {error}") from None
        if fields.skip_verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context

    # --- secrets
    async def get(self, name: str, metadata: Mapping[str, str]) -> dict[str, str]:
        """A secret's keys and texts. metadata `version_id`: which version. Raises NotFound, Unavailable, ComponentError."""
        version = metadata.get("version_id", "0")
        path = f"/v1/{self._fields.engine_path}/data/{self._prefix}{quote(name)}?version={quote(version, safe='')}"
        status, body = await self._ask("GET", path)
        if status == 404:
            raise NotFound(f"getSecret {name} failed {MISSING}")
        if status != 200:
            raise ComponentError(f"couldn't get successful response, status code {status}, body {body.decode(errors='replace')}")
        data = _part(body, "data")
        if self._as_text:
            return {name: data if isinstance(data, str) else orjson.dumps(data).decode()}
        if not isinstance(data, dict) or not all(isinstance(text, str) for text in data.values()):
            raise ComponentError("couldn't decode response body: its values are no texts; vaultValueType text gives them as JSON")
        return data

    async def get_all(self, metadata: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """Every secret below the prefix. Raises as `get`."""
        found: dict[str, dict[str, str]] = {}
        for name in await self._names(""):
            try:
                found[name] = await self.get(name, metadata)
            except NotFound:
                continue  # deleted, or without that version
        return found

    async def _names(self, folder: str) -> list[str]:
        status, body = await self._ask("LIST", f"/v1/{self._fields.engine_path}/metadata/{self._prefix}{quote(folder)}")
        if status != 200:
            text = body.decode(errors="replace")
            raise ComponentError(f"list keys couldn't get successful response, status code: {status}, response {text}")
        names: list[str] = []
        for key in _part(body, "keys"):
            names += await self._names(folder + key) if key.endswith("/") else [folder + key]
        return names

    async def _ask(self, method: str, path: str) -> tuple[int, bytes]:
        from edge.http1.streams import BodyTooLarge

        headers = [("X-Vault-Token", self._token), ("X-Vault-Request", "true")]
        try:
            async with asyncio.timeout(TIMEOUT):
                answer = await self._client.request(method, path, headers)
                return answer.status, await answer.read(LARGEST)
        except TimeoutError:
            raise Unavailable(f"couldn't get secret: no answer from {self._fields.vault_addr} within {TIMEOUT:g} s") from None
        except BodyTooLarge:
            raise ComponentError(f"couldn't read response: it is larger than {LARGEST} bytes") from None
        except OSError as error:
            raise Unavailable(f"couldn't get secret: {self._fields.vault_addr}: {error}") from error


def _part(body: bytes, name: str) -> Any:
    try:
        return orjson.loads(body)["data"][name]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise ComponentError(f"couldn't decode response body: {error}") from None
