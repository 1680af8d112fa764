"""`protime models`: creates the analysts' views, or drops them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from protime_source.cli.arguments import Commands, add_pipeline
from protime_source.cli.signals import stop_at_once

if TYPE_CHECKING:
    import dlt

    from protime_source.cli.console import Console

DESCRIPTION = (
    "Creates the analysts' views over the tables that are loaded: planned days, coverage, planned"
    " against clocked, absences, changes at short notice. It replaces those whose definition"
    " changed, and asks Protime for nothing. With the setting `models`, each run does the same."
)


def add_parser(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "models", help="create the analysts' views", description=DESCRIPTION
    )
    parser.add_argument("--drop", action="store_true", help="drop them instead")
    add_pipeline(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Creates or drops, shows what was done, and returns the exit code."""
    stop_at_once("Run the same command again: it does what is left.")

    from protime_source.cli.pipeline import with_warehouse
    from protime_source.operations.models import create_models, drop_models

    def work(pipeline: dlt.Pipeline, console: Console) -> int:
        models = drop_models(pipeline) if arguments.drop else create_models(pipeline)
        console.show(str(models))
        return models.exit_code

    return with_warehouse(arguments, work)
