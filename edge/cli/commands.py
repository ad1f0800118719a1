"""The command line's groups: each command's module is imported when that command is used."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import click

from edge import version

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("edge.cli.launch:run", "Run a sidecar, with or without an app; or several by -f FILE."),
    "serve": ("edge.cli.launch:serve", "Run the daemon of this device: all apps of /etc/edged."),
    "list": ("edge.cli.instance:list_", "List the running sidecars."),
    "stop": ("edge.cli.instance:stop", "Stop running sidecars."),
    "invoke": ("edge.cli.instance:invoke", "Call a method of an app through its sidecar."),
    "publish": ("edge.cli.instance:publish", "Publish a message through an app's sidecar."),
    "logs": ("edge.cli.instance:logs", "Show the log of a sidecar."),
    "components": ("edge.cli.catalog:components", "List or describe component types, or show what a sidecar has loaded."),
    "configurations": ("edge.cli.catalog:configurations", "Show the Configuration resources of a directory."),
    "state": ("edge.cli.data:state", "Read and write an app's state."),
    "secret": ("edge.cli.data:secret", "Read secrets as an app sees them."),
    "config": ("edge.cli.data:config", "Read and set configuration items."),
    "journal": ("edge.cli.journal:journal", "Look into the journal: what waits, what is dead."),
    "workflow": ("edge.cli.workflow:workflow", "List, show and steer workflows."),
    "ca": ("edge.cli.ca:ca", "Certificates for mTLS between sidecars."),
    "init": ("edge.cli.setup:init", "Write a commented starter directory."),
    "check": ("edge.cli.setup:check", "Check YAML and the device; say what to do."),
    "diag": ("edge.cli.setup:diag", "Write a support bundle without secrets."),
    "completion": ("edge.cli.setup:completion", "Print the shell completion script."),
    "version": ("edge.cli.setup:version_", "Print the version."),
}


class Lazy(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in COMMANDS if _there(name)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if not _there(name):
            return None
        module, _, attribute = COMMANDS[name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


def _there(name: str) -> bool:
    """A command of this build."""
    return name in COMMANDS and find_spec(COMMANDS[name][0].partition(":")[0]) is not None


@click.command(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version.VERSION, "-v", "--version", message=f"edged {version.VERSION} (Dapr API {version.DAPR})")
def cli() -> None:
    """edged: the Dapr API for the edge. One small sidecar that keeps state, carries messages, and loses nothing while offline.

    Examples:

    \b
      edged run --app-id shop --app-port 6000 -- python app.py
      edged publish -i shop -p pubsub -t orders -d '{"id": 7}'
      edged list
    """
