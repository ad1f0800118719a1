"""Where an app's tokens come from, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from edge.api.grpc.context import read
from edge.api.http.server import Face, FaceSettings
from edge.app import App
from edge.http1.messages import Headers, Request, Response
from edge.rpc.call import CallHead, Method
from edge.tokens import TokenError, Tokens, token, tokens

SECRET = "open-sesame-7"


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_nothing_set_is_no_token() -> None:
    assert tokens("shop", {}) == Tokens("", "")


def test_the_variable_wins_over_its_file_and_that_over_credentials(tmp_path: Path) -> None:
    write(tmp_path / "dapr-api-token", "credential\n")
    environ = {"DAPR_API_TOKEN": "variable", "DAPR_API_TOKEN_FILE": write(tmp_path / "f", "file\n"), "CREDENTIALS_DIRECTORY": str(tmp_path)}

    seen = []
    for name in ("DAPR_API_TOKEN", "DAPR_API_TOKEN_FILE", "CREDENTIALS_DIRECTORY", ""):
        seen.append(token("DAPR_API_TOKEN", environ, "shop"))
        environ.pop(name, None)

    assert seen == ["variable", "file", "credential", ""]


def test_a_credential_of_the_app_wins_over_that_of_all(tmp_path: Path) -> None:
    for name in ("dapr-api-token", "dapr-api-token.shop", "app-api-token.shop"):
        write(tmp_path / name, name)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}

    assert tokens("shop", environ) == Tokens("dapr-api-token.shop", "app-api-token.shop")
    assert tokens("till", environ) == Tokens("dapr-api-token", "")
    assert tokens("../dapr-api-token", environ).api == "dapr-api-token"


@pytest.mark.parametrize("text", [SECRET, f"{SECRET}\n", f"{SECRET}\r\n"])
def test_one_line_end_is_no_part_of_the_token(tmp_path: Path, text: str) -> None:
    assert token("APP_API_TOKEN", {"APP_API_TOKEN_FILE": write(tmp_path / "t", text)}) == SECRET


@pytest.mark.parametrize("text", ["", "\n", f"{SECRET}\n\n", f" {SECRET}", f"{SECRET}\t", f"{SECRET}\nx", f"{SECRET}é", SECRET * 9000])
def test_what_is_no_token_is_refused_without_being_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(TokenError, match="DAPR_API_TOKEN_FILE") as caught:
        token("DAPR_API_TOKEN", {"DAPR_API_TOKEN_FILE": write(tmp_path / "t", text)})

    assert SECRET not in str(caught.value)


def test_a_file_that_is_not_there_is_an_error_not_an_open_api(tmp_path: Path) -> None:
    with pytest.raises(TokenError, match=r"DAPR_API_TOKEN_FILE .*/none: no such file or directory"):
        token("DAPR_API_TOKEN", {"DAPR_API_TOKEN_FILE": str(tmp_path / "none")})


def test_tokens_do_not_show_themselves() -> None:
    assert repr(Tokens(SECRET, "")) == "Tokens(api=set, app=none)"


def test_what_a_caller_sends_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr("hmac.compare_digest", lambda one, other: compared.append((one, other)) or one == other)
    face = Face(App("shop"), cast(Any, None), cast(Any, None), FaceSettings(token=SECRET, traced=False))

    answer = face.handle(Request("GET", "/v1.0/metadata", Headers([("dapr-api-token", "guess")])))
    context = read(CallHead("/m", [("dapr-api-token", "guess")], Method(), 0.0, "", -1), SECRET.encode())

    assert isinstance(answer, Response) and answer.status == 401
    assert context.refused is not None
    assert compared == [(b"guess", SECRET.encode())] * 2
