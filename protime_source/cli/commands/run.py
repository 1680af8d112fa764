"""`protime run`: loads everything at first, then changes only."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from protime_source.cli.arguments import Commands, add_collections, add_pipeline
from protime_source.cli.signals import stop_at_once

if TYPE_CHECKING:
    import dlt

    from protime_source.cli.console import Console

DESCRIPTION = (
    "Loads a Protime tenant into the warehouse: everything at first, then changes only. Run it on a"
    " schedule, at least every two days: Protime forgets a delta that is not used for 72 hours, and"
    " then a full load is needed."
)


def add_parser(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "run", help="load everything at first, then changes only", description=DESCRIPTION
    )
    add_collections(parser, verb="load")
    parser.add_argument(
        "--full-resync",
        action="store_true",
        help="load everything again, and soft-delete rows that are no longer there",
    )
    add_pipeline(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Loads, shows what was done, and returns the exit code."""
    again = " If nothing was loaded yet, pass --full-resync again." if arguments.full_resync else ""
    stop_at_once(f"The next run resumes where this one stopped.{again}")

    from protime_source.cli.pipeline import PARTLY_LOADED, selected, with_pipeline
    from protime_source.pipeline.load import load
    from protime_source.pipeline.summary import Summary

    def load_and_show(pipeline: dlt.Pipeline, console: Console) -> int:
        full_resync = arguments.full_resync
        try:
            summary = load(pipeline, full_resync=full_resync, **selected(arguments))
        except PARTLY_LOADED as error:
            if isinstance(error.summary, Summary) and error.summary.tables:
                console.show(str(error.summary), error.summary.as_json())
            raise
        console.show(str(summary), summary.as_json())
        return 0

    return with_pipeline(arguments, load_and_show, full_resync=arguments.full_resync)
