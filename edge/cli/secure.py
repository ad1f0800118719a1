"""What `edged check` says of who may reach the APIs and read the files (layer 6)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from edge import tokens
from edge.settings import is_loopback

Row = tuple[str, str, str, str]
"""Level, subject, text, what to do."""


def access(listen: Sequence[str], environ: Mapping[str, str], app_id: str = "") -> Iterator[Row]:
    """The API's token can be had; without one the API is on loopback only."""
    try:
        api = tokens.tokens(app_id, environ).api
    except tokens.TokenError as error:
        yield "error", "token", str(error), "the daemon does not start with it"
        return
    wide = [address for address in listen if not is_loopback(address)]
    if wide and not api:
        who = f"the API would be open on {', '.join(wide)} without a token"
        yield "warning", "token", who, f"set ${tokens.API}, ${tokens.API}_FILE or LoadCredential=dapr-api-token:PATH"
    else:
        text = "callers must send it" if api else "none; the API is on loopback, where each local process may call it"
        yield "ok", "token", text, ""


def files(data_dir: Path, secrets: Sequence[tuple[str, Path]], environ: Mapping[str, str]) -> Iterator[Row]:
    """What holds secrets or data is for its owner only. secrets: names and paths of files with secrets."""
    named = [(f"${name}_FILE", Path(environ[f"{name}_FILE"])) for name in (tokens.API, tokens.APP) if environ.get(f"{name}_FILE")]
    wide = [(name, path, mode) for name, path in (*secrets, *named) if (mode := _mode(path)) & 0o077]
    for name, path, mode in wide:
        yield "warning", name, f"{path} has mode {mode:04o}: others on this machine can read the secrets", f"chmod 600 {path}"
    for folder in sorted(data_dir.iterdir()) if data_dir.is_dir() and os.access(data_dir, os.R_OK) else []:
        if (folder / "lock").exists() and (mode := _mode(folder)) & 0o077:
            yield "warning", "data", f"{folder} has mode {mode:04o}: others can read messages and state", f"chmod 700 {folder}"
            wide.append(("data", folder, mode))
    if not wide:
        yield "ok", "files", "data, tokens and secrets are for their owner only", ""


def _mode(path: Path) -> int:
    """Permission bits, 0 if there is no such path."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0
