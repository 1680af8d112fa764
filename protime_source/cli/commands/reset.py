"""`protime reset`: forgets collections, so that the next run loads them anew."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from protime_source.cli.arguments import Commands, add_collections, add_pipeline
from protime_source.cli.signals import stop_at_once

if TYPE_CHECKING:
    import dlt

    from protime_source.cli.console import Console

DESCRIPTION = (
    "Forgets collections: drops their tables, views, bookmarks and rows in the ledger, so that the"
    " next run loads them anew. Histories stay unless --history is given, because nothing can bring"
    " them back."
)


def add_parser(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "reset", help="forget collections, to load them anew", description=DESCRIPTION
    )
    add_collections(parser, verb="forget", must_be_named=True)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--history", action="store_true", help="drop their histories too")
    add_pipeline(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Asks, resets, shows what was dropped, and returns the exit code."""
    from protime_source.cli.pipeline import with_warehouse
    from protime_source.errors import SettingsError
    from protime_source.operations.reset import reset
    from protime_source.warehouse.dialect import client_of, dialect_of

    def forget(pipeline: dlt.Pipeline, console: Console) -> int:
        if not arguments.yes:
            place = dialect_of(pipeline).location(client_of(pipeline))
            if not _is_wanted(arguments, place):
                raise SettingsError(
                    "The answer was not yes. Nothing was changed. If nobody can answer, pass --yes."
                )
        stop_at_once("Run the same reset again: it drops what is left.")
        console.show(str(reset(pipeline, *arguments.collections, history=arguments.history)))
        return 0

    return with_warehouse(arguments, forget)


def _is_wanted(arguments: argparse.Namespace, place: str) -> bool:
    """Asks; without a terminal the answer is no."""
    names = ", ".join(arguments.collections)
    also = ", their histories" if arguments.history else ""
    question = f"Drop {names}{also} and their rows in the ledger from {place}? Type yes: "
    try:
        return input(question).strip().lower() == "yes"
    except EOFError:
        sys.stdout.write("\n")
        return False
