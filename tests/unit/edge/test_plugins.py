"""Components of other packages are found by their entry points, and only when they are asked for."""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from edge import registry


def test_an_entry_point_is_a_component(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "plug-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plug\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[edged.components]\nstate.plugged = plugged:Store\nstate.plugged/v2 = plugged:Newer\n")
    (tmp_path / "plugged.py").write_text("class Store: ...\nclass Newer: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry, "_looked", set())
    monkeypatch.setattr(registry, "_ADDED", {})

    assert registry.load("state.in-memory").__name__ == "Store"
    assert not registry._looked
    assert registry.load("State.Plugged").__module__ == "plugged"
    assert registry.load("state.plugged", "v2").__name__ == "Newer"
    with pytest.raises(registry.UnknownComponent):
        registry.load("state.plugged", "v3")
    sys.modules.pop("plugged")


def test_a_type_with_a_socket_is_no_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(tempfile.mkdtemp(prefix="plug-"))
    monkeypatch.setenv("DAPR_COMPONENTS_SOCKETS_FOLDER", str(folder))
    (folder / "Tube.txt").touch()
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(folder / "Tin.sock"))

        assert registry.has_socket("state.tin")
        assert not registry.has_socket("state.tube")
    shutil.rmtree(folder)
