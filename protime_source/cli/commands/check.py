"""`protime check`: what is right and what is wrong, before the first row."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from protime_source.cli.arguments import Commands, add_collections, add_pipeline
from protime_source.cli.signals import stop_at_once

if TYPE_CHECKING:
    import dlt

    from protime_source.cli.console import Console

DESCRIPTION = (
    "Tries settings, credentials, scopes and the destination, and says of each whether it is right"
    " or what to do. It changes nothing and starts no delta. The exit code is the one that a run"
    " would have."
)


def add_parser(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "check", help="say what is right and what is wrong, before a run", description=DESCRIPTION
    )
    add_collections(parser, verb="check")
    add_pipeline(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Shows what was checked, and returns the exit code."""
    stop_at_once("Nothing was changed.")

    from protime_source.cli.pipeline import selected, with_warehouse
    from protime_source.operations.check import check_with_folder
    from protime_source.pipeline.opening import working_dir

    def show(pipeline: dlt.Pipeline, console: Console) -> int:
        folder = Path(working_dir(arguments.pipeline))
        found = check_with_folder(pipeline, folder, **selected(arguments))
        console.show(str(found))
        return found.exit_code

    return with_warehouse(arguments, show)
