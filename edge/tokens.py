"""The API tokens of an app: from the environment, from a file, or from systemd's credentials (layer 1).

For `DAPR_API_TOKEN` (callers must send it) and `APP_API_TOKEN` (the app is sent it), the first that is set counts:
the variable; the file that `DAPR_API_TOKEN_FILE` names; `$CREDENTIALS_DIRECTORY/dapr-api-token.<app id>`, for all apps `dapr-api-token`.
A source that is named but can't be used is an error, never an open API.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

API, APP = "DAPR_API_TOKEN", "APP_API_TOKEN"
LARGEST = 64 << 10


class TokenError(ValueError):
    """A token can't be had; the text names the source and what to do, never the token."""


class Tokens(NamedTuple):
    """What callers must send and what the app is sent; "" = nothing."""

    api: str
    app: str

    def __repr__(self) -> str:
        return f"Tokens(api={'set' if self.api else 'none'}, app={'set' if self.app else 'none'})"


def tokens(app_id: str, environ: Mapping[str, str]) -> Tokens:
    """Both tokens of an app as they are now. Raises TokenError."""
    return Tokens(token(API, environ, app_id), token(APP, environ, app_id))


def token(variable: str, environ: Mapping[str, str], app_id: str = "") -> str:
    """One token, "" = none is set. Raises TokenError."""
    if given := environ.get(variable):
        return given
    if named := environ.get(f"{variable}_FILE"):
        return _read(Path(named), f"${variable}_FILE")
    if folder := environ.get("CREDENTIALS_DIRECTORY"):
        for path in _credentials(Path(folder), variable, app_id):
            if path.is_file():
                return _read(path, "credential")
    return ""


def _credentials(folder: Path, variable: str, app_id: str) -> list[Path]:
    name = variable.lower().replace("_", "-")
    own = [folder / f"{name}.{app_id}"] if app_id and "/" not in app_id else []
    return [*own, folder / name]


def _read(path: Path, source: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise TokenError(f"{source} {path}: {(error.strerror or str(error)).lower()}; write the token there, or unset it") from None
    text = data.decode("latin-1").removesuffix("\n").removesuffix("\r")
    if not text:
        raise TokenError(f"{source} {path} is empty; write the token there, or unset it")
    if len(data) > LARGEST or not text.isascii() or not text.isprintable() or text != text.strip():
        raise TokenError(f"{source} {path}: a token is one line of printable ASCII without spaces around it")
    return text
