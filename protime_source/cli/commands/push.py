"""`protime push`: wanted assignments into Protime, planned first."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from protime_source.cli.arguments import Commands, add_pipeline
from protime_source.cli.signals import stop_at_once

if TYPE_CHECKING:
    import dlt

    from protime_source.cli.console import Console

DESCRIPTION = (
    "Compares wanted assignments with Protime and shows a plan: what would be created, updated and"
    " deleted. With --apply it is carried out, one request at a time, each with a receipt in the"
    " warehouse's table assignment_writes, so that a push can be repeated after anything. Rows have"
    " a key of their own and the columns of the table assignments. Exit codes: 0 all rows are, or"
    " would be, as wanted; 3 some cannot be or were not written; 5 too many deletes; 2 a"
    " setting, table, query or file is wrong."
)


def add_parser(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "push", help="write wanted assignments to Protime, planned first", description=DESCRIPTION
    )
    rows = parser.add_mutually_exclusive_group(required=True)
    rows.add_argument(
        "--from", type=Path, metavar="FILE", dest="file", help="rows of a CSV or Parquet file"
    )
    rows.add_argument("--table", metavar="NAME", help="rows of a table or view of the warehouse")
    rows.add_argument("--query", metavar="SQL", help="rows of a query on the warehouse")
    parser.add_argument("--apply", action="store_true", help="carry the plan out")
    parser.add_argument(
        "--force",
        action="store_true",
        help="overwrite what changed in Protime since the warehouse saw it",
    )
    parser.add_argument(
        "--max-deleted-share",
        type=float,
        default=0.5,
        metavar="SHARE",
        help="the largest share of the known assignments to delete, 0 to 1. Default: 0.5",
    )
    parser.add_argument("--json", action="store_true", help="as JSON, with all rows")
    add_pipeline(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Plans and perhaps sends, shows what became of the rows, and returns the exit code."""
    nothing_sent = "Nothing was sent."
    stop_at_once(nothing_sent)  # while requests are sent, a stop ends with the report

    from protime_source.cli.pipeline import with_pipeline
    from protime_source.writeback.push import push_report
    from protime_source.writeback.rows import Rows, read_file, table_query
    from protime_source.writeback.send import PUSH_AGAIN

    def send(pipeline: dlt.Pipeline, console: Console) -> int:
        rows: Rows = arguments.query
        if arguments.file:
            rows = read_file(arguments.file)
        elif arguments.table:
            rows = table_query(arguments.table, pipeline)
        console.doing("comparing with Protime")
        report = push_report(
            rows,
            pipeline,
            apply=arguments.apply,
            force=arguments.force,
            max_deleted_share=arguments.max_deleted_share,
        )
        stop_at_once(PUSH_AGAIN if report.was_sent else nothing_sent)
        console.show(json.dumps(report.as_json(), indent=2) if arguments.json else str(report))
        if text := report.too_many_deletes or report.problem:
            console.fail(text, report.exit_code)
        return report.exit_code

    return with_pipeline(arguments, send, consequence=nothing_sent)
