"""`protime status`: what the warehouse knows."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from protime_source.cli.arguments import Commands, add_pipeline
from protime_source.cli.signals import stop_at_once

if TYPE_CHECKING:
    import dlt

    from protime_source.cli.console import Console

DESCRIPTION = (
    "Says of each collection how many rows there are, when it was last loaded, how the last run"
    " ended, and how long its delta lives. It reads the warehouse alone, also where nothing was"
    " ever run. Exit codes: 0 healthy, 7 unhealthy, 2 a setting is missing or wrong, 4 the"
    " destination cannot be read."
)


def add_parser(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "status", help="say what the warehouse knows", description=DESCRIPTION
    )
    parser.add_argument("--json", action="store_true", help="as JSON, for a monitor")
    parser.add_argument(
        "--min-hours-left",
        type=float,
        default=12,
        metavar="HOURS",
        help="a delta that expires sooner is unhealthy. Default: 12",
    )
    parser.add_argument(
        "--max-age",
        type=float,
        metavar="HOURS",
        help="a last success longer ago is unhealthy; by default, none is",
    )
    parser.add_argument(
        "--runs", type=int, default=0, metavar="NUMBER", help="show so many of the last runs too"
    )
    add_pipeline(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Shows the status, and returns the exit code."""
    stop_at_once("Nothing was changed.")

    from protime_source.cli.pipeline import with_warehouse
    from protime_source.operations.status import status

    def show(pipeline: dlt.Pipeline, console: Console) -> int:
        found = status(
            pipeline,
            min_hours_left=arguments.min_hours_left,
            max_age_hours=arguments.max_age,
            runs=arguments.runs,
        )
        console.show(json.dumps(found.as_json(), indent=2) if arguments.json else str(found))
        return found.exit_code

    return with_warehouse(arguments, show)
