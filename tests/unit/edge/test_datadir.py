"""The data directory: where it is, who holds it, what a second instance gets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.datadir import DataDirError, base_dir, hold

HOLDER = """
import sys
from pathlib import Path
from edge.datadir import hold
with hold(Path(sys.argv[1]), "a") as held:
    print(held.path, flush=True)
    sys.stdin.read()
"""


def test_where_it_is_by_flag_systemd_xdg_and_home() -> None:
    environ = {"STATE_DIRECTORY": "/var/lib/edged:/x", "XDG_STATE_HOME": "/xdg", "HOME": "/home/me"}

    assert base_dir("here", environ) == Path.cwd() / "here"
    assert base_dir("", environ) == Path("/var/lib/edged")
    assert base_dir("", {**environ, "STATE_DIRECTORY": ""}) == Path("/xdg/edged")
    assert base_dir("", {"HOME": "/home/me"}) == Path("/home/me/.local/state/edged")
    assert base_dir("", {}).name == "edged" or base_dir("", {}) == Path(f"/var/tmp/edged-{os.getuid()}")


def test_a_second_holder_gets_a_numbered_folder_and_the_first_start_after_finds_it(tmp_path: Path) -> None:
    with hold(tmp_path, "a") as first, hold(tmp_path, "a") as second:
        assert (first.path, first.number) == (tmp_path / "a", 1)
        assert (second.path, second.number, second.orphans) == (tmp_path / "a.2", 2, ())

    with hold(tmp_path, "a") as again:
        assert (again.number, again.orphans) == (1, (tmp_path / "a.2",))
    with hold(tmp_path, "a.2") as other:
        assert other.orphans == ()


def test_an_orphan_that_is_held_by_its_instance_is_none(tmp_path: Path) -> None:
    with hold(tmp_path, "a") as first, hold(tmp_path, "a"):
        assert first.orphans == ()

    with hold(tmp_path, "a.2"), hold(tmp_path, "a") as again:
        assert again.orphans == ()


def test_alone_refuses_a_second_holder_and_names_the_first(tmp_path: Path) -> None:
    with hold(tmp_path, "a", alone=True), pytest.raises(DataDirError) as caught, hold(tmp_path, "a", alone=True):
        pass

    assert str(caught.value).startswith(f"data directory {tmp_path}/a: process {os.getpid()} holds it; stop that daemon")


def test_a_killed_holder_leaves_the_folder_free(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == f"{tmp_path}/a\n"

    holder.kill()
    with hold(tmp_path, "a") as mine:
        assert mine.number == 1
    holder.communicate()


def test_a_file_in_the_way_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(DataDirError, match="a file is in the way; move it or give another --data-dir"), hold(tmp_path / "file", "a"):
        pass


@pytest.mark.skipif(os.getuid() == 0 and not Path("/sys").is_dir(), reason="no read-only file system here")
def test_a_folder_that_cannot_be_written_is_named_with_the_reason() -> None:
    with pytest.raises(DataDirError, match=r"^data directory /sys/edged/a: "), hold(Path("/sys/edged"), "a"):
        pass
