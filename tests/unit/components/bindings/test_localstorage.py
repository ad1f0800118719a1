"""Files stay below the root, whole or not there at all; payloads are read as daprd reads them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.bindings.localstorage import PARTIAL, secure_join
from edge.errors import ComponentError, Invalid
from tests.harness_components import opened

TYPE = "bindings.localstorage"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b'"rake"', b"\xad\xa9\x1e"),  # four letters that happen to be base64: daprd's quirk
        (b'"words of sense"', b"words of sense"),
        (b'"caf\\u00e9\\n"', "café\n".encode()),
        (b'{"spade":2}', b'{"spade":2}'),
        (b'"\\ud83d\\ude00"', b'"\\ud83d\\ude00"'),  # no Go literal, so it stays quoted
        (b"AP7/", b"\x00\xfe\xff"),
        (b"", b""),
    ],
)
async def test_payloads_are_read_as_daprd_does(tmp_path: Path, sent: bytes, kept: bytes) -> None:
    async with opened(TYPE, tmp_path, {"rootPath": str(tmp_path / "files")}) as binding:
        answer = await binding.invoke("create", sent, {"fileName": "a/b.bin"})
        got = await binding.invoke("get", b"", {"fileName": "a/b.bin"})

    assert answer.data == b'{"fileName":"a/b.bin"}'
    assert got.data == kept
    assert not [one for one in (tmp_path / "files").rglob("*") if one.name.endswith(PARTIAL)]


async def test_links_and_dots_never_lead_out_of_the_root(tmp_path: Path) -> None:
    root = tmp_path / "files"
    root.mkdir()
    (tmp_path / "secret").write_text("no")
    (root / "out").symlink_to("/")
    (root / "up").symlink_to("../../..")
    async with opened(TYPE, tmp_path, {"rootPath": str(root)}) as binding:
        for name in ("../secret", "out/../../secret", "up/secret", "/secret", "a/../../secret"):
            with pytest.raises(ComponentError, match="file not found: " + str(root)):
                await binding.invoke("get", b"", {"fileName": name})
        await binding.invoke("create", b'"mine!"', {"fileName": f"out{tmp_path}/secret"})

    assert (tmp_path / "secret").read_text() == "no"
    assert (root / str(tmp_path).lstrip("/") / "secret").read_bytes() == b"mine!"


async def test_a_name_too_long_is_told_as_daprd_does(tmp_path: Path) -> None:
    root, name = tmp_path / "files", "x" * 300
    async with opened(TYPE, tmp_path, {"rootPath": str(root)}) as binding:
        with pytest.raises(Invalid, match=f"error getting absolute path for file {name}: lstat {root}/{name}: file name too long$"):
            await binding.invoke("create", b"x", {"fileName": name})


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["..", ".", "", "a", "out", "loop", "deep"]), max_size=9))
def test_no_path_leaves_the_root(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    root = tmp_path_factory.getbasetemp() / "join"
    if not root.exists():
        (root / "deep/er").mkdir(parents=True)
        (root / "out").symlink_to("/etc")
        (root / "loop").symlink_to("deep/../loop2")
        (root / "loop2").symlink_to("loop")
    try:
        joined = secure_join(root, "/".join(parts))
    except OSError:
        assert "loop" in parts
        return

    assert joined == root or root in joined.parents
    assert Path(os.path.realpath(joined)) == joined


@pytest.mark.parametrize("place", ["/proc/x", "/sys", "/boot/files", "/var/run/secrets/a"])
async def test_forbidden_roots_are_refused(tmp_path: Path, place: str) -> None:
    with pytest.raises(Invalid, match="property rootPath points to a disallowed location"):
        async with opened(TYPE, tmp_path, {"rootPath": place}):
            pass


async def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(Invalid, match="represents a file"):
        async with opened(TYPE, tmp_path, {"rootPath": str(tmp_path / "f/below")}):
            pass


async def test_list_is_in_order_and_null_when_empty(tmp_path: Path) -> None:
    root = tmp_path / "files"
    async with opened(TYPE, tmp_path, {"rootPath": str(root)}) as binding:
        assert (await binding.invoke("list", b"", {})).data == b"null"
        for name in ("b", "a/2", "a/1", "c"):
            await binding.invoke("create", b"x y", {"fileName": name})
        listed = (await binding.invoke("list", b"", {})).data
        with pytest.raises(ComponentError, match=r"directory not empty"):
            await binding.invoke("delete", b"", {"fileName": "a"})

    assert listed.decode() == f'["{root}/a/1","{root}/a/2","{root}/b","{root}/c"]'
