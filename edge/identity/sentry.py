"""Ask a Sentry for a certificate, as daprd does: the server must be the Sentry that the anchors vouch for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edge.errors import Unavailable
from edge.identity.ca import request, validity
from edge.identity.credentials import Credentials, IdentityError, peer_identity
from edge.rpc.client import Channel, Target
from edge.rpc.pb import sentry_pb2
from edge.rpc.status import RpcError

SIGN = "/dapr.proto.sentry.v1.CA/SignCertificate"
TIMEOUT = 15.0
SENTRY = "dapr-sentry"


async def sign(address: str, anchors: str, app_id: str, namespace: str, environ: Mapping[str, str]) -> Credentials:
    """A certificate for a new key. Raises IdentityError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise IdentityError(f"--sentry-address {address}: it must be host:port")
    asking, key = request(app_id)
    message = sentry_pb2.SignCertificateRequest(id=environ.get("SENTRY_LOCAL_IDENTITY") or app_id, namespace=namespace)
    message.certificate_signing_request = asking
    message.token = _token(environ)
    message.token_validator = sentry_pb2.TokenValidator.JWKS if message.token else sentry_pb2.TokenValidator.UNKNOWN
    target = Target(host.strip("[]"), int(port), tls=Credentials(anchors, "", "").client(), check=_is_sentry)
    channel = Channel(target)
    try:
        answer = await channel.unary(SIGN, message.SerializeToString(), timeout=TIMEOUT)
    except (RpcError, Unavailable) as error:
        raise IdentityError(f"error from sentry SignCertificate at {address}: {error}") from None
    finally:
        await channel.close()
    response = sentry_pb2.SignCertificateResponse.FromString(answer.message)
    chain: bytes = response.workload_certificate
    return Credentials(anchors, chain.decode(), key, validity(chain)[1])


def _is_sentry(transport: object) -> None:
    """Raises Unavailable when somebody else answers."""
    found = peer_identity(transport)  # type: ignore[arg-type]
    if found is None or found.app_id != SENTRY:
        raise Unavailable(f"unexpected ID {found.url if found else 'without identity'}: wanted {SENTRY}")


def _token(environ: Mapping[str, str]) -> str:
    file = environ.get("DAPR_SENTRY_TOKEN_FILE", "")
    if not file:
        return ""
    try:
        return Path(file).read_text().strip()
    except OSError as error:
        raise IdentityError(f"error obtaining token: {file}: {error.strerror}") from None
