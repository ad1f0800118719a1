"""The low-level cryptography routes (http-api.md §14.2), which daprd's release builds do not have: they check the body and refuse."""

from __future__ import annotations

from edge import errors
from edge.api.http import protobody
from edge.api.http.call import Call
from edge.api.http.router import Route
from edge.errors import EdgeError
from edge.http1.messages import Response
from edge.protojson import BYTES, STRING, Field, Message, names

_KEY: dict[str, Field] = {"componentName": STRING, "algorithm": STRING, "keyName": STRING}
SUBTLE = {
    "getkey": Message({"componentName": STRING, "name": STRING, "format": names("PEM", "JSON")}),
    "encrypt": Message({**_KEY, "plaintext": BYTES, "nonce": BYTES, "associatedData": BYTES}),
    "decrypt": Message({**_KEY, "ciphertext": BYTES, "nonce": BYTES, "tag": BYTES, "associatedData": BYTES}),
    "wrapkey": Message({**_KEY, "plaintextKey": BYTES, "nonce": BYTES, "associatedData": BYTES}),
    "unwrapkey": Message({**_KEY, "wrappedKey": BYTES, "nonce": BYTES, "tag": BYTES, "associatedData": BYTES}),
    "sign": Message({**_KEY, "digest": BYTES}),
    "verify": Message({**_KEY, "digest": BYTES, "signature": BYTES}),
}
NAMES = {
    "getkey": "SubtleGetKey",
    "encrypt": "SubtleEncrypt",
    "decrypt": "SubtleDecrypt",
    "wrapkey": "SubtleWrapKey",
    "unwrapkey": "SubtleUnwrapKey",
    "sign": "SubtleSign",
    "verify": "SubtleVerify",
}


async def subtle(call: Call) -> Response:
    await protobody.fields(call, SUBTLE[call.path.rpartition("/")[2]])
    raise EdgeError(errors.API_UNIMPLEMENTED)


ROUTES = [Route(("POST",), f"/v1.0-alpha1/subtlecrypto/{{name}}/{verb}", subtle, "subtlecrypto", name) for verb, name in NAMES.items()]
