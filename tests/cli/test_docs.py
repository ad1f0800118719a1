"""docs/cli.md names every command, and only those that exist; help has examples."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from edge.cli.commands import COMMANDS, cli
from tests.harness import ROOT

PAGE = (ROOT / "docs/cli.md").read_text()


def test_the_page_names_the_commands_that_there_are() -> None:
    table = PAGE.partition("| Command |")[2].partition("\n\n")[0]
    lead = [cell.split("|")[1] for cell in table.splitlines()[2:]]
    named = {word for cell in lead for part in re.findall(r"`([^`]+)`", cell) if (word := part.removeprefix("edged ").split()[0])}

    assert named == set(COMMANDS)


@pytest.mark.parametrize(
    "name", ["run", "serve", "stop", "invoke", "publish", "logs", "components", "state", "secret", "config", "init", "check"]
)
def test_help_has_an_example(name: str) -> None:
    assert f"  edged {name} " in CliRunner().invoke(cli, [name, "--help"], prog_name="edged").output


def test_the_docs_of_the_installation_name_files_that_are_there() -> None:
    for path in re.findall(r"`(packaging/[\w./-]+|systemd/[\w.@/-]+)`", (ROOT / "docs/install.md").read_text()):
        assert (ROOT / path).exists(), path
