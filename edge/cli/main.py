"""The executable's entry: daprd by that name, else `edged COMMAND`. The start path imports only what a sidecar needs."""

from __future__ import annotations

import gc
import os
import signal
import sys

from edge import lean


def main(argv: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    gc.set_threshold(50_000)  # a start makes little garbage; a daemon that is up sets its own
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end_quietly)
    arguments = list(sys.argv if argv is None else argv)
    program, rest = os.path.basename(arguments[0]), arguments[1:]  # noqa: PTH119  # pathlib comes later
    lean.prepare()
    if program.removesuffix(".exe") == "daprd":
        from edge.cli.run import daprd  # the front is chosen by name

        sys.exit(daprd(rest))
    if rest[:1] == ["run"] and not any(word in ("-f", "--run-file") or word.startswith("--run-file=") for word in _own(rest)):
        from edge.cli.run import run

        sys.exit(run(rest[1:]))
    from edge.cli.commands import cli

    cli(rest, prog_name="edged")


def _own(words: list[str]) -> list[str]:
    return words[: words.index("--")] if "--" in words else words


def _end_quietly(number: int, _frame: object) -> None:
    os._exit(0)


if __name__ == "__main__":
    main()
