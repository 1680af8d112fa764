"""The command `protime`.

Only what its help needs is imported here: each command imports dlt when it runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder

from protime_source.cli.arguments import Parser
from protime_source.cli.commands import COMMANDS

DESCRIPTION = "Keeps a warehouse true to Protime, by delta."


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: What a person typed after `protime`; by default, that of this process.

    Returns:
        The exit code; docs/running.md lists them.
    """
    if arguments is None:  # the process is the command alone: nothing of anybody else is hidden
        sys.meta_path.insert(0, _Hidden())
    parser = Parser(prog="protime", description=DESCRIPTION)
    add_commands(parser)
    parsed = parser.parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = parsed.run
    return run(parsed)


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Adds all commands to a parser, which may be one of dlt's."""

    def show_help(_: argparse.Namespace) -> int:
        parser.print_help(sys.stderr)
        return 2

    parser.set_defaults(run=show_help)
    # Without `prog`, argparse would format the usage for it, and import rich each time.
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", prog=parser.prog, parser_class=Parser
    )
    for command in COMMANDS:
        command.add_parser(commands)


class _Hidden(MetaPathFinder):
    """Makes pandas and NumPy look as if they were not installed.

    DuckDB imports pandas with the first statement that has parameters, and pyarrow with the first
    array made of a list; pyarrow imports NumPy with itself. None of it is used, and it takes a
    seventh of the CPU time of a run without changes.
    """

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        """Refuses these two alone."""
        if fullname in ("pandas", "numpy"):
            text = f"The command `protime` does without {fullname}."
            raise ModuleNotFoundError(text, name=fullname)
