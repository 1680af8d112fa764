"""`dlt protime`: the same commands through dlt's plugins.

dlt imports this module whenever it is imported itself, so it must stay this small.
"""

from __future__ import annotations

import argparse
import sys

from dlt.common.configuration.plugins import SupportsCliCommand, hookimpl


class ProtimeCommand(SupportsCliCommand):
    """The command `dlt protime`."""

    command = "protime"
    help_string = "Keeps a warehouse true to Protime"
    description = "The command `protime` of the package dlt-source-protime."
    docs_url = None

    def configure_parser(self, parser: argparse.ArgumentParser) -> None:
        """Adds the commands of `protime`."""
        from protime_source.cli.main import add_commands

        add_commands(parser)

    def execute(self, args: argparse.Namespace) -> None:
        """Runs the command, and ends with its exit code."""
        from dlt._workspace.cli import echo

        # dlt takes `--yes` out of the arguments, wherever it stands, and remembers it here.
        args.yes = echo.ALWAYS_CONFIRM
        sys.exit(args.run(args))


@hookimpl
def plug_cli(host: str) -> type[SupportsCliCommand] | None:
    """Returns the command for `dlt`, and none for other programs."""
    return ProtimeCommand if host == "dlt" else None
