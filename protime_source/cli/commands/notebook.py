"""`protime notebook`: the pictures of the warehouse, to work with."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from protime_source.cli.arguments import Commands, add_pipeline
from protime_source.cli.commands.report import check_installed

if TYPE_CHECKING:
    import dlt

    from protime_source.cli.console import Console

DESCRIPTION = (
    "Opens the pictures of the report in the browser, by days, department and person, with the SQL"
    " and the figures behind each. It needs the extra `notebook`, and only reads the warehouse."
)


def add_parser(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "notebook", help="open the pictures, to work with", description=DESCRIPTION
    )
    add_pipeline(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serves the notebook until Ctrl-C; returns an exit code only when it cannot."""
    from protime_source.cli.pipeline import with_warehouse

    def check(pipeline: dlt.Pipeline, _: Console) -> int:
        check_installed("notebook", "altair", "marimo")

        from protime_source.reporting.reading import open_dataset

        with open_dataset(pipeline):
            return 0

    code = with_warehouse(arguments, check)
    if code == 0:
        # marimo takes this process's place: what stops one stops the other.
        os.execv(sys.executable, command(arguments))  # noqa: S606 - no shell is what we want
    return code


def command(arguments: argparse.Namespace) -> list[str]:
    """Returns what starts marimo. Its address has a token, because the pictures name people."""
    import protime_source.reporting

    notebook = Path(protime_source.reporting.__file__).with_name("notebook.py")
    marimo = [sys.executable, "-m", "marimo", "run", "--token", str(notebook), "--"]
    return [
        *marimo,
        *(
            f"--{name}={value}"
            for name in ("pipeline", "destination", "dataset")
            if (value := getattr(arguments, name))
        ),
    ]
