"""`protime verify`: compares the warehouse with Protime."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from protime_source.cli.arguments import Commands, add_collections, add_pipeline
from protime_source.cli.signals import stop_at_once

if TYPE_CHECKING:
    import dlt

    from protime_source.cli.console import Console

DESCRIPTION = (
    "Compares the warehouse with Protime's plain lists, and leaves the delta alone. What differs at"
    " first is looked at again after a run, which brings the changes in between. Exit codes: 0"
    " nothing differs, 8 something differs, 3 not all could be compared."
)


def add_parser(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "verify", help="compare the warehouse with Protime", description=DESCRIPTION
    )
    add_collections(parser, verb="compare")
    parser.add_argument(
        "--deep",
        action="store_true",
        help="compare every documented column, not only ids and versions",
    )
    add_pipeline(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compares, shows what was found, and returns the exit code."""
    stop_at_once("The next run resumes where this one stopped; verify again after it.")

    from protime_source.cli.pipeline import with_pipeline
    from protime_source.verification.run import verify

    def compare(pipeline: dlt.Pipeline, console: Console) -> int:
        console.doing("comparing with Protime's lists")
        report = verify(pipeline, *arguments.collections, deep=arguments.deep)
        console.show(str(report))
        return report.exit_code

    return with_pipeline(arguments, compare)
